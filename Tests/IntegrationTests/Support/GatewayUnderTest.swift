import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Synchronization

/// A simulator in this process, and a gateway in its own process that can be killed and restarted on the same store.
final class GatewayUnderTest: Sendable {
    let folder: TemporaryFolder
    let simulator: Simulator
    private let current = Mutex<ChildProcess?>(nil)
    private let address: Mutex<String>
    private let configFile: String

    var storeFolder: String { "\(folder.path)/store" }

    /// - Parameters:
    ///   - extra: more lines of the configuration.
    ///   - isStarted: false leaves the first start to `restart` or `startUnder`.
    ///   - grace: how long the gateway serves after SIGTERM.
    ///   - sandbox: APNs of the app's sandbox; nil: the app has production only.
    init(
        _ mode: SimulatorConfiguration.Mode = .faithful, extra: String = "", isStarted: Bool = true,
        grace: String = "0s", sandbox: Simulator? = nil
    ) async throws {
        let folder = try TemporaryFolder()
        let credentials = SimulatorCredentials()
        let simulator = try await Simulator.start(
            SimulatorConfiguration(mode, authentication: .signingKeys([credentials.signingKey]))
        )
        let port = try freePort()
        try credentials.privateKeyPEM.write(toFile: "\(folder.path)/key.p8", atomically: true, encoding: .utf8)
        try simulator.certificateAuthorityPEM.write(toFile: "\(folder.path)/ca.pem", atomically: true, encoding: .utf8)
        let environments = try sandbox.map { sandbox in
            let file = try folder.write(sandbox.certificateAuthorityPEM, to: "sandbox-ca.pem")
            return "environments: {sandbox: {endpoint: {host: localhost, port: \(sandbox.port), ca_file: \(file)}}}"
        }
        let configuration = """
            listen: {port: \(port)}
            store: {path: store}
            apps:
              - bundle_id: com.example.app
                key: {file: key.p8, key_id: \(credentials.keyID), team_id: \(credentials.teamID)}
                endpoint: {host: localhost, port: \(simulator.port), ca_file: ca.pem}
                \(environments ?? "")
            shutdown: {grace: \(grace)}
            log: {level: notice}
            \(extra)
            """
        configFile = "\(folder.path)/godwit.yaml"
        try configuration.write(toFile: configFile, atomically: true, encoding: .utf8)
        self.folder = folder
        self.simulator = simulator
        address = Mutex("http://127.0.0.1:\(port)")
        if isStarted { try await restart() }
    }

    var url: String { address.withLock { $0 } }

    /// The process that was started last; there must be one.
    var process: ChildProcess { current.withLock { $0! } }

    private static let readyLine = "godwit: ready on"

    private func launch(under tracer: [String], _ arguments: [String]) throws -> ChildProcess {
        let words = tracer + [Repository.godwit, "serve", "--config", configFile] + arguments
        let process = try ChildProcess(words[0], Array(words.dropFirst()))
        current.withLock { $0 = process }
        return process
    }

    func kill() async throws { try await process.kill() }

    /// Starts the gateway and waits until it is ready.
    ///
    /// - Parameters:
    ///   - tracer: a program, with its arguments, that runs the gateway.
    ///   - arguments: for `godwit serve`, in addition to `--config`.
    func restart(under tracer: [String] = [], _ arguments: [String] = []) async throws {
        try await launch(under: tracer, arguments).waitForLine(containing: Self.readyLine)
    }

    /// Starts the gateway under a tracer that may end it before it is ready.
    ///
    /// - Returns: whether it became ready.
    func startUnder(_ tracer: [String]) async throws -> Bool {
        let process = try launch(under: tracer, [])
        do {
            try await process.waitForLine(containing: Self.readyLine)
            return true
        } catch {
            guard process.exit != nil else { throw error }
            return false
        }
    }

    /// Starts another gateway that takes over the store. Further calls go to the new gateway.
    ///
    /// - Returns: the process of the previous owner; nil if the takeover was refused.
    func takeover() async throws -> ChildProcess? {
        let previous = process
        let successor = try launch(under: [], ["--takeover", "--port", "0"])
        do {
            let line = try await successor.waitForLine(containing: Self.readyLine)
            address.withLock { $0 = String(line.split(separator: " ").last ?? "") }
            return previous
        } catch {
            guard successor.exit != nil else { throw error }
            current.withLock { $0 = previous }
            return nil
        }
    }

    /// The process ID of the gateway, even if a tracer runs it.
    var gatewayID: Int32? {
        let text = try? String(contentsOfFile: "\(storeFolder)/godwit.lock", encoding: .utf8)
        return text.flatMap { Int32($0.prefix { $0.isNumber }) }
    }

    /// Sends SIGTERM and waits for the exit.
    func stop() async throws -> ChildProcess.Exit {
        process.signal(SIGTERM)
        return try await process.waitForExit()
    }

    func close() async throws {
        current.withLock { $0 }?.signal(SIGKILL)
        try await simulator.shutdown()
    }

    // MARK: Requests

    /// Posts NDJSON and returns the IDs of the accepted pushes, as far as the response arrived.
    func post(ndjson file: String) async throws -> (accepted: [APNSID], isComplete: Bool) {
        let output = file + ".response"
        let result = try await run(
            "curl",
            [
                "-sS", "--no-buffer", "-H", "Content-Type: application/x-ndjson", "-H", "Expect:", "--data-binary",
                "@\(file)", "-o", output, "\(url)/push/batch",
            ], within: .seconds(300)
        )
        // Without a connection curl creates no file.
        defer { try? FileManager.default.removeItem(atPath: output) }
        let text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
        return (Self.accepted(in: text), result.exit == .status(0))
    }

    static func accepted(in response: String) -> [APNSID] {
        response.split(separator: "\n").compactMap { line in
            guard line.contains("\"status\":\"accepted\""), line.hasSuffix("}") else { return nil }
            return value(of: "msg_id", in: line).flatMap { APNSID($0) }
        }
    }

    /// The string value of a key in a line of flat JSON.
    static func value(of key: String, in line: some StringProtocol) -> String? {
        guard let start = line.range(of: "\"\(key)\":\"") else { return nil }
        return String(line[start.upperBound...].prefix { $0 != "\"" })
    }

    /// Counts pushes by state.
    func states(of ids: [APNSID]) async throws -> [String: Int] {
        var states: [String: Int] = [:]
        for start in stride(from: 0, to: ids.count, by: 1000) {
            let file = "\(folder.path)/ids"
            let lines = ids[start..<min(start + 1000, ids.count)].map { "\"\($0)\"\n" }.joined()
            try lines.write(toFile: file, atomically: true, encoding: .utf8)
            let response = try await curl([
                "-H", "Content-Type: application/x-ndjson", "--data-binary", "@\(file)", "\(url)/api/v1/messages/query",
            ])
            for line in response.body.split(separator: "\n") {
                states[Self.value(of: "state", in: line) ?? "unreadable", default: 0] += 1
            }
        }
        return states
    }

    /// Waits until all pushes are settled, and counts them by state.
    func settledStates(of ids: [APNSID], within limit: Duration = .seconds(120)) async throws -> [String: Int] {
        let waiting: Set<String> = ["queued", "scheduled", "sending", "retrying"]
        var states: [String: Int] = [:]
        try await waitUntil("all outcomes", within: limit, every: .milliseconds(200)) {
            states = try await self.states(of: ids)
            return waiting.isDisjoint(with: states.keys)
        }
        return states
    }

    /// Writes a file of `count` pushes with distinct tokens, which contain the number of the push.
    func pushFile(_ name: String, count: Int, from first: Int, fields: String = "") throws -> String {
        let path = "\(folder.path)/\(name)"
        var text = ""
        for number in first..<first + count {
            let digits = String(number, radix: 16)
            let token = String(repeating: "0", count: 64 - digits.count) + digits
            text += "{\"device_token\":\"\(token)\",\"payload\":{\"aps\":{\"alert\":\"push \(number)\"}}\(fields)}\n"
        }
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }
}
