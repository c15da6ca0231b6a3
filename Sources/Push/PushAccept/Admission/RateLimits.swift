package import PushModel

/// The rate limits of each caller and each device. Nil: no limit.
package struct RateLimits: Sendable, Equatable {
    /// `POST /push`.
    package var push: RateLimit?
    /// `POST /push/batch`. Counts requests, not pushes: a caller with one push per request should use `POST /push`.
    package var batch: RateLimit? = RateLimit(perSecond: 50, burst: 100)
    /// Status queries.
    package var status: RateLimit?
    /// Cancellation, apps, dead letters.
    package var control: RateLimit?
    /// Pushes to one device of one app.
    package var device: RateLimit?

    package init() {}

    /// All problems, so that an operator can correct them together. Empty: the limits are valid.
    package func problems() -> [String] {
        [("push", push), ("batch", batch), ("status", status), ("control", control), ("device", device)]
            .filter { $0.1?.isValid == false }
            .map { "limits.\($0.0) must admit at least one request, and at least one per year" }
    }
}
