import APNSWire
import Foundation
import PushTesting

/// A running `Hostile/hostile_server.py`: its first connection is as bad as a case says, the later ones are good.
struct HostileServer {
    /// What the server has seen, as it says at its end.
    struct Report: Decodable {
        struct Request: Decodable {
            var id: String
            /// 0 for the first connection.
            var connection: Int
            var stream: Int
            /// Whether it arrived up to its end.
            var isWhole: Bool
            /// What the server did about it: `accepted`, `rejected` and `refused` by its own words, else `unknown`.
            var fate: String
        }

        var connections: Int
        var requests: [Request]
        /// Frames of the client's, by kind and code.
        var frames: [String: Int]
        /// Mistakes of the server's own.
        var errors: [String]

        func requests(for id: APNSID) -> [Request] { requests.filter { $0.id == id.description } }
    }

    let port: Int
    private let process: ChildProcess

    private static let folder = "\(Repository.root)/Tests/APNSKitTests/Hostile"

    /// The Python that has the h2 library, made when it is not there.
    private static let python = Task {
        let made = try await run("\(Repository.root)/scripts/python-peers.sh", within: .seconds(300))
        guard made.exit == .status(0) else { throw PeerMissing(description: made.error) }
        return made.output.trimmingCharacters(in: .whitespacesAndNewlines)
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

    /// Ends it.
    func stop() async throws -> Report {
        process.signal(SIGTERM)
        _ = try await process.waitForExit()
        let last = process.text(.output).split(separator: "\n").last ?? ""
        return try JSONDecoder().decode(Report.self, from: Data(last.utf8))
    }
}
