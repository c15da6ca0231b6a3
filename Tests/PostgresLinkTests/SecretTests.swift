#if Postgres
import PostgresLink
import PushTesting
import Testing

@Suite struct `Secrets and failures to connect to PostgreSQL` {
    private static let password = "hunter2-is-secret"

    /// The sentence of a connect that fails, after a check that it has no secret.
    private func refusal(_ string: String) async throws -> String {
        let log = LogLines()
        var configuration = configuration(string, log: log)
        configuration.keepsConnected = true
        let connection = try PostgresConnection(configuration)
        try await waitUntil("a failure") { connection.statistics.unreachableReason != nil }
        let error = await failure { try await connection.sql("SELECT 1", within: .milliseconds(10)) }
        #expect(error?.kind == .unavailable(isOutcomeKnown: true))
        let texts =
            log.all + [
                "\(error as Any)", error?.description ?? "", connection.description, "\(connection)",
                connection.statistics.unreachableReason ?? "",
            ]
        for text in texts {
            #expect(!text.contains(Self.password), "\(text)")
            #expect(!text.contains("\n"))
        }
        #expect(log.all.contains { $0.contains("PostgreSQL is unreachable") })
        return error?.message ?? ""
    }

    @Test func `a wrong password, an unknown database and an unknown host give one clear sentence`() async throws {
        let folder = try PostgresServer.readableFolder()
        let rules = "host all alice 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
        let server = try await PostgresServer.start(settings: ["hba_file=\(try folder.write(rules, to: "hba.conf"))"])
        try await server.query("CREATE ROLE alice LOGIN PASSWORD 'the right one'")
        let place = "127.0.0.1:\(server.port)"
        #expect(
            try await refusal("postgres://alice:\(Self.password)@\(place)/postgres")
                == "connection to server at \"127.0.0.1\", port \(server.port) failed: FATAL: password authentication failed for user \"alice\""
        )
        #expect(
            try await refusal("host=127.0.0.1 port=\(server.port) user=alice password=\(Self.password) dbname=postgres")
                .contains("password authentication failed"))
        #expect(
            try await refusal("postgres://godwit:\(Self.password)@\(place)/nowhere").hasSuffix(
                "FATAL: database \"nowhere\" does not exist"))
        #expect(
            try await refusal("postgres://godwit:\(Self.password)@no-such-host.invalid/postgres").hasPrefix(
                "could not translate host name \"no-such-host.invalid\" to address"))
        #expect(
            try await refusal("postgres://godwit:\(Self.password)@\(place)/postgres?sslmode=require").hasSuffix(
                "server does not support SSL, but SSL was required"))
        // SCRAM with the right password.
        let connection = try PostgresConnection(
            configuration("postgres://alice:the%20right%20one@\(place)/postgres"))
        #expect(try await connection.sql("SELECT current_user::text").value(0, 0) == "alice")
        try await server.stop()
    }

    @Test func `a connection string that cannot be read is refused without a quote of it`() throws {
        for string in [
            "postgres://alice:\(Self.password)/x@127.0.0.1/postgres",
            "postgres://alice:\(Self.password)@x@127.0.0.1/postgres",
            "postgres://alice:\(Self.password)%zz@127.0.0.1/postgres",
            "postgres://alice:1/\(Self.password)@127.0.0.1/db",
            "host=127.0.0.1 passwrd=\(Self.password)", "password=\(Self.password) host", "password='\(Self.password)",
            "postgres://127.0.0.1/db?\(Self.password)", "postgres://127.0.0.1/db?a=\(Self.password)",

        ] {
            let error = #expect(throws: PostgresError.self, "\(string)") {
                try PostgresConnection(configuration(string))
            }
            #expect(error?.kind == .invalid)
            #expect(error?.description.contains(Self.password) == false, "\(error as Any)")
            #expect(error?.description.contains("the connection string is not valid") == true)
        }
    }

    @Test func `a setting that the server refuses is named`() async throws {
        let connection = try await connect {
            $0.sessionSettings["no_such_setting"] = "1"
            $0.keepsConnected = true
        }
        try await waitUntil("a failure") { connection.statistics.unreachableReason != nil }
        #expect(
            connection.statistics.unreachableReason
                == "the session's settings failed: unrecognized configuration parameter \"no_such_setting\"")
    }

    @Test func `values that the server quotes do not get into an error`() async throws {
        let connection = try await connect()
        let error = await failure { try await connection.sql("SELECT '\(Self.password)'::int8") }
        #expect(error?.kind == .invalid)
        #expect(error?.description.contains(Self.password) == false)
        try await connection.sql("CREATE TABLE t (id text PRIMARY KEY)")
        let duplicate = await failure {
            try await connection.sql("INSERT INTO t VALUES ('\(Self.password)'), ('\(Self.password)')")
        }
        #expect(duplicate?.isDuplicate == true)
        #expect(duplicate?.description.contains(Self.password) == false)
    }

    @Test func `TLS carries large values, and a certificate of another authority is refused`() async throws {
        let folder = try PostgresServer.readableFolder()
        for name in ["server", "other"] {
            let result = try await run(
                "openssl",
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                    folder.file("\(name).key"), "-out", folder.file("\(name).crt"),
                ])
            try #require(result.exit == .status(0), "\(result.error)")
        }
        let server = try await PostgresServer.start(settings: [
            "ssl=on", "ssl_cert_file=\(folder.file("server.crt"))", "ssl_key_file=\(folder.file("server.key"))",
        ])
        let string = server.connectionString()
        let root = folder.file("server.crt")
        let connection = try PostgresConnection(configuration("\(string) sslmode=verify-full sslrootcert=\(root)"))
        #expect(
            try await connection.sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").value(0, 0) == true)
        let big = [UInt8](repeating: 7, count: 5_000_000)
        var parameters = PostgresParameters()
        parameters.append(big)
        let echo = PostgresStatement("echo", [.bytea], "SELECT $1, g FROM generate_series(1, 3) AS g")
        for _ in 0..<5 {
            let rows = try await connection.run(echo, parameters)
            #expect((0..<3).allSatisfy { row in rows.withBytes(row, 0) { $0.count == 5_000_000 && $0.last == 7 } })
        }
        let other = folder.file("other.crt")
        #expect(
            try await refusal("\(string) password=\(Self.password) sslmode=verify-full sslrootcert=\(other)")
                .contains("certificate verify failed"))
        try await server.stop()
    }
}
#endif
