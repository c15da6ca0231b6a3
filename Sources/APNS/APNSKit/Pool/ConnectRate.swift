package import NIOCore

/// Limits how often connections are opened, even if each of them works: APNs may treat repeated opening and closing as
/// a denial-of-service attack (Apple, "Establishing a connection to APNs"). A token bucket; pure.
package struct ConnectRate {
    package static let perSecond = 4.0
    /// A connection that answered this many pushes does not count against the rate.
    package static let usefulAnswers: UInt64 = 500

    private let capacity: Double
    private var level: Double
    private var refilledAt: NIODeadline?

    /// - Parameter burst: connections that may be opened immediately after a pause.
    package init(burst: Int) {
        capacity = Double(burst)
        level = capacity
    }

    /// Acquires a permit for one connection.
    ///
    /// - Returns: nil when the permit is acquired, otherwise the time until one is available.
    package mutating func acquire(now: NIODeadline) -> TimeAmount? {
        if let refilledAt {
            level = min(capacity, level + Double((now - refilledAt).nanoseconds) / 1e9 * Self.perSecond)
        }
        refilledAt = now
        guard level >= 1 else { return .nanoseconds(Int64((1 - level) / Self.perSecond * 1e9) + 1) }
        level -= 1
        return nil
    }

    /// Returns the permit of a connection that has answered `usefulAnswers`.
    package mutating func refund() { level = min(capacity, level + 1) }
}
