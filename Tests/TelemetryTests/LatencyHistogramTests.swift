import PushModel
import Telemetry
import Testing

@Suite struct `The latency histogram` {
    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func `quantiles are within the stated error of the exact ones`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var histogram = LatencyHistogram()
        var values: [UInt64] = []
        for _ in 0..<20_000 {
            // All magnitudes, from nanoseconds to minutes.
            let value = generator.next() >> UInt64.random(in: 27...63, using: &generator)
            values.append(value)
            histogram.record(nanoseconds: value)
        }
        values.sort()
        for q in [0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1] {
            let rank = max(1, Int((q * Double(values.count)).rounded(.up)))
            let exact = Double(values[rank - 1])
            let found = Double(histogram.quantile(q))
            #expect(abs(found - exact) <= exact * LatencyHistogram.errorMax, "q \(q): \(found) for \(exact)")
        }
        #expect(histogram.max == values.last)
        #expect(histogram.count == 20_000)
    }

    @Test func `the smallest and the largest value are recorded`() {
        var histogram = LatencyHistogram()
        #expect(histogram.quantile(0.5) == 0)
        histogram.record(nanoseconds: 0)
        #expect(histogram.quantile(1) == 0)
        histogram.record(nanoseconds: .max)
        #expect(histogram.quantile(1) == .max)
        histogram.record(.seconds(-1))
        #expect(histogram.count == 3)
        #expect(histogram.quantile(0.5) == 0)
    }

    @Test func `two merged histograms equal one with all values`() {
        var a = LatencyHistogram()
        var b = LatencyHistogram()
        var both = LatencyHistogram()
        for value in 1...1000 as ClosedRange<UInt64> {
            let scaled = value * value * 1000
            if value % 3 == 0 { a.record(nanoseconds: scaled) } else { b.record(nanoseconds: scaled) }
            both.record(nanoseconds: scaled)
        }
        a.merge(b)
        #expect(a.p50 == both.p50)
        #expect(a.p99 == both.p99)
        #expect(a.p999 == both.p999)
        #expect(a.max == both.max)
    }
}
