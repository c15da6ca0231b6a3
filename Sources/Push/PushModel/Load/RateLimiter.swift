/// How many of something pass: so many in a second over time, and so many at once after a pause.
package struct RateLimit: Sendable, Equatable {
    /// More than 0.
    package var perSecond: Double
    /// At least 1.
    package var burst: Int

    package init(perSecond: Double, burst: Int) {
        self.perSecond = perSecond
        self.burst = burst
    }

    /// `count` within `period`, at any rate inside of it.
    package init(_ count: Int, in period: Duration) {
        self.init(perSecond: Double(count) / (period / .seconds(1)), burst: count)
    }

    /// How long it takes from nothing left to everything left.
    package var window: Duration { .seconds(Double(burst) / perSecond) }

    package var isSound: Bool { perSecond > 0 && perSecond <= 1e9 && burst >= 1 && window <= .seconds(366 * 86_400) }
}

/// Lets each of many keys pass at a rate of its own: the generic cell rate algorithm (GCRA, ITU-T I.371).
///
/// Pure: `now` comes in, from a clock that never goes back. A key costs 16 bytes, and only the moment at which it has its
/// whole burst again is kept. The table has a fixed size, in groups of eight; where a group is full, the key that is the
/// nearest to its whole burst is forgotten, and starts again with a whole one.
package struct RateLimiter: Sendable {
    package enum Decision: Sendable, Equatable {
        /// How many more would pass now, and in how long all of the burst is there again.
        case pass(remaining: Int, whole: Duration)
        case refuse(retryAfter: Duration)
    }

    private struct Entry {
        var key: UInt64
        /// When its whole burst is there again, in nanoseconds; in the past: it is.
        var whole: Int64
    }

    private static let groupSize = 8

    package let limit: RateLimit
    /// Nanoseconds that one takes from the burst.
    private let interval: Int64
    /// Nanoseconds that the whole burst is worth.
    private let tolerance: Int64
    private var entries: [Entry]
    private let groupMask: UInt64

    /// - Parameter keysMax: rounded up to a power of two, at least 8; all of its memory is taken at once.
    package init(limit: RateLimit, keysMax: Int) {
        precondition(limit.isSound, "a rate limit lets something pass")
        self.limit = limit
        interval = max(1, Int64((1e9 / limit.perSecond).rounded()))
        tolerance = interval * Int64(limit.burst)
        var groups = 1
        while groups * Self.groupSize < keysMax { groups *= 2 }
        groupMask = UInt64(groups - 1)
        entries = [Entry](repeating: Entry(key: 0, whole: .min), count: groups * Self.groupSize)
    }

    package var bytes: Int { entries.count * MemoryLayout<Entry>.stride }

    /// One more of `key`.
    ///
    /// - Parameter key: a hash whose every bit counts; two keys with the same hash share their limit.
    package mutating func take(_ key: UInt64, now: Duration) -> Decision {
        let now = now.nanoseconds
        let (index, isFound) = place(of: key)
        let whole = (isFound ? max(entries[index].whole, now) : now) + interval
        guard whole - now <= tolerance else {
            return .refuse(retryAfter: .nanoseconds(whole - now - tolerance))
        }
        entries[index] = Entry(key: key, whole: whole)
        return .pass(
            remaining: Int((tolerance - (whole - now)) / interval), whole: .nanoseconds(whole - now)
        )
    }

    /// What was taken was not used.
    package mutating func giveBack(_ key: UInt64) {
        let (index, isFound) = place(of: key)
        if isFound { entries[index].whole -= interval }
    }

    /// Where `key` is, or else where it may go.
    private func place(of key: UInt64) -> (index: Int, isFound: Bool) {
        let start = Int(key & groupMask) * Self.groupSize
        var oldest = start
        for index in start..<start + Self.groupSize {
            if entries[index].key == key, entries[index].whole > .min { return (index, true) }
            if entries[index].whole < entries[oldest].whole { oldest = index }
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
