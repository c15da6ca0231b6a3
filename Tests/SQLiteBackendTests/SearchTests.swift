import APNSWire
import Foundation
import GRDB
import PushModel
import PushStore
import SQLiteBackend
import Testing

@Suite struct `A search in SQLite` {
    private let clock = ManualClock()

    private func open(_ folder: TemporaryFolder) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
    }

    /// Runs SQL on the database of a folder, next to its gateway.
    private func change<Value>(_ folder: TemporaryFolder, _ body: (Database) throws -> Value) throws -> Value {
        let database = try DatabaseQueue(path: folder.path + "/" + SQLiteBackend.fileName)
        defer { try? database.close() }
        return try database.inDatabase(body)
    }

    private func settled(_ batch: Batch, _ outcomes: [Outcome], in backend: SQLiteBackend) async throws {
        let leases = try await backend.append([NewBatch(batch: batch, claim: .seconds(60))])
        let lease = try #require(leases[0])
        _ = try await backend.settle([Settlement(lease: lease, outcomes: outcomes, at: clock.now)])
    }

    private func search(_ query: MessageQuery, in backend: SQLiteBackend) async throws -> [PushID] {
        try await backend.search(query, after: nil, limits: SearchLimits()).messages.map(\.status.id)
    }

    /// The token of push `index` of `sampleBatch`.
    private func token(_ index: UInt8) -> [UInt8] { [UInt8](repeating: index, count: 32) }

    private func key(_ folder: TemporaryFolder) throws -> TokenHashKey? {
        try change(folder) { db in
            try Data.fetchOne(db, sql: "SELECT value FROM settings WHERE name = 'token_hash_key'")
        }.flatMap(TokenHashKey.init)
    }

    @Test func `uses a key that is made with the database and stays`() async throws {
        let folder = try TemporaryFolder()
        await (try open(folder)).close()
        let first = try #require(try key(folder))
        await (try open(folder)).close()
        #expect(try key(folder) == first)
        let other = try TemporaryFolder()
        await (try open(other)).close()
        #expect(try key(other) != first)
    }

    private struct Columns: Equatable {
        var states: Int
        var codes: Data?
        var details: Data?

        init(states: Int, codes: Data?, details: Data?) {
            self.states = states
            self.codes = codes
            self.details = details
        }

        init(_ row: Row) {
            self.init(states: row[0], codes: row[1], details: row[2])
        }

        func details(pushes: Int) throws -> RecordDetails {
            try RecordDetails(stored: [try #require(details)], pushes: pushes)
        }
    }

    @Test func `reads columns that are written when a batch leaves the queue`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder)
        let (batch, claimed, cancelled) = (
            sampleBatch(3, at: clock.now), sampleBatch(3, at: clock.now), sampleBatch(3, at: clock.now)
        )
        let rejected = Outcome(index: 2, verdict: .rejected, code: .notSubscribed, status: 410, attempts: 1)
        try await settled(batch, delivered(2) + [rejected], in: backend)
        func record(_ batch: Batch) throws -> Columns {
            try change(folder) { db in
                let row = try Row.fetchOne(
                    db, sql: "SELECT states, codes, details FROM records WHERE id = ?", arguments: [batch.id.bytes])
                return Columns(try #require(row))
            }
        }
        // Claimed by its append, claimed later, and not at all.
        let key = try #require(try key(folder))
        let details = RecordDetails(of: batch, key: key)
        let row = try record(batch)
        #expect(row.states == 0b110 && row.codes == Data([0x0B, 0xBA]))
        #expect(try row.details(pushes: 3) == details)

        _ = try await backend.append([NewBatch(batch: claimed)])
        #expect(try record(claimed) == Columns(states: 0, codes: nil, details: nil))
        let claim = try await backend.claim(ClaimRequest(batchesMax: 1, lease: .seconds(60)))
        _ = try await backend.settle([Settlement(lease: claim[0].lease, outcomes: delivered(3), at: clock.now)])
        #expect(try record(claimed).details(pushes: 3) == details)

        _ = try await backend.append([NewBatch(batch: cancelled)])
        _ = try await backend.cancel(.app(cancelled.app), at: clock.now)
        let end = try record(cancelled)
        #expect(end.states == 0b10000)
        #expect(try end.details(pushes: 3) == details)
        await backend.close()
    }

    @Test func `passes over records that cannot be read`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder)
        var batches: [Batch] = []
        for _ in 0..<4 {
            batches.append(sampleBatch(2, at: clock.now))
            try await settled(batches.last!, delivered(2), in: backend)
            clock.advance(by: .milliseconds(10))
        }
        try change(folder) { db in
            // Written before there were searches, damaged, and with a damaged ID.
            try db.execute(
                sql: "UPDATE records SET details = NULL, codes = NULL, states = 0 WHERE id = ?",
                arguments: [batches[1].id.bytes])
            try db.execute(
                sql: "UPDATE records SET details = x'0102' WHERE id = ?", arguments: [batches[2].id.bytes])
            try db.execute(
                sql: "UPDATE records SET id = ? WHERE id = ?",
                arguments: [batches[3].id.bytes.dropLast() + [7], batches[3].id.bytes])
        }
        #expect(try await search(MessageQuery(token: token(1)), in: backend) == [batches[0].id.push(1)])
        let delivered = MessageQuery(states: [.settled(.delivered)])
        let readable: [PushID] = batches.prefix(3).reversed().flatMap { [$0.id.push(1), $0.id.push(0)] }
        #expect(try await search(delivered, in: backend) == readable)
        let page = try await backend.search(delivered, after: nil, limits: SearchLimits(recordsMax: 1))
        #expect(page.messages.isEmpty)
        #expect(try await backend.search(delivered, after: page.next, limits: SearchLimits()).messages.count == 6)
        await backend.close()
    }

    /// The hashes of a large batch are in several rows.
    @Test func `finds every token of a batch of 1,000, also after a replay`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder)
        var pushes = NotificationBatch(firstID: BatchID.random(at: clock.now).value)
        func token(_ index: Int) -> [UInt8] { [UInt8(index >> 8), UInt8(index & 255), 7, 7] }
        for index in 0..<1000 {
            token(index).withUnsafeBytes { token in
                Array("{}".utf8).withUnsafeBytes {
                    pushes.append(
                        token: token, payload: $0, headers: NotificationHeaders(topic: "a.b", pushType: .alert))
                }
            }
        }
        let batch = Batch(
            id: try #require(BatchID(pushes.firstID)), app: AppID("app"), lane: .bulk, acceptedAt: clock.now,
            notifications: pushes
        )
        let dead = Outcome(index: 999, verdict: .givenUp, code: .apnsUnavailable, attempts: 9)
        try await settled(batch, delivered(999) + [dead], in: backend)
        #expect(try await backend.replay(.app(nil), at: clock.now) == ReplayCount(replayed: 1))
        let claim = try await backend.claim(ClaimRequest(batchesMax: 1, lease: .seconds(60)))
        #expect(claim.map { $0.pending?.map(\.index) } == [[999]])
        let last = Outcome(index: 999, verdict: .delivered, code: .none, attempts: 1)
        _ = try await backend.settle([Settlement(lease: claim[0].lease, outcomes: [last], at: clock.now)])
        for index in [0, 99, 100, 101, 555, 999] {
            let found = try await backend.search(
                MessageQuery(token: token(index)), after: nil, limits: SearchLimits()
            ).messages
            #expect(found.map(\.status.id) == [batch.id.push(index)])
            #expect(found.map(\.status.state) == [.settled(.delivered)])
        }
        _ = try await backend.prune(endedBefore: clock.now + .seconds(1), batchesMax: 9, now: clock.now)
        #expect(try change(folder) { try Int.fetchOne($0, sql: "SELECT count(*) FROM progress") } == 0)
        await backend.close()
    }

    /// A page reads records in several steps.
    @Test func `reads many records, and continues where a step ended`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder)
        let first = sampleBatch(2, at: clock.now)
        try await settled(first, delivered(2), in: backend)
        clock.advance(by: .milliseconds(10))
        _ = try await backend.append((0..<1000).map { _ in NewBatch(batch: sampleBatch(at: clock.now)) })
        let query = MessageQuery(token: token(1))
        #expect(try await search(query, in: backend) == [first.id.push(1)])
        let part = try await backend.search(query, after: nil, limits: SearchLimits(recordsMax: 999))
        #expect(part.messages.isEmpty && part.next != nil)
        let rest = try await backend.search(query, after: part.next, limits: SearchLimits())
        #expect(rest.messages.map(\.status.id) == [first.id.push(1)] && rest.next == nil)
        await backend.close()
    }
}
