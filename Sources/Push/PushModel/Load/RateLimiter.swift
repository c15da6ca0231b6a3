/// A rate limit: an average rate, and the size of a burst after a pause.
package struct RateLimit: Sendable, Equatable {
    /// The average rate; more than 0.
    package var perSecond: Double
    /// The largest burst; at least 1.
    package var burst: Int

    package init(perSecond: Double, burst: Int) {
        self.perSecond = perSecond
        self.burst = burst
    }

    /// `count` per `period`, which may all come in one burst.
    package init(_ count: Int, in period: Duration) {
        self.init(perSecond: Double(count) / (period / .seconds(1)), burst: count)
    }

    /// How long an exhausted burst takes to recover completely.
    package var window: Duration { .seconds(Double(burst) / perSecond) }

    /// Whether the limit admits requests and the window is at most a year.
    package var isValid: Bool { perSecond > 0 && perSecond <= 1e9 && burst >= 1 && window <= .seconds(366 * 86_400) }
}

/// Limits the rate of each of many keys, with the generic cell rate algorithm (GCRA, ITU-T I.371).
///
/// A key takes 16 bytes: its hash, and the time at which its burst has recovered. The table has a fixed size, in groups
/// of eight. If a group is full, the key that is closest to recovery is evicted and starts again with a full burst.
///
/// Pure: the caller passes the time of a clock that never goes back.
package struct RateLimiter: Sendable {
    package enum Decision: Sendable, Equatable {
        /// How many more requests would pass now, and when the burst has recovered completely.
        case pass(remaining: Int, resetAfter: Duration)
        case refuse(retryAfter: Duration)
    }

    private struct Entry {
        var key: UInt64
        /// When the burst has recovered completely, in nanoseconds; may be in the past.
        var fullAt: Int64
    }

    private static let groupSize = 8

    package let limit: RateLimit
    /// The recovery time of one request, in nanoseconds.
    private let interval: Int64
    /// The recovery time of the whole burst, in nanoseconds.
    private let tolerance: Int64
    private var entries: [Entry]
    private let groupMask: UInt64

    /// - Parameter keysMax: the capacity of the table, rounded up to a power of two, at least 8. All memory is
    ///   allocated immediately.
    /// - Precondition: `limit` is valid.
    package init(limit: RateLimit, keysMax: Int) {
        precondition(limit.isValid, "the rate limit admits no request")
        self.limit = limit
        interval = max(1, Int64((1e9 / limit.perSecond).rounded()))
        tolerance = interval * Int64(limit.burst)
        var groups = 1
        while groups * Self.groupSize < keysMax { groups *= 2 }
        groupMask = UInt64(groups - 1)
        entries = [Entry](repeating: Entry(key: 0, fullAt: .min), count: groups * Self.groupSize)
    }

    /// The memory of the table in bytes.
    package var bytes: Int { entries.count * MemoryLayout<Entry>.stride }

    /// Admits or refuses one request of `key`.
    ///
    /// - Parameter key: a hash with entropy in every bit. Two keys with the same hash share their limit.
    package mutating func acquire(_ key: UInt64, now: Duration) -> Decision {
        let now = now.nanoseconds
        let (index, isFound) = slot(for: key)
        let fullAt = (isFound ? max(entries[index].fullAt, now) : now) + interval
        guard fullAt - now <= tolerance else {
            return .refuse(retryAfter: .nanoseconds(fullAt - now - tolerance))
        }
        entries[index] = Entry(key: key, fullAt: fullAt)
        return .pass(
            remaining: Int((tolerance - (fullAt - now)) / interval), resetAfter: .nanoseconds(fullAt - now)
        )
    }

    /// Reverts one admitted request of `key`.
    package mutating func release(_ key: UInt64) {
        let (index, isFound) = slot(for: key)
        if isFound { entries[index].fullAt -= interval }
    }

    /// The slot that holds `key` or, if none does, the slot to use for it.
    private func slot(for key: UInt64) -> (index: Int, isFound: Bool) {
        let start = Int(key & groupMask) * Self.groupSize
        var oldest = start
        for index in start..<start + Self.groupSize {
            if entries[index].key == key, entries[index].fullAt > .min { return (index, true) }
            if entries[index].fullAt < entries[oldest].fullAt { oldest = index }
        }
        return (oldest, false)
    }
}

extension Duration {
    fileprivate var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    /// Whole seconds, rounded up.
    package var secondsRoundedUp: Int {
        let (seconds, attoseconds) = components
        return Int(seconds) + (attoseconds > 0 ? 1 : 0)
    }
}
