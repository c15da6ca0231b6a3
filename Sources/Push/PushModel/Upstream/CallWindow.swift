/// Counts of calls to APNs by result.
package struct CallTally: Sendable, Equatable {
    package var calls = 0
    /// Calls that got a server error or no answer, or were not sent because there was no connection.
    package var failed = 0

    package init(calls: Int = 0, failed: Int = 0) {
        self.calls = calls
        self.failed = failed
    }

    package static func += (sum: inout CallTally, other: CallTally) {
        sum.calls += other.calls
        sum.failed += other.failed
    }
}

/// A sliding window of calls in ten buckets.
package struct CallWindow: Sendable, Equatable {
    private static let bucketCount = 10

    private struct Bucket: Sendable, Equatable {
        var number: Int64 = .min
        var tally = CallTally()
    }

    private let bucketMilliseconds: Int64
    private var buckets = [Bucket](repeating: Bucket(), count: bucketCount)

    package init(length: Duration) {
        bucketMilliseconds = max(1, length.milliseconds / Int64(Self.bucketCount))
    }

    package mutating func add(_ tally: CallTally, now: Duration) {
        let number = now.milliseconds / bucketMilliseconds
        let index = Int(number % Int64(Self.bucketCount))
        if buckets[index].number != number { buckets[index] = Bucket(number: number) }
        buckets[index].tally += tally
    }

    package func total(now: Duration) -> CallTally {
        let oldest = now.milliseconds / bucketMilliseconds - Int64(Self.bucketCount)
        var total = CallTally()
        for bucket in buckets where bucket.number > oldest { total += bucket.tally }
        return total
    }

    package mutating func clear() {
        for index in buckets.indices { buckets[index] = Bucket() }
    }
}
