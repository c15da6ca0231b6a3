import Foundation
import PushTesting

/// A `godwit demo` process: a gateway and its simulator.
final class RunningGateway: Sendable {
    let process: ChildProcess
    let url: String
    /// The simulator's control API.
    let control: String
    private let folder: TemporaryFolder

    private init(process: ChildProcess, url: String, control: String, folder: TemporaryFolder) {
        self.process = process
        self.url = url
        self.control = control
        self.folder = folder
    }

    /// Starts the demo on free ports with a new database, and waits until its sample pushes are settled.
    static func start() async throws -> RunningGateway {
        let folder = try TemporaryFolder()
        let controlPort = try freePort()
        let process = try ChildProcess(
            Repository.godwit,
            [
                "demo", "--port", "0", "--simulator-port", "0", "--control-port", "\(controlPort)", "--directory",
                folder.file("demo"),
            ],
            folder: folder.path
        )
        let line = try await process.waitForLine(containing: "gateway ")
        guard let url = line.firstMatch(of: /http:\/\/127\.0\.0\.1:\d+/) else {
            throw GatewayDidNotStart(description: "no URL in: \(line)")
        }
        try await process.waitForLine(containing: "Ctrl-C")
        return RunningGateway(
            process: process, url: String(url.0), control: "http://127.0.0.1:\(controlPort)", folder: folder)
    }

    /// Sends SIGTERM and waits for the exit.
    func stop() async throws -> ChildProcess.Exit {
        process.signal(SIGTERM)
        return try await process.waitForExit()
    }

    /// Runs `godwit` with the URL of this gateway.
    func godwit(_ arguments: [String], input: String? = nil) async throws -> ProgramResult {
        try await run(Repository.godwit, arguments, environment: ["GODWIT_URL": url], input: input)
    }
}

struct GatewayDidNotStart: Error, CustomStringConvertible {
    let description: String
}

/// Parses one JSON object per line.
func objects(_ text: String) throws -> [[String: Any]] {
    try text.split(separator: "\n").map { line in
        guard let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
            throw GatewayDidNotStart(description: "not a JSON object: \(line)")
        }
        return object
    }
}
