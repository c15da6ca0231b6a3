/// Decides when the next attempt to connect begins. Full jitter spreads the attempts of many clients. Pure: the caller
/// passes the random number.
///
/// For the first minute and a half of an outage, attempts begin about once a second, so that pushes are sent within two seconds of
/// its end. A longer outage is retried less often, and so is a failure that only an operator can fix.
package struct ReconnectPolicy {
    package static let base: Duration = .milliseconds(100)
    package static let cap: Duration = .seconds(1)
    /// After this many failures, about a minute and a half, `lateCap` replaces `cap`.
    package static let failuresBeforeLateCap = 90
    package static let lateCap: Duration = .seconds(5)
    /// While the credential is rejected or the server's certificate is not trusted: an operator must fix that.
    package static let operatorCap: Duration = .seconds(10)

    /// Attempts since the last connection that answered a push.
    package private(set) var failures = 0
    /// APNs rejected the credential, or one side refused the certificate of the other.
    package var needsOperator = false

    package init() {}

    /// A connection could not be opened, or was lost before it answered a push.
    package mutating func failed() { failures += 1 }

    /// A connection has answered a push.
    package mutating func succeeded() {
        failures = 0
        needsOperator = false
    }

    /// The longest delay of an attempt, and how long an attempt may hang before the next one begins.
    package var interval: Duration {
        needsOperator ? Self.operatorCap : failures > Self.failuresBeforeLateCap ? Self.lateCap : Self.cap
    }

    /// - Parameter random: 0..<1.
    package func delay(random: Double) -> Duration {
        guard failures > 0 else { return .zero }
        return min(interval, Self.base * (1 << min(failures - 1, 10))) * random
    }
}
