package import NIOCore

/// Limits how often connections are opened, even if each of them works: APNs may treat repeated opening and closing as
/// a denial-of-service attack (Apple, "Establishing a connection to APNs"). A token bucket; pure.
///
/// A few connections open immediately, then one a second. Each connection that proves useful permits two more, so that
/// a pool under load grows as fast as its connections answer. A connection that answered one push is no proof: a server
/// that ends each connection after its first answer would be sent one after the other.
package struct ConnectRate {
    package static let burst = 3.0
    package static let perSecond = 1.0
    /// Accepted pushes after which a connection counts as useful.
    package static let usefulAnswers: UInt64 = 100

    private var level = Self.burst
    private var refilledAt: NIODeadline?

    package init() {}

    /// Acquires a permit for one connection.
    ///
    /// - Parameter useful: connections that are useful and take pushes. A large pool may open more in one burst.
    /// - Returns: nil when the permit is acquired, otherwise the time until one is available.
    package mutating func acquire(useful: Int, now: NIODeadline) -> TimeAmount? {
        if let refilledAt { level += Double((now - refilledAt).nanoseconds) / 1e9 * Self.perSecond }
        refilledAt = now
        level = min(level, max(Self.burst, Double(useful / 2)))
        guard level >= 1 else { return .nanoseconds(Int64((1 - level) / Self.perSecond * 1e9) + 1) }
        level -= 1
        return nil
    }

    /// A connection has proven useful.
    package mutating func provedUseful() { level += 2 }
}
