import APNSSimulator
import ArgumentParser
import Foundation

struct Simulate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run an APNs to test against, on this machine.",
        discussion: """
            Speaks TLS and HTTP/2 as APNs does, checks what APNs checks, and remembers what it received. Point any APNs \
            library at it: it trusts the key AuthKey.p8 and proves itself by ca.pem, both written to --directory.
            """
    )

    @Option(help: "The address to listen on.")
    var host = "127.0.0.1"

    @Option(help: "The port for pushes; 0 takes a free one.")
    var port = 8443

    @Option(help: "The port of the HTTP control API; 0 takes a free one.")
    var controlPort = 8444

    @Option(help: "The port of channel management; without it two above --port, or a free one where that is 0.")
    var channelPort: Int?

    @Option(
        help: """
            What to play: \(Scenario.readyFiles.map(\.name).joined(separator: ", ")), or a file (docs/simulator/README.md).
            """
    )
    var scenario: String?

    @Option(help: "Where ca.pem and AuthKey.p8 are written; a key that is there already is used.")
    var directory = "godwit-simulator"

    @Option(help: "The key id that provider tokens must name.")
    var keyID = "DEMOKEY000"

    @Option(help: "The team id that provider tokens must name.")
    var teamID = "DEMOTEAM00"

    @Option(help: "The round trip between client and server, in milliseconds.")
    var latency = 0

    @Option(help: "Up to this many milliseconds are added to each round trip.")
    var jitter = 0

    @Option(help: "Concurrent streams of a connection.")
    var streams: UInt32 = 1000

    @Option(help: "Accept client certificates too, and write one for this bundle ID: client.pem and client.key.")
    var clientCertificate: String?

    @Option(help: "Event loop threads.")
    var threads = 1

    @Flag(help: "For benchmarks: keep only the ids of pushes, no stream ramp.")
    var fast = false

    @Flag(help: "Be the sandbox, not production.")
    var sandbox = false

    @Flag(help: "Accept any provider token of the right form.")
    var unverified = false

    mutating func run() async throws {
        let folder = try SimulatorFolder(directory)
        let key = try folder.signingKey(teamID: teamID, keyID: keyID)
        var configuration = SimulatorConfiguration(
            fast ? .fast : .faithful, authentication: unverified ? .unverified : .signingKeys([key])
        )
        let authority = try folder.authority()
        configuration.certificate = .issued(by: authority)
        configuration.environment = sandbox ? .sandbox : .production
        if let clientCertificate {
            configuration.clientAuthority = authority
            try folder.writeClientCertificate(of: clientCertificate, by: authority)
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
        let played = try scenario.map(Self.scenario)
        let simulator = try await started { try await Simulator.start(configuration, scenario: played) }
        Terminal.say(
            "simulator: APNs on https://\(host):\(simulator.port), control on http://\(host):\(simulator.controlPort ?? 0)"
        )
        Terminal.say(
            "simulator: key \(directory)/AuthKey.p8 (key id \(keyID), team id \(teamID)), CA \(directory)/ca.pem")
        Terminal.say("simulator: channel management on https://\(host):\(simulator.channelPort ?? 0)")
        if let name = simulator.scenario?.name { Terminal.say("simulator: playing \(name)") }
        Terminal.say("simulator: the phones are at http://\(host):\(simulator.controlPort ?? 0)/")
        await Termination.wait()
        try await simulator.shutdown()
    }

    /// - Parameter name: of a ready scenario, or of a file.
    private static func scenario(_ name: String) throws -> Scenario {
        if let ready = Scenario.ready(name) { return ready }
        guard let yaml = try? String(contentsOfFile: name, encoding: .utf8) else {
            let names = Scenario.readyFiles.map(\.name).joined(separator: ", ")
            throw CommandError(
                "There is no ready scenario \(name), and no file of that name can be read; ready are \(names)."
            )
        }
        do {
            return try Scenario(yaml: yaml)
        } catch {
            throw CommandError("The scenario \(name) is wrong:\n" + error.problems.joined(separator: "\n"))
        }
    }
}
