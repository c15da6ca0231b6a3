import PushModel
import PushStore
import PushStoreConformance
import SQLiteBackend
import Synchronization
import Testing

@Suite struct `The SQLite backend` {
    @Test(arguments: QueueConformance.clauses)
    func conforms(_ clause: Clause) async throws {
        try await clause.check { try SQLiteHarness() }
    }

    /// A monotonic clock with given readings; the last one stays.
    private final class Readings: Sendable {
        private let times = Mutex<[Duration]>([.zero])

        var clock: QueueClock {
            QueueClock(
                wall: { WallTime(milliseconds: 1_790_000_000_000) },
                monotonic: { self.times.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] } })
        }

        func set(_ times: [Duration]) { self.times.withLock { $0 = times } }
    }

    @Test func `keeps the leases of a process that is stopped between a claim and its write`() async throws {
        let folder = try TemporaryFolder()
        let readings = Readings()
        let backend = try SQLiteBackend.open(folder: folder.path, clock: readings.clock, logger: silence)
        let batch = sampleBatch(3, at: readings.clock.wall())
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(20))])[0])
        readings.set([.seconds(10), .seconds(50)])
        let request = ClaimRequest(batchesMax: 9, lease: .seconds(20))
        #expect(try await backend.claim(request).isEmpty)
        #expect(try await backend.renew([lease], for: .seconds(20)) == [])
        readings.set([.seconds(71)])
        #expect(try await backend.claim(request).map(\.lease.batch) == [batch.id])
        await backend.close()
    }
}
