import APNSSimulator
import ArgumentParser
import Foundation
import PushGateway

/// Runs the APNs simulator.
struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run a local APNs simulator.",
        discussion: """
            Speaks TLS and HTTP/2, validates requests like APNs, and records the pushes it receives. Any APNs library \
            can connect: sign provider tokens with AuthKey.p8 and trust ca.pem. Both files are written to --directory.
            """
    )

    @Option(help: "Address to listen on.")
    var host = "127.0.0.1"

    @Option(help: "Port for pushes; 0 selects a free one.")
    var port = 8443

    @Option(help: "Port of the HTTP control API; 0 selects a free one.")
    var controlPort = 8444

    @Option(help: "Port of channel management. Default: --port + 2, or a free one if --port is 0.")
    var channelPort: Int?

    @Option(
        help: """
            Scenario to run: \(Scenario.builtInFiles.map(\.name).joined(separator: ", ")), or a file.
            """
    )
    var scenario: String?

    @Option(help: "Folder for ca.pem and AuthKey.p8; an existing key is used.", transform: UserPath.expanded)
    var directory = "godwit-simulator"

    @Option(help: "Key ID that provider tokens must have.")
    var keyID = "DEMOKEY000"

    @Option(help: "Team ID that provider tokens must have.")
    var teamID = "DEMOTEAM00"

    @Option(help: "Round-trip time between client and server, in milliseconds.")
    var latency = 0

    @Option(help: "Maximum random addition to each round-trip time, in milliseconds.")
    var jitter = 0

    @Option(help: "Concurrent streams per connection.")
    var streams: UInt32 = 1000

    @Option(help: "Also accept client certificates, and write one for this bundle ID: client.pem and client.key.")
    var clientCertificate: String?

    @Option(help: "Number of event loop threads.")
    var threads = 1

    @Flag(help: "For benchmarks: record only the IDs of pushes, and allow all streams from the start.")
    var fast = false

    @Flag(help: "Simulate the sandbox instead of production.")
    var sandbox = false

    @Flag(help: "Accept any well-formed provider token.")
    var unverified = false

    func validate() throws {
        try ListenPort.check(port, "--port")
        try ListenPort.check(controlPort, "--control-port")
        try ListenPort.check(channelPort, "--channel-port")
        guard channelPort != nil || port <= 65_533 else {
            throw ValidationError(
                "--port must be at most 65533, because channel management has --port + 2; or give --channel-port")
        }
        guard latency >= 0, jitter >= 0 else { throw ValidationError("--latency and --jitter must be at least 0") }
        guard threads >= 1 else { throw ValidationError("--threads must be at least 1") }
        guard streams >= 1 else { throw ValidationError("--streams must be at least 1") }
    }

    mutating func run() async throws {
        let folder = try SimulatorFolder(directory, advice: "choose another folder with --directory")
        let key = try folder.signingKey(teamID: teamID, keyID: keyID)
        var configuration = SimulatorConfiguration(
            fast ? .fast : .faithful, authentication: unverified ? .unverified : .signingKeys([key])
        )
        let authority = try folder.authority()
        configuration.certificate = .issued(by: authority)
        configuration.environment = sandbox ? .sandbox : .production
        if let clientCertificate {
            configuration.clientAuthority = authority
            try folder.writeClientCertificate(bundleID: clientCertificate, by: authority)
        }
        configuration.host = host
        configuration.port = port
        configuration.controlPort = controlPort
        configuration.channelPort = channelPort ?? (port == 0 ? 0 : port + 2)
        configuration.latency = .milliseconds(latency)
        configuration.jitter = .milliseconds(jitter)
        configuration.streamsMax = streams
        configuration.streamsBeforeAuthentication = min(streams, configuration.streamsBeforeAuthentication)
        configuration.numberOfThreads = threads
        let scenario = try scenario.map(Self.scenario)
        let simulator = try await withPlainErrors { try await Simulator.start(configuration, scenario: scenario) }
        Terminal.writeOutput(
            "simulator: APNs on https://\(host):\(simulator.port), control on http://\(host):\(simulator.controlPort ?? 0)"
        )
        Terminal.writeOutput(
            "simulator: key \(directory)/AuthKey.p8 (key ID \(keyID), team ID \(teamID)), CA \(directory)/ca.pem")
        Terminal.writeOutput("simulator: channel management on https://\(host):\(simulator.channelPort ?? 0)")
        if let name = simulator.scenario?.name { Terminal.writeOutput("simulator: running the scenario \(name)") }
        Terminal.writeOutput("simulator: the phones are at http://\(host):\(simulator.controlPort ?? 0)/")
        await Termination.wait()
        try await simulator.shutdown()
    }

    /// - Parameter name: a built-in scenario, or a file.
    private static func scenario(_ name: String) throws -> Scenario {
        if let ready = Scenario.builtIn(name) { return ready }
        guard let yaml = try? TextFile.read(UserPath.expanded(name)) else {
            let names = Scenario.builtInFiles.map(\.name).joined(separator: ", ")
            throw CommandError(
                "'\(name)' is neither a built-in scenario (\(names)) nor a readable file"
            )
        }
        do {
            return try Scenario(yaml: yaml)
        } catch {
            throw CommandError("\(name) is not a valid scenario:\n" + error.problems.joined(separator: "\n"))
        }
    }
}
