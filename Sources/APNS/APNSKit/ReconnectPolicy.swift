/// How long to wait before the next try to connect: full jitter, so that many clients do not come back as one.
///
/// Pure: the random number comes in.
package struct ReconnectPolicy {
    package static let base: Duration = .milliseconds(100)
    package static let cap: Duration = .seconds(10)

    /// Tries since the last connection that was of use.
    package private(set) var failures = 0

    package init() {}

    /// A connection could not be made, or was lost before it answered anything.
    package mutating func failed() { failures += 1 }

    /// A connection has answered a push.
    package mutating func succeeded() { failures = 0 }

    /// - Parameter random: 0..<1.
    package func delay(random: Double) -> Duration {
        guard failures > 0 else { return .zero }
        let ceiling = min(Self.cap, Self.base * (1 << min(failures - 1, 10)))
        return ceiling * random
    }
}
