import APNSWire
import Foundation
import GRDB
import PushModel
import PushStore
import SQLiteBackend
import Testing

/// Databases of this version and of earlier ones, as SQL, which this version has to read. With `GODWIT_UPDATE_GOLDEN=1` the
/// file of this version is written if it is missing; none is ever changed.
@Suite struct `The database of this version` {
    private let clock = ManualClock()

    /// The last is this version.
    private static let versions = [4, 5]

    private static func file(_ version: Int) -> URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden/version-\(version).sql")
    }

    private func open(_ folder: String) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder, clock: clock.queueClock, logger: silence)
    }

    private func path(_ folder: TemporaryFolder) -> String { folder.path + "/" + SQLiteBackend.fileName }

    /// The statements that make the tables and indexes.
    private static func schema(_ path: String) throws -> [String] {
        let database = try DatabaseQueue(path: path)
        defer { try? database.close() }
        return try database.read { db in
            try String.fetchAll(db, sql: "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")
        }
    }

    /// The statements that make a copy.
    private static func dump(_ path: String) throws -> String {
        let schema = try schema(path)
        let database = try DatabaseQueue(path: path)
        defer { try? database.close() }
        let rows = try database.read { db in
            try String.fetchAll(db, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
                .flatMap { table in
                    let columns = try String.fetchAll(
                        db, sql: "SELECT name FROM pragma_table_info(?)", arguments: [table])
                    let values = columns.map { "quote(\($0))" }.joined(separator: " || ', ' || ")
                    return try String.fetchAll(db, sql: "SELECT \(values) FROM \(table)")
                        .map { "INSERT INTO \(table) VALUES (\($0));" }
                }
        }
        let version = try database.read { try Int.fetchOne($0, sql: "PRAGMA user_version") ?? 0 }
        let identity = ["PRAGMA application_id = 1734637428;", "PRAGMA user_version = \(version);"]
        return (schema.map { $0 + ";" } + rows + identity).joined(separator: "\n") + "\n"
    }

    /// 1 waits with different due times, 2 has a retry and an outcome, 3 has ended, 4 has a dead letter, 5 is at the
    /// sandbox and has a collapse id.
    private func fill(_ folder: TemporaryFolder) async throws {
        let backend = try open(folder.path)
        let now = clock.now
        let batches = (1...5).map { number in
            let plain = sampleBatch(3, at: now, text: "batch\(number)")
            switch number {
            case 1: return plain.scheduled(PushColumn([nil, now + .seconds(10), now + .seconds(20)]))
            case 5:
                var pushes = NotificationBatch(firstID: plain.id.value)
                for index in 0..<3 {
                    [UInt8](repeating: 9, count: 32).withUnsafeBytes { token in
                        Array("{}".utf8).withUnsafeBytes {
                            let headers = NotificationHeaders(
                                topic: "org.example.app", pushType: .alert, collapseID: "c\(index)"
                            )
                            pushes.append(token: token, payload: $0, headers: headers)
                        }
                    }
                }
                return Batch(
                    id: plain.id, app: plain.app, environment: .sandbox, lane: .urgent, acceptedAt: now,
                    notifications: pushes, clients: PushColumn(shared: "client"),
                    requestIDs: PushColumn(shared: "request")
                )
            default: return plain
            }
        }
        for batch in batches {
            let claim: Duration? = [1, 2, 3].contains { batches[$0].id == batch.id } ? .seconds(60) : nil
            _ = try await backend.append([NewBatch(batch: batch, claim: claim)])
        }
        let leases = batches.map { Lease(batch: $0.id, epoch: 1) }
        let retry = Retry(index: 1, code: .apnsUnavailable, status: 503, attempts: 2, due: now + .seconds(30))
        let dead = Outcome(index: 2, verdict: .givenUp, code: .apnsUnavailable, status: 503, attempts: 9)
        _ = try await backend.settle([
            Settlement(lease: leases[1], outcomes: delivered(1), retries: [retry], release: .release, at: now),
            Settlement(lease: leases[2], outcomes: delivered(3), at: now),
            Settlement(lease: leases[3], outcomes: delivered(2) + [dead], at: now),
        ])
        try await backend.setPaused(true, app: AppID("paused"), at: now)
        let key = IdempotencyKey(digest: Data(repeating: 7, count: 32))
        let record = IdempotencyRecord(fingerprint: Data([1]), body: Data([2]), at: now)
        _ = try await backend.append([], storing: [key: record])
        await backend.close()
    }

    @Test func `has the golden schema`() async throws {
        let folder = try TemporaryFolder()
        try await fill(folder)
        let (version, file) = (Self.versions.last!, Self.file(Self.versions.last!))
        if ProcessInfo.processInfo.environment["GODWIT_UPDATE_GOLDEN"] == "1",
            !FileManager.default.fileExists(atPath: file.path)
        {
            try Self.dump(path(folder)).write(to: file, atomically: true, encoding: .utf8)
        }
        let golden = try TemporaryFolder()
        try restore(version, to: golden)
        #expect(try Self.schema(path(folder)) == Self.schema(path(golden)))
    }

    private func restore(_ version: Int, to folder: TemporaryFolder) throws {
        let database = try DatabaseQueue(path: path(folder))
        let sql = try String(contentsOf: Self.file(version), encoding: .utf8)
        try database.writeWithoutTransaction { try $0.execute(sql: sql) }
        try database.close()
    }

    @Test(arguments: versions) func `has the same tables whether it is new or migrated`(version: Int) async throws {
        let (new, old) = (try TemporaryFolder(), try TemporaryFolder())
        try await fill(new)
        try restore(version, to: old)
        await (try open(old.path)).close()
        #expect(try Self.schema(path(new)) == Self.schema(path(old)))
    }

    @Test(arguments: versions) func `reads the golden rows`(version: Int) async throws {
        let folder = try TemporaryFolder()
        try restore(version, to: folder)
        let database = try DatabaseQueue(path: path(folder))
        let ids = try await database.read { db in
            try Data.fetchAll(db, sql: "SELECT id FROM records ORDER BY key").map { try #require(BatchID(bytes: $0)) }
        }
        try database.close()
        try #require(ids.count == 5)
        let backend = try open(folder.path)
        func states(_ number: Int) async throws -> [PushStatus.State?] {
            try await backend.find((0..<3).map(ids[number - 1].push)).map { $0?.state }
        }
        #expect(try await states(1) == [.queued, .scheduled, .scheduled])
        #expect(try await states(2) == [.settled(.delivered), .retrying, .queued])
        #expect(try await states(3) == [.settled(.delivered), .settled(.delivered), .settled(.delivered)])
        #expect(try await states(4) == [.settled(.delivered), .settled(.delivered), .settled(.givenUp)])
        #expect(try await backend.find([ids[4].push(0)])[0]?.environment == .sandbox)
        #expect(try await backend.replay(.app(nil), at: clock.now) == ReplayCount(replayed: 1))
        // The deadlines of rows that had none become known.
        #expect(try await !backend.expire(batchesMax: 9))
        let claims = try await backend.claim(
            ClaimRequest(batchesMax: 9, lease: .seconds(9), lookahead: .seconds(60))
        )
        #expect(claims.map(\.batch.id) == [ids[4], ids[0], ids[1], ids[3]])
        #expect(claims.map { $0.pending?.map(\.index) } == [nil, [0, 1, 2], [1, 2], [2]])
        #expect(claims[0].batch.requestID == "request" && claims[0].batch.clients.shared == "client")
        #expect(try await backend.pausedApps().keys.map(\.name) == ["paused"])
        let key = IdempotencyKey(digest: Data(repeating: 7, count: 32))
        #expect(try await backend.idempotencyRecord(for: key, now: clock.now)?.body == Data([2]))
        await backend.close()
    }

    @Test(arguments: [1, 3])
    func `is not one of a version before the first release, which is refused`(version: Int) async throws {
        let folder = try TemporaryFolder()
        let path = path(folder)
        let database = try DatabaseQueue(path: path)
        try await database.writeWithoutTransaction { db in
            try db.execute(
                sql: """
                    CREATE TABLE records (id BLOB);
                    PRAGMA application_id = 1734637428;
                    PRAGMA user_version = \(version);
                    """
            )
        }
        try database.close()
        #expect(throws: SQLiteOpenError.unreleasedSchema(path, found: version)) { try open(folder.path) }
    }
}
