import Synchronization

/// A monotonic count of events.
package final class Counter: Sendable, WritableMetric {
    private let value = Atomic<Int>(0)

    package init() {}

    @inline(__always)
    package func increment(by amount: Int = 1) {
        value.wrappingAdd(amount, ordering: .relaxed)
    }

    package var count: Int { value.load(ordering: .relaxed) }

    func write(name: String, labels: String, to text: inout String) {
        writeSample(name: name, labels: labels, value: Double(count), to: &text)
    }
}

/// A whole number that rises and falls.
package final class Gauge: Sendable, WritableMetric {
    private let value = Atomic<Int>(0)

    package init() {}

    package func set(_ newValue: Int) { value.store(newValue, ordering: .relaxed) }
    package func add(_ amount: Int) { value.wrappingAdd(amount, ordering: .relaxed) }
    package var current: Int { value.load(ordering: .relaxed) }

    func write(name: String, labels: String, to text: inout String) {
        writeSample(name: name, labels: labels, value: Double(current), to: &text)
    }
}

/// Counts of observations in buckets with fixed upper bounds, and the sum of the observations.
package final class Histogram: Sendable, WritableMetric {
    private let bounds: [Double]
    /// One counter for each bound, then one for larger values.
    private let buckets: [Counter]
    /// The bit pattern of the sum, a `Double`.
    private let sumBits = Atomic<UInt64>(Double(0).bitPattern)

    /// - Parameter bounds: the upper bounds, strictly ascending.
    package init(bounds: [Double]) {
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "the bounds of a histogram ascend")
        self.bounds = bounds
        buckets = (0...bounds.count).map { _ in Counter() }
    }

    package func observe(_ value: Double) {
        let index = bounds.firstIndex { value <= $0 } ?? bounds.count
        buckets[index].increment()
        var current = sumBits.load(ordering: .relaxed)
        while true {
            let next = (Double(bitPattern: current) + value).bitPattern
            let (exchanged, original) = sumBits.compareExchange(expected: current, desired: next, ordering: .relaxed)
            if exchanged { return }
            current = original
        }
    }

    /// Observes seconds.
    package func observe(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        observe(Double(seconds) + Double(attoseconds) * 1e-18)
    }

    package var count: Int { buckets.reduce(0) { $0 + $1.count } }
    package var sum: Double { Double(bitPattern: sumBits.load(ordering: .relaxed)) }

    /// Upper bounds in seconds for latencies from 100 µs to 10 s.
    package static let latencyBounds: [Double] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    func write(name: String, labels: String, to text: inout String) {
        let prefix = labels.isEmpty ? "" : labels + ","
        var cumulated = 0
        for (index, bucket) in buckets.enumerated() {
            cumulated += bucket.count
            let bound = index < bounds.count ? formatted(bounds[index]) : "+Inf"
            writeSample(name: name + "_bucket", labels: "\(prefix)le=\"\(bound)\"", value: Double(cumulated), to: &text)
        }
        writeSample(name: name + "_sum", labels: labels, value: sum, to: &text)
        // The sum of the bucket values above, and not `count`, so that `_count` and `+Inf` always agree.
        writeSample(name: name + "_count", labels: labels, value: Double(cumulated), to: &text)
    }
}
