/// How many pushes an app may send to APNs in a second: a bucket that holds a second's worth. Pure: it is told the moment,
/// by the monotonic clock.
///
/// What is larger than what the bucket holds goes in pieces, so that nothing more urgent waits for the rest of it.
package struct SendRate: Sendable, Equatable {
    package let perSecond: Double
    private var tokens: Double
    private var at: Duration = .zero

    /// - Parameter perSecond: above zero.
    package init(perSecond: Double) {
        precondition(perSecond > 0, "a rate of \(perSecond) sends nothing")
        self.perSecond = perSecond
        tokens = max(1, perSecond)
    }

    private var size: Double { max(1, perSecond) }

    /// How many of `wanted` pushes may be sent now, 0: wait. A piece is a quarter of a second's worth at least, because each
    /// costs a write.
    package mutating func capacity(for wanted: Int, now: Duration) -> Int {
        let (seconds, attoseconds) = max(.zero, now - at).components
        tokens = min(size, tokens + perSecond * (Double(seconds) + Double(attoseconds) * 1e-18))
        at = max(at, now)
        guard tokens >= min(Double(wanted), max(1, size / 4)) else { return 0 }
        return min(wanted, Int(tokens))
    }

    /// `count` of them are sent.
    package mutating func sent(_ count: Int) {
        tokens -= Double(count)
    }
}
