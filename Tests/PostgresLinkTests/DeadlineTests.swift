#if Postgres
import Foundation
import PostgresLink
import PushTesting
import Testing

@Suite struct `Deadlines and limits of a PostgreSQL connection` {
    private static let sleep = PostgresCall(PostgresStatement(unprepared: "SELECT pg_sleep(1000)"))

    @Test func `a call ends at its deadline, and so do those that wait behind it`() async throws {
        let server = try await PostgresServer.shared
        let connection = try await connect { $0.applicationName = "deadline" }
        try await connection.sql("SELECT 1")
        async let running = failure { try await connection.transaction([Self.sleep], within: .seconds(8)) }
        try await server.waitForBlocked("deadline")
        async let later = connection.number("SELECT 1::int8")
        let waiting = await failure { try await connection.sql("SELECT 2", within: .milliseconds(50)) }
        #expect(waiting?.kind == .unavailable(isOutcomeKnown: true))
        #expect(connection.statistics.failedCalls == 1, "the running call has not ended yet")
        #expect(await running?.kind == .unavailable(isOutcomeKnown: false))
        #expect(try await later == 1)
        #expect(connection.statistics.connects == 2)
        // The server notices that the session was closed, though it has no timeout of its own.
        try await server.waitForBlocked("deadline", count: 0)
    }

    @Test func `a timeout of the server leaves the session and a known outcome`() async throws {
        let connection = try await connect { $0.sessionSettings["statement_timeout"] = "50" }
        let error = await failure { try await connection.transaction([Self.sleep]) }
        #expect(error?.kind == .unavailable(isOutcomeKnown: true))
        #expect(error?.sqlState == "57014")
        #expect(try await connection.number("SELECT 1::int8") == 1)
        #expect(connection.statistics.connects == 1)
    }

    @Test func `calls and bytes that wait are bounded`() async throws {
        let server = try await PostgresServer.shared
        let connection = try await connect {
            $0.applicationName = "bounded"
            $0.waitingCallsMax = 2
            $0.waitingBytesMax = 1000
        }
        let bytes = PostgresStatement("bytes", [.bytea], "SELECT length($1)")
        func call(_ count: Int) -> PostgresCall {
            var parameters = PostgresParameters()
            parameters.append([UInt8](repeating: 0, count: count))
            return PostgresCall(bytes, parameters)
        }
        // One that is larger than the limit is taken while no other waits.
        #expect(try await connection.transaction([call(5000)])[0].value(0, 0) == Int32(5000))
        async let running = failure { try await connection.transaction([Self.sleep]) }
        try await server.waitForBlocked("bounded")
        async let first = connection.transaction([call(600)])
        try await waitUntil("a waiting call") { connection.statistics.waitingCalls == 1 }
        let tooManyBytes = await failure { try await connection.transaction([call(600)]) }
        #expect(tooManyBytes?.kind == .overloaded)
        async let second = connection.transaction([call(300)])
        try await waitUntil("two waiting calls") { connection.statistics.waitingCalls == 2 }
        let tooMany = await failure { try await connection.sql("SELECT 1") }
        #expect(tooMany?.kind == .overloaded)
        try await server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'bounded'")
        #expect(await running?.sqlState == "57014")
        #expect(try await first[0].value(0, 0) == Int32(600))
        #expect(try await second[0].value(0, 0) == Int32(300))
    }

    @Test func `closing executes the calls that wait, then refuses`() async throws {
        let server = try await PostgresServer.shared
        let connection = try await connect { $0.applicationName = "closing" }
        async let running = failure { try await connection.transaction([Self.sleep]) }
        try await server.waitForBlocked("closing")
        async let waiting = connection.number("SELECT 1::int8")
        try await waitUntil("a waiting call") { connection.statistics.waitingCalls == 1 }
        async let closed: Void = connection.close(within: .seconds(60))
        try await server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'closing'")
        #expect(await running?.sqlState == "57014")
        #expect(try await waiting == 1)
        await closed
        #expect(await failure { try await connection.sql("SELECT 1") }?.kind == .closed)
        #expect(!connection.statistics.isConnected)
        await connection.close()
    }

    @Test func `closing does not wait longer than it may`() async throws {
        let server = try await PostgresServer.shared
        let connection = try await connect { $0.applicationName = "stopping" }
        async let running = failure { try await connection.transaction([Self.sleep]) }
        try await server.waitForBlocked("stopping")
        async let waiting = failure { try await connection.sql("SELECT 1") }
        try await waitUntil("a waiting call") { connection.statistics.waitingCalls == 1 }
        await connection.close(within: .milliseconds(50))
        #expect(await running?.kind == .unavailable(isOutcomeKnown: false))
        #expect(await waiting?.kind == .closed)
    }

    @Test func `an abandoned connection answers its calls and ends`() async throws {
        let server = try await PostgresServer.shared
        var connection: PostgresConnection? = try await connect { $0.applicationName = "abandoned" }
        let error: PostgresError? = try await withCheckedThrowingContinuation { continuation in
            connection?.perform([Self.sleep]) { result in
                if case .failure(let error) = result { continuation.resume(returning: error) }
            }
            connection = nil
        }
        #expect(error?.isTransient == true || error?.kind == .closed)
        try await server.waitForBlocked("abandoned", count: 0)
    }

    @Test func `two hundred connections leave no thread and no descriptor`() async throws {
        let server = try await PostgresServer.shared
        func threads() -> Int {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
            return names.filter {
                (try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8)) == "pg-leak\n"
            }.count
        }
        func descriptors() -> Int {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
            return names.filter {
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
                return target?.hasPrefix("socket:") == true || target?.contains("eventfd") == true
            }.count
        }
        let before = descriptors()
        var threadsMax = 0
        for _ in 0..<20 {
            let connections = try (0..<10).map { _ in
                var configuration = configuration(server.connectionString())
                configuration.threadName = "pg-leak"
                return try PostgresConnection(configuration)
            }
            for connection in connections { try await connection.sql("SELECT 1") }
            threadsMax = max(threadsMax, threads())
            for connection in connections { await connection.close() }
        }
        #expect(threadsMax > 0)
        try await waitUntil("the end of the threads") { threads() == 0 }
        // Tests that run at the same time have connections, too.
        try await waitUntil("the end of the sockets") { descriptors() < before + 50 }
    }
}
#endif
