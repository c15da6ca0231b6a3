import Foundation
import GRDB
import PushModel
import PushStore
import SQLiteBackend
import Testing

/// Bits that change between the append and the claim.
@Suite struct `A changed bit in the database` {
    private let clock = ManualClock()

    /// A closed database with one batch: its first push is delivered, the second waits for a retry, the third is new.
    private struct Stored {
        let folder: TemporaryFolder
        let batch: Batch
        let bytes: Data
        let body: Data
        let progress: Data

        var file: URL { URL(fileURLWithPath: folder.path + "/" + SQLiteBackend.fileName) }

        /// The places of `pattern` in the file.
        func offsets(of pattern: Data) -> [Int] {
            var offsets: [Int] = []
            var rest = bytes[...]
            while let found = rest.range(of: pattern) {
                offsets.append(found.lowerBound)
                rest = rest[(found.lowerBound + 1)...]
            }
            return offsets
        }
    }

    private func store() async throws -> Stored {
        let folder = try TemporaryFolder()
        let backend = try open(folder)
        let batch = sampleBatch(3, at: clock.now, app: "some-app")
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(9))])[0])
        let retry = Retry(index: 1, code: .apnsUnavailable, status: 503, attempts: 1, due: clock.now)
        let settlement = Settlement(
            lease: lease, outcomes: delivered(1), retries: [retry], release: .release, at: clock.now)
        _ = try await backend.settle([settlement])
        await backend.close()
        let database = try DatabaseQueue(path: folder.path + "/" + SQLiteBackend.fileName)
        let (body, progress) = try await database.read { db in
            let bodies = try Data.fetchAll(db, sql: "SELECT body FROM bodies UNION ALL SELECT body FROM progress")
            return (bodies[0], bodies[1])
        }
        try database.close()
        let bytes = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/" + SQLiteBackend.fileName))
        return Stored(folder: folder, batch: batch, bytes: bytes, body: body, progress: progress)
    }

    private func open(_ folder: TemporaryFolder) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
    }

    /// Changes a bit and drains the queue.
    ///
    /// - Returns: what would be sent, and the statuses afterwards; nil if the database is refused.
    private func drain(
        _ stored: Stored, flipping bit: UInt8, at offset: Int
    ) async throws -> (sent: [ClaimedBatch], statuses: [PushStatus?])? {
        var bytes = stored.bytes
        bytes[offset] ^= 1 << bit
        let folder = try TemporaryFolder()
        try bytes.write(to: URL(fileURLWithPath: folder.path + "/" + SQLiteBackend.fileName))
        guard let backend = try? open(folder) else { return nil }
        let sent = try await backend.claim(ClaimRequest(batchesMax: 9, lease: .seconds(9)))
        let statuses = try await backend.find((0..<3).map(stored.batch.id.push))
        await backend.close()
        return (sent, statuses)
    }

    @Test func `of a body or of progress gives its pushes an outcome and sends none of them`() async throws {
        let stored = try await store()
        let ranges = try [(stored.body, 3), (stored.progress, 1)].map { pattern, step in
            let offsets = stored.offsets(of: pattern)
            try #require(offsets.count == 1)
            return stride(from: offsets[0], to: offsets[0] + pattern.count, by: step)
        }
        for (offset, isBody) in ranges[0].map({ ($0, true) }) + ranges[1].map({ ($0, false) }) {
            let (sent, statuses) = try #require(try await drain(stored, flipping: UInt8(offset % 8), at: offset))
            #expect(sent.isEmpty, "a bit at \(offset)")
            let codes: [ErrorCode] = [isBody ? .none : .storedDataDamaged, .storedDataDamaged, .storedDataDamaged]
            #expect(statuses.map { $0?.code } == codes, "a bit at \(offset)")
            let givenUp = PushStatus.State.settled(.givenUp)
            let states = [isBody ? .settled(.delivered) : givenUp, givenUp, givenUp]
            #expect(statuses.map { $0?.state } == states, "a bit at \(offset)")
        }
    }

    @Test func `of the id of a record does not keep it and others from being pruned`() async throws {
        let folder = try TemporaryFolder()
        var backend = try open(folder)
        for _ in 0..<3 {
            let lease = try await backend.append([NewBatch(batch: sampleBatch(at: clock.now), claim: .seconds(9))])[0]
            let settlement = Settlement(lease: try #require(lease), outcomes: delivered(1), at: clock.now)
            _ = try await backend.settle([settlement])
            clock.advance(by: .seconds(1))
        }
        await backend.close()
        let database = try DatabaseQueue(path: folder.path + "/" + SQLiteBackend.fileName)
        let ended = "FROM records WHERE ended_at IS NOT NULL"
        try await database.write { db in
            #expect(try Int.fetchOne(db, sql: "SELECT count(*) \(ended)") == 3)
            try db.execute(
                sql: "UPDATE records SET id = x'01' WHERE id = (SELECT id \(ended) ORDER BY ended_at LIMIT 1)")
        }
        try database.close()
        backend = try open(folder)
        _ = try await backend.prune(endedBefore: clock.now + .seconds(1), batchesMax: 9, now: clock.now)
        await backend.close()
        let after = try DatabaseQueue(path: folder.path + "/" + SQLiteBackend.fileName)
        let rows = try await after.read { db in
            try Int.fetchOne(db, sql: "SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM progress)")
        }
        #expect(rows == 0)
        try after.close()
    }

    /// In the row of the queue, in its indexes, in the record and in the body.
    @Test(arguments: ["some-app", ""])
    func `of the app or the id sends no push for another app and loses none`(app: String) async throws {
        let stored = try await store()
        let offsets = stored.offsets(of: app.isEmpty ? stored.batch.id.bytes : Data(app.utf8))
        try #require(offsets.count >= 3)
        var refused = 0
        for offset in offsets {
            guard let (sent, statuses) = try await drain(stored, flipping: 0, at: offset + 5) else {
                refused += 1
                continue
            }
            #expect(sent.allSatisfy { $0.batch == stored.batch }, "a bit at \(offset)")
            let isGivenUp = statuses.dropFirst().allSatisfy {
                $0?.state == .settled(.givenUp) && $0?.code == .storedDataDamaged
            }
            #expect(isGivenUp || sent.map { $0.pending?.map(\.index) } == [[1, 2]], "a bit at \(offset)")
        }
        #expect(refused == 0)
    }
}
