package import NIOCore

/// How long to wait before the next try to connect: full jitter, so that many clients do not come back as one.
///
/// A fault that lasts less than half a minute is over for us, too, within two seconds of its end. One that lasts is asked
/// after more seldom, and so is what only an operator can mend.
///
/// Pure: the random number comes in.
package struct ReconnectPolicy {
    package static let base: Duration = .milliseconds(100)
    package static let cap: Duration = .milliseconds(1500)
    /// After so many tries in vain (about half a minute) the cap is a higher one.
    package static let timeout = 40
    package static let lateCap: Duration = .seconds(10)
    /// While the credential is refused, or the server's certificate not trusted: only an operator can mend that.
    package static let operatorCap: Duration = .seconds(30)

    /// Tries since the last connection that was of use.
    package private(set) var failures = 0
    /// APNs said that it does not take the credential, or TLS failed.
    package var needsOperator = false

    package init() {}

    /// A connection could not be made, or was lost before it was of any use.
    package mutating func failed() { failures += 1 }

    /// A connection has answered a push.
    package mutating func succeeded() {
        failures = 0
        needsOperator = false
    }

    /// - Parameter random: 0..<1.
    package func delay(random: Double) -> Duration {
        guard failures > 0 else { return .zero }
        let cap = needsOperator ? Self.operatorCap : failures > Self.timeout ? Self.lateCap : Self.cap
        return min(cap, Self.base * (1 << min(failures - 1, 10))) * random
    }
}

/// Bounds how often connections are made, however good each of them is: repeated opening and closing may be taken for
/// denial of service (Apple, "Establishing a connection to APNs"). A token bucket; pure.
package struct ConnectRate {
    package static let perSecond = 4.0
    /// Who has answered so many pushes has not been opened in vain.
    package static let usefulAnswers: UInt64 = 500

    private let capacity: Double
    private var level: Double
    private var lookedAt: NIODeadline?

    /// - Parameter burst: connections that may be made at once after a pause.
    package init(burst: Int) {
        capacity = Double(burst)
        level = capacity
    }

    /// Takes a place for one connection.
    ///
    /// - Returns: nothing to wait for, or the time until there is a place; none is taken then.
    package mutating func take(now: NIODeadline) -> TimeAmount? {
        if let lookedAt {
            level = min(capacity, level + Double((now - lookedAt).nanoseconds) / 1e9 * Self.perSecond)
        }
        lookedAt = now
        guard level >= 1 else { return .nanoseconds(Int64((1 - level) / Self.perSecond * 1e9) + 1) }
        level -= 1
        return nil
    }

    /// A connection has done so much that its end is no abuse: its place is given back.
    package mutating func giveBack() { level = min(capacity, level + 1) }
}

extension TimeAmount {
    /// The same, give or take up to a tenth.
    var spread: TimeAmount { .nanoseconds(nanoseconds / 1000 * Int64.random(in: 900...1100)) }
}
