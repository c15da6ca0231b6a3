/// How many pushes an app may send to APNs in a second: a bucket that holds a second's worth. Pure: it is told the moment,
/// by the monotonic clock.
///
/// Batches go as a whole: one that is larger than the bucket goes when the bucket is full, and what follows waits until the
/// debt is paid.
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

    /// - Returns: whether `count` pushes may be sent now; they are counted then.
    package mutating func take(_ count: Int, now: Duration) -> Bool {
        let (seconds, attoseconds) = max(.zero, now - at).components
        tokens = min(size, tokens + perSecond * (Double(seconds) + Double(attoseconds) * 1e-18))
        at = max(at, now)
        guard tokens >= min(Double(count), size) else { return false }
        tokens -= Double(count)
        return true
    }
}
