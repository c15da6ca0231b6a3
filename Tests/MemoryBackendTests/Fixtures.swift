import APNSWire
import MemoryBackend
import PushModel
import PushStore
import Synchronization

/// Clocks that a test moves.
final class SteppedClock: Sendable {
    private let elapsed = Mutex(Duration.zero)
    private let start = WallTime(milliseconds: 1_790_000_000_000)

    var now: WallTime { start + elapsed.withLock { $0 } }
    var queueClock: QueueClock {
        QueueClock(wall: { self.now }, monotonic: { self.elapsed.withLock { $0 } })
    }

    func advance(by duration: Duration) { elapsed.withLock { $0 += duration } }
}

/// A batch of `count` pushes to different devices.
func sampleBatch(
    _ count: Int = 1, at now: WallTime, app: String = "app", notBefore: WallTime? = nil, collapseID: String? = nil
) -> Batch {
    let id = BatchID.random(at: now)
    var pushes = NotificationBatch(firstID: id.value)
    let headers = NotificationHeaders(topic: "org.example.app", pushType: .alert, collapseID: collapseID)
    for index in 0..<count {
        [UInt8](repeating: UInt8(index & 255), count: 32).withUnsafeBytes { token in
            Array("{\"n\":\(index)}".utf8).withUnsafeBytes { payload in
                pushes.append(token: token, payload: payload, headers: headers)
            }
        }
    }
    return Batch(
        id: id, app: AppID(app), lane: .normal, acceptedAt: now, dueTimes: PushColumn(shared: notBefore),
        notifications: pushes)
}

func outcomes(_ verdict: Verdict, _ indexes: some Sequence<Int>) -> [Outcome] {
    indexes.map { Outcome(index: UInt16($0), verdict: verdict, code: .none, attempts: 1) }
}

extension MemoryBackend {
    /// Claims up to `batchesMax` batches for 20 seconds.
    func claim(_ batchesMax: Int = 100) throws(QueueError) -> [ClaimedBatch] {
        try claim(ClaimRequest(batchesMax: batchesMax, lease: .seconds(20)))
    }

    func settle(
        _ lease: Lease, _ outcomes: [Outcome] = [], release: Settlement.Release = .keep, at now: WallTime
    ) throws(QueueError) -> [Lease] {
        try settle([Settlement(lease: lease, outcomes: outcomes, release: release, at: now)])
    }
}
