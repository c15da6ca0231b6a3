import Foundation
import PushTesting
import Testing

/// A network that drops all packets to and from APNs, in a network namespace of its own.
@Suite struct `A gateway in a black hole` {
    private static let simulatorPort = 8443

    private struct Instance {
        let network: NetworkNamespace
        let folder: TemporaryFolder
        let simulator: ChildProcess
        let gateway: ChildProcess

        init() async throws {
            network = try await NetworkNamespace()
            folder = try TemporaryFolder()
            simulator = try network.start(
                Repository.godwit, ["simulate", "--directory", folder.file("simulator"), "--port", "\(simulatorPort)"])
            try await simulator.waitForLine(containing: "control on")
            let config = try folder.write(
                """
                listen: {port: 8025}
                store: {path: store}
                apps:
                  - name: shop
                    bundle_id: com.example.shop
                    key: {file: simulator/AuthKey.p8, key_id: DEMOKEY000, team_id: DEMOTEAM00}
                    endpoint: {host: localhost, port: \(simulatorPort), ca_file: simulator/ca.pem}
                shutdown: {grace: 0s}
                log: {level: notice}
                """, to: "godwit.yaml"
            )
            gateway = try network.start(Repository.godwit, ["serve", "--config", config])
            try await gateway.waitForLine(containing: "godwit: ready on")
        }

        func curl(_ arguments: [String]) async throws -> String {
            let result = try await network.run("curl", ["-sS", "--fail-with-body"] + arguments)
            #expect(result.exit == .status(0), "\(arguments.last ?? ""): \(result.error)")
            return result.output
        }

        func send(_ digit: String) async throws -> String {
            let token = String(repeating: digit, count: 64)
            let body = try await curl([
                "-H", "Content-Type: application/json", "-d",
                #"{"app":"shop","device_token":"\#(token)","payload":{"aps":{}}}"#, "http://127.0.0.1:8025/push",
            ])
            return try #require(GatewayUnderTest.value(of: "msg_id", in: body))
        }

        func state(of push: String) async throws -> String? {
            let body = try await curl(["http://127.0.0.1:8025/api/v1/messages/\(push)"])
            return GatewayUnderTest.value(of: "state", in: body)
        }

        func isUnreachable() async throws -> Bool {
            try await curl(["http://127.0.0.1:8025/metrics"]).contains("godwit_apns_unreachable{app=\"shop\"} 1")
        }

        func notice() async throws -> String { try await curl(["http://127.0.0.1:8025/readyz"]) }

        func stop() {
            gateway.signal(SIGKILL)
            simulator.signal(SIGKILL)
        }
    }

    @Test(.needsRoot, arguments: [true, false])
    func `says so until a connection works again, as root`(_ isConnected: Bool) async throws {
        let instance = try await Instance()
        defer { instance.stop() }
        if isConnected {
            let first = try await instance.send("a")
            try await waitUntil("the first delivery") { try await instance.state(of: first) == "delivered" }
        }
        try await instance.network.dropPackets(port: Self.simulatorPort)
        let push = try await instance.send("b")
        try await waitUntil("the outage", within: .seconds(60), every: .milliseconds(200)) {
            try await instance.isUnreachable()
        }
        // For longer than two attempts to connect.
        for _ in 0..<60 {
            #expect(try await instance.isUnreachable())
            try await Task.sleep(for: .milliseconds(400))
        }
        let notice = try await instance.notice()
        #expect(notice.hasPrefix("ready\nAPNs cannot be reached since ") && notice.contains("packets are dropped"))
        try await instance.network.dropNothing()
        try await waitUntil("the delivery", within: .seconds(90), every: .milliseconds(200)) {
            try await instance.state(of: push) == "delivered"
        }
        try await waitUntil("the end of the outage") { try await !instance.isUnreachable() }
        #expect(try await instance.notice() == "ready\n")
        let log = instance.gateway.text(.error)
        #expect(log.split(separator: "\n").count { $0.contains("APNs is unreachable") } <= 2, "\(log)")
        #expect(log.split(separator: "\n").count { $0.contains("APNs accepts pushes again") } == 1, "\(log)")
    }
}

/// A network namespace with a loopback interface, until it is deinitialised.
private final class NetworkNamespace {
    private let holder: ChildProcess

    init() async throws {
        holder = try ChildProcess(
            "unshare", ["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 3600"])
        try await holder.waitForLine(containing: "up", on: .output)
    }

    deinit { holder.signal(SIGKILL) }

    private func words(_ program: String, _ arguments: [String]) -> [String] {
        ["--net", "--target", "\(holder.processID)", program] + arguments
    }

    func start(_ program: String, _ arguments: [String]) throws -> ChildProcess {
        try ChildProcess("nsenter", words(program, arguments))
    }

    func run(_ program: String, _ arguments: [String]) async throws -> ProgramResult {
        try await PushTesting.run("nsenter", words(program, arguments))
    }

    /// Drops all packets to and from a TCP port.
    func dropPackets(port: Int) async throws {
        for rule in [
            "add table inet black_hole",
            "add chain inet black_hole input { type filter hook input priority 0; }",
            "add rule inet black_hole input tcp dport \(port) drop",
            "add rule inet black_hole input tcp sport \(port) drop",
        ] {
            let result = try await run("nft", [rule])
            try #require(result.exit == .status(0), "\(result.error)")
        }
    }

    func dropNothing() async throws {
        let result = try await run("nft", ["delete table inet black_hole"])
        try #require(result.exit == .status(0), "\(result.error)")
    }
}
