import APNSSimulator
import Foundation

/// A running simulator with its own signing key, and requests to it by curl.
struct RunningSimulator {
    static let deviceToken = String(repeating: "a1b2c3d4", count: 8)

    let simulator: Simulator
    let credentials: SimulatorCredentials
    let folder: URL

    /// A configuration for `with`, which adds its own signing key.
    static func settings(
        _ mode: SimulatorConfiguration.Mode = .faithful, _ change: (inout SimulatorConfiguration) -> Void = { _ in }
    ) -> SimulatorConfiguration {
        var configuration = SimulatorConfiguration(mode, authentication: .unverified)
        change(&configuration)
        return configuration
    }

    static func with(
        _ settings: SimulatorConfiguration = settings(), _ body: (RunningSimulator) async throws -> Void
    ) async throws {
        let credentials = SimulatorCredentials()
        var configuration = settings
        configuration.authentication = .signingKeys([credentials.signingKey])
        configuration.shutdownGrace = .milliseconds(200)
        try await with(exactly: configuration, credentials, body)
    }

    /// - Parameter credentials: The signing key of the tokens in `goodHeaders`.
    static func with(
        exactly configuration: SimulatorConfiguration, _ credentials: SimulatorCredentials,
        _ body: (RunningSimulator) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "simulator-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let simulator = try await Simulator.start(configuration)
        let running = RunningSimulator(simulator: simulator, credentials: credentials, folder: folder)
        do {
            try Data(simulator.certificateAuthorityPEM.utf8).write(to: folder.appending(path: "ca.pem"))
            try await body(running)
        } catch {
            try await simulator.shutdown()
            throw error
        }
        try await simulator.shutdown()
    }

    /// Writes a payload to a file and returns its path.
    func payloadFile(_ text: String = payload) throws -> String {
        let file = folder.appending(path: "payload.json")
        try Data(text.utf8).write(to: file)
        return file.path
    }

    var authority: String { folder.appending(path: "ca.pem").path }

    func url(_ path: String = "/3/device/\(deviceToken)") -> String { "https://localhost:\(simulator.port)\(path)" }

    func control(_ path: String) -> String { "http://127.0.0.1:\(simulator.controlPort ?? 0)\(path)" }

    func token(age: Int64 = 0) throws -> String {
        try credentials.providerToken(issuedAt: Int64(Date().timeIntervalSince1970) - age)
    }

    /// The header fields of a valid push, including `authorization`.
    func goodHeaders() throws -> [String: String] {
        [
            "authorization": "bearer \(try token())", "apns-topic": "com.example.app", "apns-push-type": "alert",
            "apns-priority": "10", "apns-expiration": "0", "apns-id": "0a1b2c3d-0000-4000-8000-000000000001",
        ]
    }

    static let payload = #"{"aps":{"alert":"hello"}}"#

    /// Sends a push with curl.
    func push(
        _ path: String = "/3/device/\(deviceToken)", headers: [String: String], moreHeaders: [String] = [],
        body: String = payload, options: [String] = []
    ) async throws -> CurlResponse {
        var arguments = ["-sS", "-i", "--max-time", "20", "--http2", "--cacert", authority, "-X", "POST"]
        for (name, value) in headers { arguments += ["-H", value.isEmpty ? "\(name);" : "\(name): \(value)"] }
        for header in moreHeaders { arguments += ["-H", header] }
        arguments += ["--data-binary", "@-"] + options + [url(path)]
        return CurlResponse(try await Command.run("curl", arguments, input: body))
    }

    /// Sends a request to the control API with curl.
    func request(_ method: String, _ path: String, body: String? = nil) async throws -> CurlResponse {
        var arguments = ["-sS", "-i", "--max-time", "20", "-X", method]
        if body != nil { arguments += ["--data-binary", "@-"] }
        return CurlResponse(try await Command.run("curl", arguments + [control(path)], input: body ?? ""))
    }
}

/// The output of `curl -i`.
struct CurlResponse {
    /// The exit status of curl; 0 for any HTTP response.
    var exitStatus: Int32
    var status: Int
    var headers: [String: String] = [:]
    var body: String
    var errors: String
    /// The full output.
    var text: String

    init(_ result: Command.Result) {
        exitStatus = result.status
        errors = result.errors
        let text = result.output.replacing("\r\n", with: "\n")
        self.text = text
        let end = text.range(of: "\n\n") ?? text.endIndex..<text.endIndex
        let lines = text[..<end.lowerBound].split(separator: "\n")
        status = lines.first.flatMap { Int($0.split(separator: " ").dropFirst().first ?? "") } ?? 0
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces) }
        }
        body = String(text[end.upperBound...])
    }

    /// The `reason` in an error body; empty if there is none.
    var reason: String {
        guard let start = body.range(of: #""reason":""#) else { return "" }
        return String(body[start.upperBound...].prefix { $0 != "\"" })
    }
}
