import APNSSimulator
import APNSWire
import Foundation
import HTTP2Session
import Testing

@Suite struct `Simulator lifecycle` {
    /// curl's `CURLE_OPERATION_TIMEDOUT`.
    static let timedOut: Int32 = 28

    @Test func `100,000 pushes by h2load get responses and are counted`() async throws {
        try await RunningSimulator.with(RunningSimulator.settings(.fast)) { running in
            let payload = running.folder.appending(path: "payload.json")
            try Data(RunningSimulator.payload.utf8).write(to: payload)
            var arguments = ["-n", "100000", "-c", "2", "-m", "500", "-d", payload.path]
            for (name, value) in try running.goodHeaders() { arguments += ["-H", "\(name): \(value)"] }
            let result = try await Command.run("h2load", arguments + [running.url()])
            #expect(result.output.contains("100000 succeeded, 0 failed"), "\(result.output)")
            #expect(result.output.contains("100000 2xx"))
            let counters = running.simulator.counters
            #expect(counters.requests == 100_000 && counters.taken == 100_000)
            #expect(counters.answersByStatus == [200: 100_000])
            #expect(running.simulator.takenIDs().count == 100_000)
            let ids = try await running.request("GET", "/ids").body
            #expect(ids.utf8.count == 100_000 * (APNSID.textLength + 1))
            #expect(running.simulator.pushes().isEmpty)
        }
    }

    @Test func `the ID log keeps the newest IDs`() async throws {
        let settings = RunningSimulator.settings(.fast) { $0.idLogMax = 2 }
        try await RunningSimulator.with(settings) { running in
            var headers = try running.goodHeaders()
            for number in 1...3 {
                headers["apns-id"] = "0a1b2c3d-0000-4000-8000-00000000000\(number)"
                _ = try await running.push(headers: headers)
            }
            #expect(running.simulator.takenIDs().map { $0.low & 15 } == [2, 3])
            #expect(try await running.request("GET", "/ids").body.split(separator: "\n").count == 2)
        }
    }

    @Test func `a port in use is reported`() async throws {
        try await RunningSimulator.with { running in
            var configuration = SimulatorConfiguration(authentication: .unverified)
            configuration.port = running.simulator.port
            let first = await #expect(throws: SimulatorError.self) { try await Simulator.start(configuration) }
            #expect(first?.description.contains("cannot listen on 127.0.0.1:\(running.simulator.port)") == true)
            configuration.port = 0
            configuration.controlPort = running.simulator.controlPort
            let second = await #expect(throws: SimulatorError.self) { try await Simulator.start(configuration) }
            #expect(second?.description.contains("cannot listen") == true)
        }
    }

    @Test func `all problems of a configuration are reported together`() async throws {
        var configuration = SimulatorConfiguration(authentication: .signingKeys([]))
        configuration.port = 70_000
        configuration.numberOfThreads = 0
        configuration.streamsBeforeAuthentication = 2000
        configuration.latency = .seconds(-1)
        let error = await #expect(throws: SimulatorError.self) { try await Simulator.start(configuration) }
        guard case .badConfiguration(let problems)? = error else { throw try #require(error) }
        #expect(problems.count == 5, "\(problems)")
    }

    @Test func `a certificate from files is served, and an invalid one is reported`() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "certificate-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (chain, key) = (folder.appending(path: "c.pem").path, folder.appending(path: "k.pem").path)
        let made = try await Command.run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", chain,
            ]
        )
        #expect(made.status == 0, "\(made.errors)")
        let settings = RunningSimulator.settings {
            $0.certificate = .pemFiles(certificateChain: chain, privateKey: key)
        }
        try await RunningSimulator.with(settings) { running in
            let response = try await running.push(headers: try running.goodHeaders())
            #expect(response.status == 200, "\(response.errors)")
        }
        for (chain, key) in [(chain, folder.appending(path: "no.pem").path), (key, key), (chain, chain)] {
            var configuration = SimulatorConfiguration(authentication: .unverified)
            configuration.certificate = .pemFiles(certificateChain: chain, privateKey: key)
            let error = await #expect(throws: SimulatorError.self) { try await Simulator.start(configuration) }
            guard case .badCredential? = error else { throw try #require(error) }
        }
    }

    @Test func `the generated certificate is valid for 127.0.0.1`() async throws {
        try await RunningSimulator.with { running in
            let address = "https://127.0.0.1:\(running.simulator.port)/"
            let response = try await Command.run("curl", ["-sS", "--http2", "--cacert", running.authority, address])
            #expect(response.status == 0 && response.output.contains("MethodNotAllowed"))
        }
    }

    @Test func `a shutdown closes open connections and releases the ports`() async throws {
        let credentials = SimulatorCredentials()
        var configuration = SimulatorConfiguration(authentication: .signingKeys([credentials.signingKey]))
        configuration.shutdownGrace = .milliseconds(100)
        let simulator = try await Simulator.start(configuration)
        simulator.setFaults(FaultPlan([FaultRule(Fault(.stall))]))
        let token = try credentials.providerToken(issuedAt: Int64(Date().timeIntervalSince1970))
        let port = simulator.port
        async let client = Command.run(
            "curl",
            [
                "-sS", "-k", "--http2", "--max-time", "20", "-H", "authorization: bearer \(token)", "-H",
                "apns-topic: a",
                "-d", "{}", "https://localhost:\(port)/3/device/abcd",
            ]
        )
        while simulator.counters.unanswered == 0 { await Task.yield() }
        try await simulator.shutdown()
        let result = try await client
        #expect(result.status != 0 && result.status != Self.timedOut)
        configuration.port = port
        configuration.controlPort = simulator.controlPort
        try await Simulator.start(configuration).shutdown()
    }
}
