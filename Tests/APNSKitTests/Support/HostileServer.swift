import APNSWire
import Foundation
import PushTesting

/// A running `Hostile/hostile_server.py`: its first connection behaves as the case requires, later ones behave well.
struct HostileServer {
    /// The report that the server prints when it stops.
    struct Report: Decodable {
        struct Request: Decodable {
            var id: String
            /// 0 for the first connection.
            var connection: Int
            var stream: Int
            /// Whether the complete request arrived.
            var isComplete: Bool
            /// The server's response: `accepted`, `rejected` or `refused`; `unknown` without one.
            var result: String
        }

        var connections: Int
        var requests: [Request]
        /// Frames received from the client, by kind and code.
        var frames: [String: Int]
        /// Bugs of the server.
        var errors: [String]

        func requests(for id: APNSID) -> [Request] { requests.filter { $0.id == id.description } }
    }

    let port: Int
    private let process: ChildProcess

    private static let folder = "\(Repository.root)/Tests/APNSKitTests/Hostile"

    /// The Python with the h2 library, installed on first use.
    private static let python = Task {
        let setup = try await run("\(Repository.root)/scripts/python-peers.sh", within: .seconds(300))
        guard setup.exit == .status(0) else { throw PeerMissing(description: setup.error) }
        return setup.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private struct PeerMissing: Error, CustomStringConvertible {
        let description: String
    }

    /// The names of all cases, sorted.
    static func cases() async throws -> [String] {
        let listed = try await run(python.value, ["-B", "\(folder)/hostile_server.py", "--list"])
        return try JSONDecoder().decode([String].self, from: Data(listed.output.utf8))
    }

    init(_ name: String) async throws {
        struct Greeting: Decodable {
            var port: Int
        }

        process = try ChildProcess(
            try await Self.python.value,
            [
                "-B", "\(Self.folder)/hostile_server.py", name, TestCertificate.server.certificatePath,
                TestCertificate.server.keyPath,
            ]
        )
        let line = try await process.waitForLine(containing: "port")
        port = try JSONDecoder().decode(Greeting.self, from: Data(line.utf8)).port
    }

    /// Stops the server and returns its report.
    func stop() async throws -> Report {
        process.signal(SIGTERM)
        _ = try await process.waitForExit()
        let last = process.text(.output).split(separator: "\n").last ?? ""
        return try JSONDecoder().decode(Report.self, from: Data(last.utf8))
    }
}
