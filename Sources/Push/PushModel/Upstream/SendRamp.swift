/// Limits how many pushes per second are sent after an outage, so that the backlog is not one spike for an APNs that
/// has just recovered.
///
/// The limit is 1.4 times the rate before the outage. It stays there for three times the duration of the outage, in which
/// a backlog of constant rate drains, but for a quarter of an hour at most, and then grows by a tenth each second. Without a
/// known rate it starts at 1,000/s and doubles each second. Pure: the caller passes the time of the monotonic clock.
package struct SendRamp: Sendable, Equatable {
    /// Below 1.5, because sends happen in steps.
    private static let factor = 1.4
    private static let rateMin = 20.0
    private static let rateUnknown = 1_000.0
    private static let holdMin: Duration = .seconds(15)
    private static let holdMax: Duration = .seconds(900)
    /// The largest part that is waited for, as a time.
    private static let burst = 0.25
    /// The limit above which there is none.
    private static let rateMax = 1_000_000.0
    /// The ramp ends when it has not limited a send for this long.
    private static let idleTime: Duration = .seconds(5)

    private let startedAt: Duration
    private let base: Double
    private let growth: Double
    private let hold: Duration
    private var tokens = 0.0
    private var refilledAt: Duration
    private var limitedAt: Duration

    /// - Parameters:
    ///   - rateBefore: pushes per second before the outage; nil if it is unknown.
    ///   - outage: how long the outage lasted.
    package init(rateBefore: Double?, outage: Duration, now: Duration) {
        startedAt = now
        refilledAt = now
        limitedAt = now
        if let rateBefore {
            base = max(Self.rateMin, rateBefore * Self.factor)
            growth = 1.1
            hold = min(max(outage * 3, Self.holdMin), Self.holdMax)
        } else {
            base = Self.rateUnknown
            growth = 2
            hold = .zero
        }
    }

    /// The limit in pushes per second.
    package func rate(now: Duration) -> Double {
        var rate = base
        var seconds = (now - startedAt - hold).secondsAsDouble
        while seconds > 0, rate < Self.rateMax {
            rate *= seconds >= 1 ? growth : 1 + (growth - 1) * seconds
            seconds -= 1
        }
        return min(rate, Self.rateMax)
    }

    /// How many of `wanted` pushes may be sent now: all, or at least half of a burst, because each part costs a write.
    package mutating func capacity(for wanted: Int, now: Duration) -> Int {
        let rate = rate(now: now)
        let burst = max(1, rate * Self.burst)
        // Twice the part: what is left of one must not be lost.
        tokens = min(2 * burst, tokens + rate * max(0, (now - refilledAt).secondsAsDouble))
        refilledAt = max(refilledAt, now)
        if Double(wanted) > tokens { limitedAt = now }
        return tokens >= min(Double(wanted), max(1, burst / 2)) ? min(wanted, Int(tokens)) : 0
    }

    /// Spends capacity on pushes that are sent.
    package mutating func sent(_ count: Int) { tokens -= Double(count) }

    /// Whether the backlog is gone, or the limit has grown so far that there is none.
    package func isOver(now: Duration) -> Bool {
        now - limitedAt >= Self.idleTime || rate(now: now) >= Self.rateMax
    }
}

extension Duration {
    package var secondsAsDouble: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}
