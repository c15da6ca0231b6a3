import Foundation
import PushModel

extension QueueClock {
    /// The machine's clocks.
    package static let system: QueueClock = {
        let start = ContinuousClock.now
        return QueueClock(
            wall: { WallTime(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded(.down))) },
            monotonic: { start.duration(to: .now) }
        )
    }()
}
