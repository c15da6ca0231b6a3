#if Postgres
import Logging
import PostgresBackend
import PostgresLink
import PushTesting
import Testing

@Suite struct `Migrations of PostgreSQL` {
    private func connect(_ database: String, user: String = "godwit") async throws -> PostgresConnection {
        let server = try await PostgresServer.shared
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var configuration = PostgresConfiguration(
            server.connectionString(database: database).replacing("user=godwit", with: "user=\(user)"), logger: logger)
        configuration.callTimeout = .seconds(60)
        configuration.sessionSettings["statement_timeout"] = "0"
        return try PostgresConnection(configuration)
    }

    private func fails(_ connection: PostgresConnection, _ calls: [PostgresCall]) async -> Bool {
        do {
            try await connection.transaction(calls)
            return false
        } catch {
            return true
        }
    }

    private func database() async throws -> String { try await PostgresServer.shared.makeDatabase() }

    private static let next = PostgresMigration(
        version: 2, readsMin: 1,
        statements: [
            "CREATE TABLE devices (id uuid PRIMARY KEY)", "ALTER TABLE batches ADD more text",
            "ALTER TABLE records ADD more text NOT NULL DEFAULT 'x'",
        ])
    private static let contract = PostgresMigration(
        version: 3, readsMin: 2, statements: ["ALTER TABLE batches DROP marks"])

    @Test func `an empty database gets the schema, and a current one nothing`() async throws {
        let connection = try await connect(try await database())
        let migrator = PostgresMigrator(connection)
        #expect(try await migrator.state() == .empty)
        #expect(try await migrator.migrate() == [1])
        #expect(try await migrator.state() == .current)
        #expect(try await migrator.migrate() == [])
        let lz4: String = try await connection.run(
            PostgresStatement(
                unprepared: """
                    SELECT attcompression::text FROM pg_attribute
                    WHERE attrelid = 'godwit.batches'::regclass AND attname = 'body'
                    """)
        ).value(0, 0)
        #expect(lz4 == "l")
        // The search path was the migration's own.
        let path: String = try await connection.run(PostgresStatement(unprepared: "SHOW search_path")).value(0, 0)
        #expect(path != "godwit")
    }

    @Test func `instances that start concurrently migrate once`() async throws {
        let database = try await database()
        var migrators: [PostgresMigrator] = []
        for _ in 0..<4 {
            migrators.append(
                PostgresMigrator(try await connect(database), migrations: PostgresSchema.migrations + [Self.next]))
        }
        let reached = try await withThrowingTaskGroup(of: [Int32].self) { group in
            for migrator in migrators { group.addTask { try await migrator.migrate() } }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(reached.sorted() == [1, 2])
        #expect(try await migrators[0].state() == .current)
    }

    @Test func `a migration gives up when a table stays locked, and leaves the version before it`() async throws {
        let server = try await PostgresServer.shared
        let database = try await database()
        try await PostgresMigrator(try await connect(database)).migrate()
        let other = try await connect(database)
        async let isLocked = fails(
            other,
            [
                PostgresCall(PostgresStatement(unprepared: "ALTER TABLE godwit.batches SET (fillfactor = 71)")),
                PostgresCall(PostgresStatement(unprepared: "SELECT pg_sleep(1000)")),
            ])
        try await waitUntil("the lock") {
            try await server.query(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '\(database)'")
                == "1"
        }
        let migrator = PostgresMigrator(
            try await connect(database), migrations: PostgresSchema.migrations + [Self.next],
            lockTimeout: .milliseconds(20))
        let error = await #expect(throws: PostgresError.self) { try await migrator.migrate() }
        #expect(error?.sqlState == "55P03")
        #expect(try await migrator.state() == .older(found: 1, known: 2))
        try await server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = '\(database)' AND wait_event = 'PgSleep'"
        )
        #expect(await isLocked)
        #expect(try await migrator.migrate() == [2])
    }

    @Test func `a failed migration leaves the version before it`() async throws {
        let connection = try await connect(try await database())
        var broken = Self.next
        broken.statements.append("ALTER TABLE nowhere ADD more text")
        let migrator = PostgresMigrator(connection, migrations: PostgresSchema.migrations + [broken])
        await #expect(throws: PostgresError.self) { try await migrator.migrate() }
        #expect(try await migrator.state() == .older(found: 1, known: 2))
        let devices: Bool = try await connection.run(
            PostgresStatement(unprepared: "SELECT to_regclass('godwit.devices') IS NULL")
        ).value(0, 0)
        #expect(devices)
        let repaired = PostgresMigrator(connection, migrations: PostgresSchema.migrations + [Self.next])
        #expect(try await repaired.migrate() == [2])
    }

    @Test func `the version before works next to an expanded schema, and not next to a contracted one`() async throws {
        let database = try await database()
        let old = PostgresMigrator(try await connect(database))
        try await old.migrate()
        let session = try await connect(database)
        // Prepared by the older version, before the newer one migrates.
        let insert = PostgresStatement(
            "insert", [.uuid],
            """
            INSERT INTO godwit.batches (id, accepted_at, due_at, epoch, app_lane, count, unsettled, body)
            VALUES ($1, 1, 1, 0, 1, 1, 1, '')
            """)
        let claim = PostgresStatement(
            "claim", "UPDATE godwit.batches SET epoch = epoch + 1 RETURNING id, epoch, marks, body")
        func insertOne(_ low: UInt64) async throws {
            var parameters = PostgresParameters()
            parameters.append(PostgresUUID(high: 1, low: low))
            try await session.run(insert, parameters)
        }
        try await insertOne(1)
        #expect(try await session.run(claim).count == 1)
        let new = PostgresMigrator(
            try await connect(database), migrations: PostgresSchema.migrations + [Self.next])
        #expect(try await new.migrate() == [2])
        #expect(try await old.state() == .newer(found: 2, known: 1))
        #expect(try await old.state().isUsable)
        #expect(try await old.migrate() == [])
        try await insertOne(2)
        #expect(try await session.run(claim).count == 2)
        let newest = PostgresMigrator(
            try await connect(database), migrations: PostgresSchema.migrations + [Self.next, Self.contract])
        #expect(try await newest.migrate() == [3])
        #expect(try await new.state().isUsable)
        #expect(try await old.state() == .unreadable(found: 3, known: 1, readsMin: 2))
        await #expect(throws: PostgresError.self) { try await old.migrate() }
    }

    @Test func `an instance needs no right of an owner`() async throws {
        let database = try await database()
        let owner = try await connect(database)
        let migrator = PostgresMigrator(owner)
        try await migrator.migrate()
        let role = "instance_of_\(database)"
        try await owner.run(PostgresStatement(unprepared: "CREATE ROLE \"\(role)\" LOGIN"))
        try await migrator.grant(to: role)
        try await migrator.grant(to: role)
        let instance = try await connect(database, user: role)
        func run(_ sql: String) async throws(PostgresError) -> PostgresRows {
            try await instance.run(PostgresStatement(unprepared: sql))
        }
        #expect(try await PostgresMigrator(instance).state() == .current)
        _ = try await run("INSERT INTO godwit.app_lanes (app, environment, lane) VALUES ('a', 0, 0)")
        _ = try await run("INSERT INTO godwit.control (kind, body) VALUES ('pause', '{}')")
        #expect(try await run("SELECT godwit.make_records_day('2030-01-02')").value(0, 0) == true)
        #expect(try await run("SELECT godwit.make_records_day('2030-01-02')").value(0, 0) == false)
        _ = try await run(
            """
            INSERT INTO godwit.records (id, app_lane, count, accepted_at, ended_at, epoch, update_no, updates, day)
            VALUES (gen_random_uuid(), 1, 1, 1, 1, 1, 1, '{}', '2030-01-02')
            """)
        #expect(try await run("SELECT count(*) FROM godwit.records_default").value(0, 0) == Int64(0))
        #expect(try await run("SELECT godwit.drop_records_day('2030-01-02')").value(0, 0) == true)
        #expect(try await run("SELECT godwit.drop_records_day('2030-01-02')").value(0, 0) == false)
        #expect(try await run("SELECT count(*) FROM godwit.records").value(0, 0) == Int64(0))
        for sql in [
            "CREATE TABLE godwit.mine (id int)", "DROP TABLE godwit.batches", "ALTER TABLE godwit.batches ADD mine int",
            "UPDATE godwit.meta SET version = 9", "TRUNCATE godwit.batches", "CREATE ROLE other",
        ] {
            let error = await #expect(throws: PostgresError.self, "\(sql)") { try await run(sql) }
            #expect(error?.sqlState == "42501")
        }
    }
}
#endif
