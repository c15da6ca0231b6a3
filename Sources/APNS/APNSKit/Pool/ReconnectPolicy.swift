/// Decides how long to wait before the next attempt to connect. Full jitter spreads the attempts of many clients. Pure:
/// the caller passes the random number.
///
/// After an outage of less than half a minute, clients reconnect within two seconds. A longer outage is retried less
/// often, and so is a failure that only an operator can fix.
package struct ReconnectPolicy {
    package static let base: Duration = .milliseconds(100)
    package static let cap: Duration = .milliseconds(1500)
    /// After this many failures, about half a minute, `lateCap` replaces `cap`.
    package static let failuresBeforeLateCap = 40
    package static let lateCap: Duration = .seconds(10)
    /// While the credential is rejected or the server's certificate is not trusted: an operator must fix that.
    package static let operatorCap: Duration = .seconds(30)

    /// Attempts since the last connection that answered a push.
    package private(set) var failures = 0
    /// APNs rejected the credential, or TLS failed.
    package var needsOperator = false

    package init() {}

    /// A connection could not be opened, or was lost before it answered a push.
    package mutating func failed() { failures += 1 }

    /// A connection has answered a push.
    package mutating func succeeded() {
        failures = 0
        needsOperator = false
    }

    /// - Parameter random: 0..<1.
    package func delay(random: Double) -> Duration {
        guard failures > 0 else { return .zero }
        let cap = needsOperator ? Self.operatorCap : failures > Self.failuresBeforeLateCap ? Self.lateCap : Self.cap
        return min(cap, Self.base * (1 << min(failures - 1, 10))) * random
    }
}
