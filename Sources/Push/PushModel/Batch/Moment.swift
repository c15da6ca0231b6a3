/// One moment, by both clocks.
package struct Moment: Sendable, Equatable {
    /// For what is compared with moments that come from outside: acceptance, expiry, retries.
    package var wall: WallTime
    /// For intervals: leases, windows, pauses. It never jumps.
    package var monotonic: Duration

    package init(wall: WallTime, monotonic: Duration) {
        self.wall = wall
        self.monotonic = monotonic
    }
}
