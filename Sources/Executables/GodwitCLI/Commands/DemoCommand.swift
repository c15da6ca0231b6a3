import APNSSimulator
import APNSWire
import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1
import PushGateway
import Synchronization

/// Runs a gateway and a simulator, and sends sample pushes.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Run the gateway and a local APNs simulator, and send sample pushes.",
        discussion: "Runs until Ctrl-C, so that you can send your own pushes."
    )

    @Option(help: "Port of the gateway; 0 selects a free one.")
    var port = 8025

    @Option(help: "Port of the simulator; 0 selects a free one.")
    var simulatorPort = 8443

    @Option(help: "Port of the simulator's control API; 0 selects a free one.")
    var controlPort = 8444

    @Option(help: "Folder for the database and the keys. Default: a new folder in .demo.", transform: UserPath.expanded)
    var directory: String?

    @Flag(help: "Stop after the sample pushes.")
    var once = false

    func validate() throws {
        try ListenPort.check(port, "--port")
        try ListenPort.check(simulatorPort, "--simulator-port")
        try ListenPort.check(controlPort, "--control-port")
    }

    func run() async throws {
        try requireFreePorts()
        let isNew = directory == nil
        let directory = directory ?? ".demo/\(Int(Date().timeIntervalSince1970))"
        let isRunning = Atomic(false)
        do {
            try await run(in: directory) { isRunning.store(true, ordering: .relaxed) }
        } catch {
            if isNew, !isRunning.load(ordering: .relaxed) {
                try? FileManager.default.removeItem(atPath: directory)
                // Fails if the folder has data of earlier runs.
                rmdir(".demo")
            }
            throw error
        }
    }

    /// - Throws: `CommandError`, which names the option to change.
    private func requireFreePorts() throws {
        let host = SimulatorConfiguration(.faithful, authentication: .unverified).host
        for (port, option, host) in [
            (port, "--port", GatewayConfiguration().listen.host), (simulatorPort, "--simulator-port", host),
            (controlPort, "--control-port", host),
        ] where ListenPort.isInUse(port, host: host) {
            throw CommandError("port \(port) is in use; choose another with \(option) (0: any free port)")
        }
    }

    /// - Parameter started: called when the gateway is ready.
    private func run(in directory: String, started: @escaping @Sendable () -> Void) async throws {
        let folder = try SimulatorFolder("\(directory)/simulator", advice: "choose another folder with --directory")
        let key = try folder.signingKey(teamID: "DEMOTEAM00", keyID: "DEMOKEY000")
        var settings = SimulatorConfiguration(.faithful, authentication: .signingKeys([key]))
        settings.certificate = .issued(by: try folder.authority())
        settings.port = simulatorPort
        settings.controlPort = controlPort
        let gatewayURL = Mutex<String?>(nil)
        settings.sendTestPush = { push in
            guard let url = gatewayURL.withLock({ $0 }) else { return .failed("the gateway is not ready yet") }
            return await DemoPushes(url: url).send(push)
        }
        let simulator = try await withPlainErrors { try await Simulator.start(settings) }
        DemoPushes.prepare(simulator)
        Terminal.writeOutput(
            "simulator: APNs on https://localhost:\(simulator.port), CA \(folder.authorityFile), key \(folder.keyFile)"
        )

        var configuration = GatewayConfiguration()
        configuration.listen.port = port
        configuration.storePath = "\(directory)/store"
        configuration.logLevel = "warning"
        configuration.shutdownGrace = .zero
        configuration.apps = [
            GatewayConfiguration.App(
                name: "com.example.app", bundleID: "com.example.app",
                environments: [
                    .init(
                        .sandbox,
                        credential: .key(.init(file: folder.keyFile, keyID: "DEMOKEY000", teamID: "DEMOTEAM00")),
                        endpoint: .init(host: "localhost", port: simulator.port, caFile: folder.authorityFile)
                    )
                ]
            )
        ]
        let (once, controlPort) = (once, simulator.controlPort ?? 0)
        do {
            try await GatewayRun(configuration).run { url in
                gatewayURL.withLock { $0 = url }
                started()
                Task {
                    do {
                        try await DemoPushes(url: url).run(
                            storedIn: directory, control: "http://127.0.0.1:\(controlPort)")
                    } catch {
                        Terminal.writeError("the sample pushes failed: \(error)")
                    }
                    if once { kill(getpid(), SIGTERM) } else { Terminal.writeOutput("\nRunning until Ctrl-C.") }
                }
            }
        } catch {
            try? await simulator.shutdown()
            throw error
        }
        try await simulator.shutdown()
    }
}

/// The sample pushes of the demo: two are delivered, one is rejected by APNs, one is refused by the gateway.
struct DemoPushes {
    let url: String

    private static let deadToken = "00000000000000000000000000000000000000000000000000000000deadbeef"
    private static let samples: [(name: String, push: String)] = [
        (
            "an alert",
            #"{"device_token":"a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90","#
                + #""payload":{"aps":{"alert":{"title":"Godwit","body":"Non-stop, 13,560 km."},"sound":"default"}}}"#
        ),
        (
            "a silent push",
            #"{"device_token":"b1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90","#
                + #""push_type":"background","payload":{"aps":{"content-available":1}}}"#
        ),
        (
            "an alert to a deleted app",
            #"{"device_token":"\#(deadToken)","payload":{"aps":{"alert":"Hello?"}}}"#
        ),
        ("an invalid push", #"{"device_token":"not a token","payload":{"aps":{"alert":"?"}}}"#),
    ]

    /// Makes the simulator reject the third sample: its app was deleted yesterday.
    static func prepare(_ simulator: Simulator) {
        let yesterday = Int64(Date().timeIntervalSince1970 - 86_400) * 1000
        guard let token = DeviceToken(hex: deadToken) else { return }
        simulator.setTokenState(.unregistered(at: yesterday), of: token)
    }

    func run(storedIn directory: String, control: String) async throws {
        Terminal.writeOutput("Godwit is running.\n")
        for sample in Self.samples {
            let response = try await post(sample.push)
            guard let id = response["msg_id"] as? String else {
                let detail = response["detail"] ?? response["title"] ?? "no reason"
                Terminal.writeOutput("  \(Self.padded(sample.name)) refused by the gateway: \(detail)")
                continue
            }
            let status = try await settled(id)
            var line = "  \(Self.padded(sample.name)) \(status["state"] ?? "?")"
            if let reason = status["reason"] as? String, !reason.isEmpty { line += " (\(reason))" }
            Terminal.writeOutput("\(line)  \(id)")
        }
        Terminal.writeOutput(
            """

              gateway    \(url)          health /healthz, metrics /metrics, error codes /api/v1/codes
              simulator  \(control)          received pushes /pushes, counters /counters
              phones     \(control)/         open it in a browser to watch the pushes arrive
              database   \(directory)/store

            Send a push yourself:

              curl -s \(url)/push -H 'Content-Type: application/json' -d \\
                '{"device_token":"\(String(repeating: "ab", count: 32))","payload":{"aps":{"alert":"Hello"}}}'

            and query its state:

              curl -s \(url)/api/v1/messages/MSG_ID
            """
        )
    }

    private static func padded(_ text: String) -> String {
        text.padding(toLength: 28, withPad: " ", startingAt: 0)
    }

    private func post(_ push: String) async throws -> [String: Any] {
        var request = HTTPClientRequest(url: url + "/push")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(string: push))
        return try await object(request)
    }

    /// Sends a test push of the phone page.
    func send(_ push: TestPush) async -> TestPush.Result {
        let body = #"{"device_token":"\#(push.token.hex)","payload":\#(String(decoding: push.payload, as: UTF8.self))}"#
        do {
            let response = try await post(body)
            if let id = response["msg_id"] as? String { return .accepted(id: id) }
            return .failed("the gateway refused it: \(response["detail"] ?? response["title"] ?? "no reason")")
        } catch {
            return .failed("the gateway cannot be reached: \(PlainReason.of(error))")
        }
    }

    /// Polls until the push is settled; the simulator answers within milliseconds.
    private func settled(_ id: String) async throws -> [String: Any] {
        let waiting: Set<String> = ["queued", "sending", "retrying", "scheduled"]
        var status: [String: Any] = [:]
        for _ in 0..<200 {
            status = try await object(HTTPClientRequest(url: "\(url)/api/v1/messages/\(id)"))
            if let state = status["state"] as? String, !waiting.contains(state) { break }
            try await Task.sleep(for: .milliseconds(25))
        }
        return status
    }

    private func object(_ request: HTTPClientRequest) async throws -> [String: Any] {
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(10))
        let body = try await response.body.collect(upTo: 1 << 16)
        return try JSONSerialization.jsonObject(with: Data(buffer: body)) as? [String: Any] ?? [:]
    }
}
