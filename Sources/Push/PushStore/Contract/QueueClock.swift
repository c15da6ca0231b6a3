package import PushModel

/// The two clocks of a queue that lives in this process.
package struct QueueClock: Sendable {
    /// For what is compared with moments that come from outside: acceptance, `not_before`, retries.
    package var wall: @Sendable () -> WallTime
    /// Time since a fixed moment, for leases: it never jumps and counts on while the machine sleeps.
    package var monotonic: @Sendable () -> Duration

    package init(wall: @escaping @Sendable () -> WallTime, monotonic: @escaping @Sendable () -> Duration) {
        self.wall = wall
        self.monotonic = monotonic
    }

    package var now: Moment { Moment(wall: wall(), monotonic: monotonic()) }
}
