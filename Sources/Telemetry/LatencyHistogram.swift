/// A histogram of latencies in nanoseconds with log-linear buckets: every quantile within 0.8 % of the exact value, in
/// 58 KB.
///
/// Values below 128 ns are exact. Above, each power of two is divided into 64 equal buckets. A quantile is the middle
/// of its bucket, so its error is at most 1/128 of its value. The design follows HdrHistogram. For benchmarks and
/// tests; Prometheus metrics use `Histogram`.
package struct LatencyHistogram: Sendable {
    /// The number of buckets per power of two, as a shift: 2^6 = 64.
    private static let precisionBits = 6
    private static let linearCount = 1 << (precisionBits + 1)
    private static let bucketCount = linearCount + (64 - precisionBits - 1) << precisionBits

    private var buckets = [UInt64](repeating: 0, count: LatencyHistogram.bucketCount)
    package private(set) var count: UInt64 = 0
    /// The exact largest value.
    package private(set) var max: UInt64 = 0

    /// The maximum relative error of `quantile`.
    package static let errorMax = 1.0 / 128

    package init() {}

    package mutating func record(nanoseconds value: UInt64, times: UInt64 = 1) {
        buckets[Self.bucket(of: value)] += times
        count += times
        if times > 0, value > max { max = value }
    }

    package mutating func record(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        record(nanoseconds: UInt64(clamping: seconds * 1_000_000_000 + attoseconds / 1_000_000_000))
    }

    package mutating func merge(_ other: LatencyHistogram) {
        for index in buckets.indices { buckets[index] += other.buckets[index] }
        count += other.count
        max = Swift.max(max, other.max)
    }

    /// The value that the fraction `q` of all values does not exceed, in nanoseconds; 0 if the histogram is empty.
    ///
    /// - Parameter q: 0...1.
    package func quantile(_ q: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let rank = Swift.max(1, UInt64((q * Double(count)).rounded(.up)))
        if rank >= count { return max }
        var seen: UInt64 = 0
        for (index, bucket) in buckets.enumerated() where bucket > 0 {
            seen += bucket
            if seen >= rank { return Swift.min(Self.middle(of: index), max) }
        }
        return max
    }

    package var p50: Duration { .nanoseconds(Int64(quantile(0.5))) }
    package var p99: Duration { .nanoseconds(Int64(quantile(0.99))) }
    package var p999: Duration { .nanoseconds(Int64(quantile(0.999))) }

    private static func bucket(of value: UInt64) -> Int {
        if value < UInt64(linearCount) { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount
        let shift = exponent - precisionBits
        let within = Int(value >> UInt64(shift)) & ((1 << precisionBits) - 1)
        return linearCount + (exponent - precisionBits - 1) << precisionBits + within
    }

    private static func middle(of bucket: Int) -> UInt64 {
        if bucket < linearCount { return UInt64(bucket) }
        let exponent = (bucket - linearCount) >> precisionBits + precisionBits + 1
        let within = UInt64((bucket - linearCount) & ((1 << precisionBits) - 1))
        let shift = UInt64(exponent - precisionBits)
        return (UInt64(1 << precisionBits) + within) << shift + (1 << shift) / 2
    }
}
