package import PushModel

/// Capacity reserved for one batch, until `cancel` or `deliver`.
package struct HandoffReservation: Sendable, Equatable {
    package let app: AppEnvironment
    package let lane: Lane
    package let pushes: Int
    /// When it was reserved, by the monotonic clock: the start of the lease.
    package let since: Duration

    package init(app: AppEnvironment, lane: Lane, pushes: Int, since: Duration) {
        self.app = app
        self.lane = lane
        self.pushes = pushes
        self.since = since
    }
}
