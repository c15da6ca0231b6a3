package import PushModel

/// The two clocks of a queue in this process.
package struct QueueClock: Sendable {
    /// For comparison with times from outside: acceptance, `not_before`, retries.
    package var wall: @Sendable () -> WallTime
    /// Time since a fixed point, for leases. Never jumps, and continues while the machine sleeps.
    package var monotonic: @Sendable () -> Duration

    package init(wall: @escaping @Sendable () -> WallTime, monotonic: @escaping @Sendable () -> Duration) {
        self.wall = wall
        self.monotonic = monotonic
    }

    package var now: Moment { Moment(wall: wall(), monotonic: monotonic()) }
}
