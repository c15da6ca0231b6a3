#if Postgres
import Foundation
import Logging
import PostgresBackend
import PostgresLink
import PushModel
import PushStore
import PushStoreConformance
import PushTesting

enum ConformanceServer {
    /// A server that no clause stops. It does not wait for the disk, which is not what the clauses are about.
    static let server = Task { try await PostgresServer.start(settings: ["fsync=off", "full_page_writes=off"]) }
}

/// A schema of its own on a real server, under a clock that stands still until the test moves it.
final class PostgresHarness: QueueHarness {
    private let server: PostgresServer
    private let database: String
    private let schema: String
    private let control: PostgresConnection
    private var backend: PostgresBackend
    /// Instances that share the store, the first one included.
    private var others: [PostgresBackend] = []
    private var time = WallTime(milliseconds: 1_790_000_000_000)

    /// - Parameter server: nil: the one of all clauses.
    init(server: PostgresServer? = nil) async throws {
        if let server {
            self.server = server
        } else {
            self.server = try await ConformanceServer.server.value
        }
        database = "postgres"
        schema = "clause_" + UUID().uuidString.lowercased().replacing("-", with: "").prefix(20)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var configuration = PostgresConfiguration(
            self.server.connectionString(database: database), logger: logger)
        configuration.sessionSettings["search_path"] = schema
        control = try PostgresConnection(configuration)
        backend = try await Self.open(self.server, database, schema)
        try await setTime()
    }

    private static func open(
        _ server: PostgresServer, _ database: String, _ schema: String
    ) async throws -> PostgresBackend {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var configuration = PostgresStoreConfiguration(
            server.connectionString(database: database), logger: logger)
        configuration.schema = schema
        configuration.aliveFor = .milliseconds(1)
        return try await PostgresBackend.open(configuration)
    }

    var queue: any QueueInstance { backend }
    var store: PostgresBackend { backend }
    var now: WallTime { time }

    private func setTime() async throws {
        try await execute(
            """
            CREATE OR REPLACE FUNCTION store_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS
            'SELECT timestamptz ''epoch'' + \(time.milliseconds) * interval ''1 ms'''
            """)
    }

    func execute(_ sql: String) async throws {
        try await control.run(PostgresStatement(unprepared: sql))
    }

    /// Moves the store's clock. The heartbeat of an instance would end leases that have run out within a second.
    func advance(by duration: Duration) async throws {
        try await moveClock(by: duration)
        try await backend.endExpiredLeases()
    }

    /// Moves the store's clock and does nothing else.
    func moveClock(by duration: Duration) async throws {
        time = time + duration
        try await setTime()
    }

    func crash() async throws {
        await backend.crash()
        let crashed = backend
        backend = try await Self.open(server, database, schema)
        try await execute("UPDATE batches SET lease_until = store_time() WHERE owner = \(crashed.instance)")
        try await backend.endExpiredLeases()
    }

    func damage(_ batch: BatchID, _ part: StoredPart) async throws -> Bool {
        let table = part == .body ? "batches" : "progress"
        try await execute(
            """
            UPDATE \(table) SET body = set_byte(body, length(body) / 2, get_byte(body, length(body) / 2) # 4)
            WHERE id = '\(batch)'
            """)
        return true
    }

    /// Executes SQL in the schema of the store.
    func query(_ sql: String) async throws -> String {
        try await server.query("SET search_path = \(schema); \(sql)", database: database)
    }

    func openSecond() async throws -> (any QueueInstance)? { try await openAnother() }

    func openAnother() async throws -> PostgresBackend {
        let second = try await Self.open(server, database, schema)
        others.append(second)
        return second
    }

    func close() async {
        for backend in [backend] + others { await backend.close() }
        try? await execute("DROP SCHEMA \(schema) CASCADE")
        await control.close()
    }
}
#endif
