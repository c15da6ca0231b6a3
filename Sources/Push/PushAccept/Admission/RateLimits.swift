package import PushModel

/// How much each caller may ask for, and how often one device may be sent to. nil: as much as there is room for.
package struct RateLimits: Sendable, Equatable {
    /// `POST /push`.
    package var push: RateLimit?
    /// `POST /push/batch`. Its requests hold many pushes; whoever makes one request for each push belongs on `push`.
    package var batch: RateLimit? = RateLimit(perSecond: 50, burst: 100)
    /// Status look-ups.
    package var status: RateLimit?
    /// Cancelling, apps, dead letters.
    package var control: RateLimit?
    /// Pushes to one device of one app.
    package var device: RateLimit?

    package init() {}

    /// Every problem at once.
    package func problems() -> [String] {
        [("push", push), ("batch", batch), ("status", status), ("control", control), ("device", device)]
            .filter { $0.1?.isValid == false }
            .map { "limits.\($0.0) must let at least one pass, and at least one a year" }
    }
}
