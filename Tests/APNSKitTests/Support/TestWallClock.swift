import APNSKit
import APNSWire
import Synchronization

/// A wall clock that moves only when a test advances it.
final class TestWallClock: Sendable {
    private let state: Mutex<Int64>

    init(_ seconds: Int64 = 1_790_000_000) {
        state = Mutex(seconds)
    }

    /// Seconds since 1970.
    var seconds: Int64 { state.withLock { $0 } }
    var now: UNIXTime { UNIXTime(secondsSince1970: seconds) }
    var clock: WallClock { WallClock { self.now } }

    func advance(by seconds: Int64) { state.withLock { $0 += seconds } }
}
