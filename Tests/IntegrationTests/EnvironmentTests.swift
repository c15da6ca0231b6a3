import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `An app with both environments` {
    @Test func `sends each push to APNs of its environment, also after a crash`() async throws {
        let sandbox = try await Simulator.start(SimulatorConfiguration(.faithful, authentication: .unverified))
        let gateway = try await GatewayUnderTest(sandbox: sandbox)
        defer { gateway.process.signal(SIGKILL) }
        let files = [
            try gateway.pushFile("default", count: 20, from: 0),
            try gateway.pushFile("production", count: 20, from: 100, fields: #","environment":"production""#),
            try gateway.pushFile("sandbox", count: 30, from: 200, fields: #","environment":"sandbox""#),
        ]
        let app = "\(gateway.url)/api/v1/apps/com.example.app"
        // The first pushes are handed to dispatch directly; the others wait in the store.
        var ids: [[APNSID]] = []
        for isPaused in [false, true] {
            if isPaused { _ = try await curl(["-X", "POST", "\(app)/pause"]) }
            for file in files { ids.append(try await gateway.post(ndjson: file).accepted) }
            if !isPaused {
                #expect(try await gateway.settledStates(of: ids.flatMap { $0 }) == ["delivered": 70])
            }
        }
        try await gateway.kill()
        try await gateway.restart()
        _ = try await curl(["-X", "POST", "\(app)/resume"])
        #expect(try await gateway.settledStates(of: ids.flatMap { $0 }) == ["delivered": 140])
        #expect(Set(gateway.simulator.takenIDs()) == Set(ids[0] + ids[1] + ids[3] + ids[4]))
        #expect(Set(sandbox.takenIDs()) == Set(ids[2] + ids[5]))

        let apps = try await run(Repository.godwit, ["apps", "--url", gateway.url])
        let rows = apps.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(
            rows.contains { $0.prefix(3) == ["com.example.app", "com.example.app", "production"] }, "\(apps.output)")
        #expect(rows.contains { $0.first == "sandbox" }, "\(apps.output)")
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
        try await sandbox.shutdown()
    }

    @Test func `godwit send names the environment, and one that the app does not have is refused`() async throws {
        let gateway = try await GatewayUnderTest()
        defer { gateway.process.signal(SIGKILL) }
        let send = ["send", "--url", gateway.url, "--token", String(repeating: "ab", count: 32), "--alert", "x"]
        let production = try await run(Repository.godwit, send + ["--environment", "production"])
        #expect(production.exit == .status(0), "\(production.error)")
        let refused = try await run(Repository.godwit, send + ["--environment", "sandbox"])
        #expect(refused.exit == .status(1))
        #expect(refused.output.contains("add it to environments in the app's configuration"), "\(refused.output)")
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }
}
