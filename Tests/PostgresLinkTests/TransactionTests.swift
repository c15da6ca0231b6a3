#if Postgres
import PostgresLink
import PushTesting
import Synchronization
import Testing

@Suite struct `Transactions on PostgreSQL` {
    private static let insert = PostgresStatement("insert", [.int8], "INSERT INTO t (id) VALUES ($1)")
    private static let count = PostgresStatement("count", "SELECT count(*) FROM t")

    private func insert(_ id: Int64) -> PostgresCall {
        var parameters = PostgresParameters()
        parameters.append(id)
        return PostgresCall(Self.insert, parameters)
    }

    @Test func `statements are prepared once, whatever the number of calls`() async throws {
        let connection = try await connect()
        try await connection.sql("CREATE TABLE t (id int8 PRIMARY KEY)")
        for id in 0..<5 { try await connection.run(Self.insert, insert(Int64(id)).parameters) }
        let rows = try await connection.transaction([insert(5), insert(6), PostgresCall(Self.count)])
        #expect(try rows[2].value(0, 0) == Int64(7), "a statement sees the ones before it")
        let names = try await connection.sql(
            "SELECT name, generic_plans + custom_plans FROM pg_prepared_statements ORDER BY name")
        let all = try (0..<names.count).map { try names.value($0, 0, as: String.self) }
        #expect(all.filter { !$0.isEmpty } == ["count", "insert"])
        #expect(connection.statistics.connects == 1)
    }

    @Test func `an error in the middle leaves nothing, and names its statement`() async throws {
        let connection = try await connect()
        try await connection.sql("CREATE TABLE t (id int8 CONSTRAINT id_once PRIMARY KEY)")
        let error = await failure {
            try await connection.transaction([insert(1), insert(2), insert(1), insert(3), PostgresCall(Self.count)])
        }
        #expect(error?.kind == .invalid)
        #expect(error?.isDuplicate == true)
        #expect(error?.statement == "insert")
        #expect(error?.constraint == "id_once")
        #expect(error?.description.contains("(id)=(1)") == false, "details of the server quote values")
        #expect(try await connection.number("SELECT count(*) FROM t") == 0)
        #expect(connection.statistics.connects == 1, "the session stays")
        // What was not prepared after the error is prepared by the next call.
        #expect(try await connection.run(Self.count).value(0, 0) == Int64(0))
        #expect(connection.statistics.connects == 1)
    }

    @Test func `a statement that cannot be prepared fails its transaction only`() async throws {
        let connection = try await connect()
        try await connection.sql("CREATE TABLE t (id int8)")
        let wrong = PostgresStatement("wrong", "SELECT nothing FROM nowhere")
        for _ in 0..<2 {
            let error = await failure { try await connection.transaction([insert(1), PostgresCall(wrong)]) }
            #expect(error?.kind == .invalid)
            #expect(error?.sqlState == "42P01")
            #expect(error?.statement == "wrong")
        }
        #expect(try await connection.run(Self.count).value(0, 0) == Int64(0))
    }

    @Test func `an error that the commit itself reports is an error`() async throws {
        let connection = try await connect()
        try await connection.sql("CREATE TABLE t (id int8 UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        let error = await failure { try await connection.transaction([insert(1), insert(1)]) }
        #expect(error?.kind == .invalid)
        #expect(error?.isDuplicate == true)
        #expect(error?.statement == nil)
        #expect(try await connection.run(Self.count).value(0, 0) == Int64(0))
        #expect(connection.statistics.connects == 1)
    }

    @Test func `a conflict is repeated twice, then reported`() async throws {
        let connection = try await connect()
        try await connection.transaction([
            PostgresCall(PostgresStatement(unprepared: "CREATE SEQUENCE tries")),
            PostgresCall(
                PostgresStatement(
                    unprepared: """
                        CREATE FUNCTION conflict(times int8, state text) RETURNS int8 LANGUAGE plpgsql AS $$ BEGIN
                        IF nextval('tries') <= times THEN RAISE EXCEPTION 'no' USING ERRCODE = state; END IF;
                        RETURN currval('tries'); END $$
                        """)),
        ])
        #expect(try await connection.number("SELECT conflict(2, '40001')") == 3)
        #expect(connection.statistics.conflicts == 2)
        let error = await failure { try await connection.sql("SELECT conflict(100, '40P01')") }
        #expect(error?.kind == .conflict)
        #expect(try await connection.number("SELECT last_value FROM tries") == 6)
        let full = await failure { try await connection.sql("SELECT conflict(100, '53100')") }
        #expect(full?.kind == .full)
        let broken = await failure { try await connection.sql("SELECT conflict(100, 'XX001')") }
        #expect(broken?.kind == .broken)
        #expect(connection.statistics.connects == 1)
    }

    @Test func `a real deadlock ends without an error`() async throws {
        let server = try await PostgresServer.shared
        let database = try await server.makeDatabase()
        let one = try PostgresConnection(configuration(server.connectionString(database: database)))
        let two = try PostgresConnection(configuration(server.connectionString(database: database)))
        try await one.sql("CREATE TABLE t (id int8 PRIMARY KEY, n int8 NOT NULL DEFAULT 0)")
        try await one.sql("INSERT INTO t VALUES (1), (2)")
        func update(_ id: Int) -> PostgresCall {
            PostgresCall(PostgresStatement(unprepared: "UPDATE t SET n = n + 1 WHERE id = \(id)"))
        }
        let pause = PostgresCall(PostgresStatement(unprepared: "SELECT pg_sleep(0.1)"))
        var rounds: Int64 = 0
        // The two transactions usually meet in the first round.
        while one.statistics.conflicts + two.statistics.conflicts == 0 {
            try #require(rounds < 50)
            rounds += 1
            async let first = one.transaction([update(1), pause, update(2)])
            async let second = two.transaction([update(2), pause, update(1)])
            _ = try await (first, second)
        }
        #expect(try await one.number("SELECT sum(n)::int8 FROM t") == rounds * 4)
    }

    @Test func `calls without a task are answered once, in their order`() async throws {
        let connection = try await connect()
        let results = Mutex<[Int64]>([])
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            for number in 0..<100 {
                let call = PostgresCall(PostgresStatement(unprepared: "SELECT \(number)::int8"))
                connection.perform([call]) { result in
                    let value: Int64? = try? result.get()[0].value(0, 0)
                    let isLast = results.withLock { results in
                        results.append(value ?? -1)
                        return results.count == 100
                    }
                    if isLast { done.resume() }
                }
            }
        }
        #expect(results.withLock { $0 } == Array(0..<100))
        #expect(try await connection.transaction([]).isEmpty)
    }

    @Test func `a changed table and lost prepared statements are not noticed`() async throws {
        let connection = try await connect()
        let all = PostgresStatement("all", "SELECT * FROM t")
        try await connection.sql("CREATE TABLE t (id int8)")
        try await connection.run(all)
        try await connection.sql("ALTER TABLE t ADD more int8")
        #expect(try await connection.run(all).columnCount == 2)
        try await connection.sql("DEALLOCATE ALL")
        #expect(try await connection.run(all).columnCount == 2)
        #expect(connection.statistics.connects == 3)
        #expect(connection.statistics.failedCalls == 0)
    }
}
#endif
