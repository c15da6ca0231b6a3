/// One instant on both clocks.
package struct Moment: Sendable, Equatable {
    /// For comparison with stored and external times: acceptance, expiration, retries.
    package var wall: WallTime
    /// For intervals: leases, windows, pauses. Never jumps.
    package var monotonic: Duration

    package init(wall: WallTime, monotonic: Duration) {
        self.wall = wall
        self.monotonic = monotonic
    }
}
