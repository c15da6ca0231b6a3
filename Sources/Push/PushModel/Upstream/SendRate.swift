/// Limits how many pushes per second an app sends to APNs: a token bucket that holds one second's worth.
///
/// A batch larger than the available tokens is sent in parts, so that more urgent pushes need not wait for all of it.
/// Pure: the caller passes the time of the monotonic clock.
package struct SendRate: Sendable, Equatable {
    package let perSecond: Double
    private var tokens: Double
    private var refilledAt: Duration = .zero

    /// - Precondition: `perSecond` is above zero.
    package init(perSecond: Double) {
        precondition(perSecond > 0, "a rate of \(perSecond) sends nothing")
        self.perSecond = perSecond
        tokens = max(1, perSecond)
    }

    private var size: Double { max(1, perSecond) }

    /// How many of `wanted` pushes may be sent now; 0 if the caller must wait.
    ///
    /// A part has at least a quarter of a second's worth of pushes, because each part costs a write.
    package mutating func capacity(for wanted: Int, now: Duration) -> Int {
        let (seconds, attoseconds) = max(.zero, now - refilledAt).components
        tokens = min(size, tokens + perSecond * (Double(seconds) + Double(attoseconds) * 1e-18))
        refilledAt = max(refilledAt, now)
        guard tokens >= min(Double(wanted), max(1, size / 4)) else { return 0 }
        return min(wanted, Int(tokens))
    }

    /// Spends tokens on `count` pushes that are sent.
    package mutating func sent(_ count: Int) {
        tokens -= Double(count)
    }
}
