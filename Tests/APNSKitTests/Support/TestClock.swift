import APNSKit
import Synchronization

/// A wall clock that stands still until it is moved.
final class TestWallClock: Sendable {
    private let seconds: Mutex<Int64>

    init(_ seconds: Int64 = 1_790_000_000) {
        self.seconds = Mutex(seconds)
    }

    var now: Int64 { seconds.withLock { $0 } }
    func advance(by count: Int64) { seconds.withLock { $0 += count } }
    var clock: WallClock { WallClock { self.now } }
}
