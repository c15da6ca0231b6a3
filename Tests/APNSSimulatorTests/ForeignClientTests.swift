import APNSSimulator
import APNSWire
import Foundation
import Testing

/// Third-party clients with provider tokens, from packages that `scripts/foreign-clients.sh` installs.
@Suite(.enabled(if: ForeignClients.hasPython, "python3 is not installed")) struct `Third-party clients` {
    @Test func `aioapns sends pushes and reports a refusal`() async throws {
        let python = try await ForeignClients.python()
        try await RunningSimulator.with { running in
            let key = running.folder.appending(path: "AuthKey.p8")
            try Data(running.credentials.privateKeyPEM.utf8).write(to: key)
            running.simulator.setTokenState(.unregistered(at: 1), of: try #require(DeviceToken(hex: "00ff")))
            let result = try await Command.run(
                python,
                [
                    ForeignClients.script("send_aioapns.py"), "\(running.simulator.port)", running.authority, key.path,
                    running.credentials.keyID, running.credentials.teamID, "com.example.app",
                    RunningSimulator.deviceToken, "00ff", "abcd",
                ]
            )
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.output == "200 - True\n410 Unregistered True\n200 - True\n", "\(result.errors)")
            #expect(running.simulator.counters.taken == 2)
            #expect(running.simulator.counters.connectionsAccepted == 1)
            let push = try #require(running.simulator.pushes().first)
            #expect(String(decoding: push.payload, as: UTF8.self).contains("from aioapns"))
        }
    }

    @Test func `httpx sends 500 pushes over one connection`() async throws {
        let python = try await ForeignClients.python()
        try await RunningSimulator.with { running in
            let result = try await Command.run(
                python,
                [
                    ForeignClients.script("send_httpx.py"), "\(running.simulator.port)", running.authority,
                    try running.token(), "com.example.app", "500",
                ]
            )
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.output == "500 HTTP/2 200 True\n", "\(result.output) \(result.errors)")
            #expect(running.simulator.counters.taken == 500)
            #expect(running.simulator.counters.connectionsAccepted == 1)
            #expect(Set(running.simulator.takenIDs()).count == 500)
        }
    }

    @Test func `curl sends a push in the scenario slow-far-away`() async throws {
        try await RunningSimulator.with { running in
            try running.simulator.apply(try #require(Scenario.builtIn("slow-far-away")))
            let response = try await running.push(headers: try running.goodHeaders())
            #expect(response.status == 200, "\(response.errors)")
            #expect(running.simulator.counters.taken == 1)
        }
    }
}

/// Locates the scripts and the Python environment of the third-party clients.
enum ForeignClients {
    static var hasPython: Bool {
        let folders = ProcessInfo.processInfo.environment["PATH"]?.split(separator: ":") ?? []
        return folders.contains { FileManager.default.isExecutableFile(atPath: "\($0)/python3") }
    }

    static var root: URL {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    }

    static func script(_ name: String) -> String {
        root.appending(path: "Tests/APNSSimulatorTests/Foreign/\(name)").path
    }

    /// The path of the Python with the packages, which are installed on first use.
    static func python() async throws -> String {
        let result = try await Command.run("sh", [root.appending(path: "scripts/foreign-clients.sh").path])
        try #require(result.status == 0, "scripts/foreign-clients.sh: \(result.errors)")
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
