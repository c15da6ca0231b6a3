#if Postgres
import PushModel
import PushStore
import Synchronization

/// The database's time, as of the last heartbeat, plus the time that has passed since: one clock for all instances.
final class StoreClock: Sendable {
    private let machine: QueueClock
    private let base: Mutex<(wall: WallTime, monotonic: Duration)>

    init(_ machine: QueueClock, wall: WallTime) {
        self.machine = machine
        base = Mutex((wall, machine.monotonic()))
    }

    /// Notes the database's time.
    func set(_ wall: WallTime) {
        let monotonic = machine.monotonic()
        base.withLock { $0 = (wall, monotonic) }
    }

    var now: WallTime {
        let monotonic = machine.monotonic()
        return base.withLock { $0.wall + (monotonic - $0.monotonic) }
    }

    var queueClock: QueueClock { QueueClock(wall: { self.now }, monotonic: machine.monotonic) }
}
#endif
