import MemoryBackend
import PushModel
import PushStoreConformance
import Testing

@Suite struct `Memory keeps the promises of the storage contracts` {
    @Test(arguments: QueueConformance.clauses)
    func conforms(_ clause: Clause) async throws {
        try await clause.check { MemoryHarness() }
    }
}

/// One store under a manual clock.
final class MemoryHarness: QueueHarness {
    private let clock = SteppedClock()
    private let store: MemoryStore
    private var backend: MemoryBackend

    init() {
        store = MemoryStore(clock: clock.queueClock)
        backend = MemoryBackend(store: store)
    }

    var queue: any QueueInstance { backend }
    var now: WallTime { clock.now }

    func advance(by duration: Duration) { clock.advance(by: duration) }

    func crash() {
        backend.crash()
        backend = MemoryBackend(store: store)
    }

    func damage(_ batch: BatchID, _ part: StoredPart) -> Bool { false }

    func openSecond() -> (any QueueInstance)? { MemoryBackend(store: store) }

    func close() async { backend.close() }
}
