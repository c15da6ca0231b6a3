import Foundation
import GRDB
import PushModel
import PushStore
import SQLiteBackend
import Testing

@Suite struct `A database of an older version` {
    private let clock = ManualClock()

    private func open(_ folder: String) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder, clock: clock.queueClock, logger: silence)
    }

    /// Reverts the third migration.
    private func revertThirdMigration(_ folder: String) throws {
        let database = try DatabaseQueue(path: folder + "/" + SQLiteBackend.fileName)
        try database.writeWithoutTransaction { db in
            try db.execute(
                sql: """
                    DROP INDEX records_ended;
                    ALTER TABLE records DROP COLUMN ended_at;
                    DROP INDEX batches_since;
                    ALTER TABLE batches DROP COLUMN since;
                    PRAGMA user_version = 2;
                    """
            )
        }
        try database.close()
    }

    @Test func `keeps finished batches for a full retention period, and sends waiting ones`() async throws {
        let folder = try TemporaryFolder()
        let old = try open(folder.path)
        let (finished, waiting) = (sampleBatch(2, at: clock.now), sampleBatch(2, at: clock.now))
        let lease = try #require(try await old.append([NewBatch(batch: finished, claim: .seconds(60))])[0])
        let dead = Outcome(index: 1, verdict: .givenUp, code: .apnsUnavailable, attempts: 50)
        _ = try await old.settle([Settlement(lease: lease, outcomes: delivered(1) + [dead], at: clock.now)])
        _ = try await old.append([NewBatch(batch: waiting)])
        await old.close()
        try revertThirdMigration(folder.path)

        clock.advance(by: .seconds(1000))
        let new = try open(folder.path)
        let migrated = clock.now
        _ = try await new.prune(endedBefore: migrated, batchesMax: 9, now: migrated)
        #expect(try await new.find([finished.id.push(0)])[0]?.state == .settled(.delivered))
        #expect(try await new.deadLetters(of: nil, after: nil, limit: 9).map(\.id) == [finished.id.push(1)])
        clock.advance(by: .seconds(1))
        let claimed = try await new.claim(ClaimRequest(batchesMax: 9, lease: .seconds(9)))
        #expect(claimed.map(\.batch) == [waiting])
        _ = try await new.prune(endedBefore: clock.now, batchesMax: 9, now: clock.now)
        #expect(try await new.find([finished.id.push(0)]) == [nil])
        #expect(try await new.find([waiting.id.push(0)])[0]?.state == .sending)
        await new.close()
    }
}
