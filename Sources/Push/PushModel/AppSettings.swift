/// A configured app in one of its environments, as dispatch sees it.
package struct AppSettings: Sendable, Equatable {
    package var id: AppID
    /// The topic of pushes that name none, before the suffix of their push type. Empty if no topics are derived.
    package var bundleID: String
    /// The APNs host and port. Apps with the same endpoint share one breaker and one retry budget.
    package var endpoint: String
    /// The rate at which pushes are sent to APNs, at least 1. Nil: no limit.
    package var pushesPerSecond: Int?

    package init(id: AppID, bundleID: String = "", endpoint: String = "", pushesPerSecond: Int? = nil) {
        self.id = id
        self.bundleID = bundleID
        self.endpoint = endpoint
        self.pushesPerSecond = pushesPerSecond
    }
}
