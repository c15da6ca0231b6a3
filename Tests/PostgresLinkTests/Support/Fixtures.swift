#if Postgres
import Logging
import PostgresLink
import PushTesting
import Synchronization

/// Log lines of a connection.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " ")
            lines.lines.withLock { $0.append("\(event.message) \(metadata)") }
        }
    }
}

/// A configuration for tests: no call waits long for the next attempt to connect.
func configuration(_ string: String, log: LogLines = LogLines()) -> PostgresConfiguration {
    var configuration = PostgresConfiguration(string, logger: log.logger)
    configuration.callTimeout = .seconds(30)
    configuration.connectTimeout = .seconds(10)
    configuration.sessionSettings["statement_timeout"] = "0"
    configuration.sessionSettings["lock_timeout"] = "0"
    configuration.reconnectDelayMax = .milliseconds(200)
    return configuration
}

/// A connection to a new database of the shared server.
func connect(_ change: (inout PostgresConfiguration) -> Void = { _ in }) async throws -> PostgresConnection {
    let server = try await PostgresServer.shared
    var configuration = configuration(server.connectionString(database: try await server.makeDatabase()))
    change(&configuration)
    return try PostgresConnection(configuration)
}

extension PostgresConnection {
    @discardableResult
    func sql(_ text: String, within timeout: Duration? = nil) async throws(PostgresError) -> PostgresRows {
        try await run(PostgresStatement(unprepared: text), within: timeout)
    }

    func number(_ text: String) async throws -> Int64 { try await sql(text).value(0, 0) }
}

extension PostgresServer {
    /// Waits until a session with this name executes something and waits for a lock, a standby or a sleep.
    func waitForBlocked(_ name: String, count: Int = 1) async throws {
        try await waitUntil("\(count) blocked sessions \(name)") {
            try await query(
                """
                SELECT count(*) FROM pg_stat_activity WHERE application_name = '\(name)' AND state = 'active'
                AND wait_event IS NOT NULL AND wait_event_type <> 'Client'
                """) == "\(count)"
        }
    }
}

/// The failure of `body`.
func failure(_ body: () async throws -> Void) async -> PostgresError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? PostgresError
    }
}
#endif
