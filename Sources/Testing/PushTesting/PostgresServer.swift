import Foundation
import Synchronization

/// A PostgreSQL of the test's own, on loopback, run by an unprivileged user in a temporary folder. See
/// `scripts/postgres-server.sh`.
///
/// Its superuser is `godwit`, without a password. A test that only needs a database takes one of the `shared` server.
package final class PostgresServer: Sendable {
    package let port: Int
    private let settings: [String]
    /// Deleted by the script at the end of this process, if not before.
    private let cluster: String
    private let process = Mutex<ChildProcess?>(nil)

    private init(settings: [String]) throws {
        port = try freePort()
        self.settings = settings
        cluster = FileManager.default.temporaryDirectory.appending(path: "godwit-\(UUID().uuidString)").path
    }

    deinit {
        // The processes of a server that was not stopped end by themselves; what they still write is deleted by the
        // script.
        process.withLock { $0?.signal(SIGQUIT) }
        try? FileManager.default.removeItem(atPath: cluster)
    }

    /// Makes a cluster and starts its server.
    ///
    /// - Parameter settings: of the server, as `name=value`.
    package static func start(settings: [String] = []) async throws -> PostgresServer {
        let server = try PostgresServer(settings: settings)
        try await server.start()
        return server
    }

    /// A folder for files that the settings name, which the server's user can read.
    package static func readableFolder() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        guard chmod(folder.path, 0o755) == 0 else { throw SystemCallFailed("chmod") }
        return folder
    }

    private static let sharedServer = SharedServer()

    /// One server for all tests of this process, which must not stop or restart it. It ends with the process.
    package static var shared: PostgresServer {
        get async throws { try await sharedServer.server() }
    }

    /// Words for libpq, with the superuser.
    package func connectionString(database: String = "postgres") -> String {
        "host=127.0.0.1 port=\(port) user=godwit dbname=\(database)"
    }

    /// The process ID of the server; nil while it is stopped.
    package var processID: Int32? { process.withLock { $0?.exit == nil ? $0?.processID : nil } }

    // MARK: - Start and stop

    /// Starts a stopped server and returns when it takes connections.
    package func start() async throws {
        let script = "\(Repository.root)/scripts/postgres-server.sh"
        try await waitUntil("the start of PostgreSQL", within: .seconds(60)) {
            let child = try ChildProcess(script, ["--with-parent", cluster, "\(port)"] + settings)
            do {
                try await child.waitForLine(containing: "ready to accept connections", on: .error)
            } catch {
                // Processes of a server that was killed may hold its files for a moment.
                let text = child.text(.error)
                guard
                    text.contains("still in use") || text.contains("already in use") || text.contains("already exists")
                else { throw error }
                return false
            }
            process.withLock { $0 = child }
            return true
        }
    }

    /// Disconnects all clients and stops.
    package func stop() async throws {
        guard let child = process.withLock({ $0 }) else { return }
        resume()
        child.signal(SIGINT)
        _ = try await child.waitForExit()
        process.withLock { $0 = nil }
    }

    /// Kills all processes of the server, as a crash of its machine would end them.
    package func kill() async throws {
        guard let child = process.withLock({ $0 }) else { return }
        // Stopped first: otherwise the sessions see the end of the server and report it to their clients.
        let processes = pause()
        for id in processes { Foundation.kill(id, SIGKILL) }
        _ = try await child.waitForExit()
        process.withLock { $0 = nil }
    }

    /// Stops all processes of the server with SIGSTOP: it is there and silent.
    ///
    /// - Returns: their process IDs.
    @discardableResult
    package func pause() -> [Int32] { signalAll(SIGSTOP) }

    package func resume() { signalAll(SIGCONT) }

    @discardableResult
    private func signalAll(_ number: Int32) -> [Int32] {
        guard let id = processID else { return [] }
        // The server first, so that it starts no further session.
        Foundation.kill(id, number)
        let text = (try? String(contentsOfFile: "/proc/\(id)/task/\(id)/children", encoding: .utf8)) ?? ""
        let children = text.split(separator: " ").compactMap {
            Int32($0.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        for child in children { Foundation.kill(child, number) }
        return [id] + children
    }

    // MARK: - Use

    /// Makes an empty database.
    ///
    /// - Returns: its name.
    package func makeDatabase() async throws -> String {
        let name = "test_" + UUID().uuidString.lowercased().replacing("-", with: "")
        try await query("CREATE DATABASE \(name)")
        return name
    }

    /// Executes SQL with psql, a client that shares no code with Godwit beyond libpq.
    ///
    /// - Returns: the rows, without headers, columns separated by `|`.
    @discardableResult
    package func query(_ sql: String, database: String = "postgres") async throws -> String {
        let result = try await run(
            "psql",
            ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", connectionString(database: database), "-c", sql],
            environment: ["PGCONNECT_TIMEOUT": "10"])
        guard result.exit == .status(0) else { throw QueryFailed(description: "psql: \(result.error)") }
        return result.output.trimmingCharacters(in: .newlines)
    }
}

package struct QueryFailed: Error, CustomStringConvertible {
    package let description: String
}

/// Starts one server, for the first caller.
private actor SharedServer {
    private var result: Result<PostgresServer, any Error>?
    private var isStarting = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func server() async throws -> PostgresServer {
        if isStarting {
            await withCheckedContinuation { waiting.append($0) }
        } else if result == nil {
            isStarting = true
            do {
                result = .success(try await PostgresServer.start())
            } catch {
                result = .failure(error)
            }
            isStarting = false
            for continuation in waiting { continuation.resume() }
            waiting = []
        }
        guard let result else { throw QueryFailed(description: "the shared PostgreSQL was not started") }
        return try result.get()
    }
}
