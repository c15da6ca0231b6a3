#if Postgres
import PostgresLink
import PushTesting
import Testing

/// Each test stops a server of its own.
@Suite struct `Outages of PostgreSQL` {
    @Test func `prepared statements are used again after a restart, without an error`() async throws {
        let server = try await PostgresServer.start()
        let log = LogLines()
        let connection = try PostgresConnection(configuration(server.connectionString(), log: log))
        let statement = PostgresStatement("one", [.int8], "SELECT $1 + 1")
        var parameters = PostgresParameters()
        parameters.append(Int64(1))
        for _ in 0..<2 { #expect(try await connection.run(statement, parameters).value(0, 0) == Int64(2)) }
        try await server.stop()
        // Offered while the server is away: it waits for the server, not for an error.
        async let waiting = connection.run(statement, parameters)
        try await waitUntil("a failed connect") { connection.statistics.unreachableReason != nil }
        try await server.start()
        #expect(try await waiting.value(0, 0) == Int64(2))
        #expect(connection.statistics.connects == 2)
        #expect(connection.statistics.failedCalls == 0)
        #expect(log.all.filter { $0.hasPrefix("connected") }.count == 2)
        #expect(log.all.filter { $0.contains("was lost") }.count == 1)
        try await server.stop()
    }

    @Test func `a call without a server ends at its deadline, and nothing was written`() async throws {
        let server = try await PostgresServer.start()
        try await server.stop()
        let log = LogLines()
        var configuration = configuration(server.connectionString(), log: log)
        configuration.keepsConnected = true
        let connection = try PostgresConnection(configuration)
        let error = await failure { try await connection.sql("SELECT 1", within: .milliseconds(300)) }
        #expect(error?.kind == .unavailable(isOutcomeKnown: true))
        #expect(error?.message.contains("Connection refused") == true)
        try await waitUntil("some attempts") { connection.statistics.connectAttempts > 4 }
        #expect(log.all.count == 1, "one line for an outage, not for each attempt")
    }

    @Test func `a kill of the server in COMMIT leaves the outcome unknown`() async throws {
        let server = try await PostgresServer.start()
        let name = "in-commit"
        var configuration = configuration(server.connectionString())
        configuration.applicationName = name
        let connection = try PostgresConnection(configuration)
        try await connection.sql("CREATE TABLE t (id int8)")
        // A commit that waits for a standby that does not exist: written here, and not acknowledged.
        try await server.query("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
        try await server.query("SELECT pg_reload_conf()")
        async let error = failure { try await connection.sql("INSERT INTO t VALUES (1)") }
        try await server.waitForBlocked(name)
        try await server.kill()
        #expect(await error?.kind == .unavailable(isOutcomeKnown: false))
        try await server.start()
        try await server.query("ALTER SYSTEM RESET synchronous_standby_names")
        try await server.query("SELECT pg_reload_conf()")
        #expect(try await connection.number("SELECT count(*) FROM t") == 1)
        try await server.stop()
    }

    @Test func `a commit that a cancel kept from its standbys is not reported as a success`() async throws {
        let server = try await PostgresServer.start()
        let name = "no-standby"
        var configuration = configuration(server.connectionString())
        configuration.applicationName = name
        let connection = try PostgresConnection(configuration)
        try await connection.sql("CREATE TABLE t (id int8)")
        try await server.query("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
        try await server.query("SELECT pg_reload_conf()")
        async let error = failure { try await connection.sql("INSERT INTO t VALUES (1)") }
        try await server.waitForBlocked(name)
        try await server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = '\(name)'")
        #expect(await error?.kind == .unavailable(isOutcomeKnown: false))
        #expect(connection.statistics.connects == 1)
        try await server.stop()
    }

    @Test func `a connection that is lost before everything was sent leaves nothing`() async throws {
        let server = try await PostgresServer.start()
        let connection = try PostgresConnection(configuration(server.connectionString()))
        try await connection.sql("CREATE TABLE t (body bytea)")
        let insert = PostgresStatement("insert", [.bytea], "INSERT INTO t VALUES ($1)")
        var small = PostgresParameters()
        small.append([UInt8]([1]))
        try await connection.run(insert, small)
        // More than the buffers of two sockets hold, to a server that does not read.
        var big = PostgresParameters()
        big.append([UInt8](repeating: 1, count: 32 << 20))
        server.pause()
        let late = await failure { try await connection.run(insert, big, within: .milliseconds(300)) }
        #expect(late?.kind == .unavailable(isOutcomeKnown: true))
        // The small one is in the buffers: it may be executed when the server continues.
        server.resume()
        #expect(try await connection.number("SELECT count(*) FROM t") == 1)
        server.pause()
        let sent = await failure { try await connection.run(insert, small, within: .milliseconds(300)) }
        #expect(sent?.kind == .unavailable(isOutcomeKnown: false))
        server.resume()
        try await server.stop()
    }

    @Test func `a silent server costs a call its deadline, and the next call succeeds by itself`() async throws {
        let server = try await PostgresServer.start()
        var configuration = configuration(server.connectionString())
        configuration.connectTimeout = .milliseconds(300)
        let connection = try PostgresConnection(configuration)
        try await connection.sql("SELECT 1")
        server.pause()
        async let first = failure { try await connection.sql("SELECT 1", within: .milliseconds(200)) }
        async let second = failure { try await connection.sql("SELECT 1", within: .milliseconds(400)) }
        #expect(await first?.kind == .unavailable(isOutcomeKnown: false))
        #expect(await second?.isTransient == true)
        async let third = connection.number("SELECT 3::int8")
        try await waitUntil("a connect without a response") { connection.statistics.unreachableReason != nil }
        server.resume()
        #expect(try await third == 3)
        try await server.stop()
    }

    @Test func `the next host is tried after a silent one, and a read-only one is passed over`() async throws {
        let silent = try await PostgresServer.start()
        let readOnly = try await PostgresServer.start(settings: ["default_transaction_read_only=on"])
        let primary = try await PostgresServer.start()
        silent.pause()
        var configuration = configuration(
            "postgres://godwit@127.0.0.1:\(silent.port),127.0.0.1:\(readOnly.port),127.0.0.1:\(primary.port)/postgres"
                + "?target_session_attrs=read-write")
        configuration.connectTimeout = .seconds(2)
        let connection = try PostgresConnection(configuration)
        #expect(try await connection.number("SELECT inet_server_port()::int8") == Int64(primary.port))
        #expect(connection.statistics.connectAttempts == 2)
        // The primary becomes a standby, or stops: the session looks for another one.
        try await primary.stop()
        try await readOnly.stop()
        silent.resume()
        #expect(try await connection.number("SELECT inet_server_port()::int8") == Int64(silent.port))
        try await silent.stop()
    }

    @Test func `a server that became read-only is left, and found again`() async throws {
        let server = try await PostgresServer.shared
        let database = try await server.makeDatabase()
        let connection = try PostgresConnection(configuration(server.connectionString(database: database)))
        try await connection.sql("CREATE TABLE t (id int8)")
        try await connection.sql("SET default_transaction_read_only = on")
        // The session is replaced, and the call succeeds in the new one.
        try await connection.sql("INSERT INTO t VALUES (1)")
        #expect(connection.statistics.connects == 2)
        try await server.query("ALTER DATABASE \(database) SET default_transaction_read_only = on")
        try await connection.sql("SET default_transaction_read_only = on")
        let error = await failure { try await connection.sql("INSERT INTO t VALUES (2)") }
        #expect(error?.kind == .unavailable(isOutcomeKnown: true))
        #expect(error?.sqlState == "25006")
        try await server.query("ALTER DATABASE \(database) RESET default_transaction_read_only")
        try await connection.sql("INSERT INTO t VALUES (3)")
        #expect(try await connection.number("SELECT sum(id)::int8 FROM t") == 4)
    }

    @Test func `a connection that is kept is opened again without a call`() async throws {
        let server = try await PostgresServer.shared
        let connection = try await connect {
            $0.keepsConnected = true
            $0.applicationName = "kept"
        }
        try await waitUntil("a session") { connection.statistics.isConnected }
        try await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kept'")
        try await waitUntil("another session") { connection.statistics.connects == 2 }
        let lazy = try await connect { $0.applicationName = "lazy" }
        try await lazy.sql("SELECT 1")
        try await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lazy'")
        try await waitUntil("the end of the session") { !lazy.statistics.isConnected }
        #expect(lazy.statistics.connectAttempts == 1)
        try await lazy.sql("SELECT 1")
        #expect(lazy.statistics.connects == 2)
        #expect(lazy.statistics.failedCalls == 0)
    }

    @Test func `a session that the server ends before the commit leaves nothing`() async throws {
        let server = try await PostgresServer.shared
        let connection = try await connect { $0.applicationName = "ended" }
        async let error = failure { try await connection.sql("SELECT pg_sleep(1000)") }
        try await server.waitForBlocked("ended")
        try await server.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ended'")
        #expect(await error?.kind == .unavailable(isOutcomeKnown: true))
        #expect(await error?.sqlState == "57P01")
        #expect(try await connection.number("SELECT 1::int8") == 1)
    }
}
#endif
