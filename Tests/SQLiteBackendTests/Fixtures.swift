import APNSWire
import Foundation
import Logging
import PushModel
import PushStore
import Synchronization

/// A new folder, deleted with this object.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/godwit-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// Clocks that a test moves.
final class ManualClock: Sendable {
    private let elapsed = Mutex(Duration.zero)
    /// How far the wall clock is ahead of the monotonic clock.
    private let offset = Mutex(Duration.zero)
    private let start = WallTime(milliseconds: 1_790_000_000_000)

    var now: WallTime { start + elapsed.withLock { $0 } + offset.withLock { $0 } }
    var queueClock: QueueClock {
        QueueClock(wall: { self.now }, monotonic: { self.elapsed.withLock { $0 } })
    }

    func advance(by duration: Duration) {
        elapsed.withLock { $0 += duration }
    }

    /// Moves only the wall clock, forwards or backwards.
    func set(by duration: Duration) {
        offset.withLock { $0 += duration }
    }
}

let silence = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }

/// A batch of `count` pushes whose payloads contain `text`.
///
/// - Parameter id: random by default.
func sampleBatch(
    _ count: Int = 1, at now: WallTime, id: BatchID? = nil, app: String = "app", lane: Lane = .normal,
    notBefore: WallTime? = nil, text: String = "hello"
) -> Batch {
    let id = id ?? BatchID.random(at: now)
    var pushes = NotificationBatch(firstID: id.value)
    let headers = NotificationHeaders(topic: "org.example.app", pushType: .alert)
    for index in 0..<count {
        [UInt8](repeating: UInt8(index & 255), count: 32).withUnsafeBytes { token in
            Array("{\"\(text)\":\(index)}".utf8).withUnsafeBytes { payload in
                pushes.append(token: token, payload: payload, headers: headers)
            }
        }
    }
    return Batch(
        id: id, app: AppID(app), lane: lane, acceptedAt: now, dueTimes: PushColumn(shared: notBefore),
        notifications: pushes)
}

func delivered(_ count: Int) -> [Outcome] {
    (0..<count).map { Outcome(index: UInt16($0), verdict: .delivered, code: .none, status: 200, attempts: 1) }
}
