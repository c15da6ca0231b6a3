import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `Client certificates` {
    private func with(
        bundleID: String = "com.example.app", topics: [String]? = nil,
        environments: Set<SimulatorConfiguration.Environment> = [.production, .sandbox], notAfter: Date? = nil,
        byUnknownAuthority: Bool = false,
        _ body: (RunningSimulator, _ options: [String]) async throws -> Void
    ) async throws {
        let authority = try SimulatorAuthority()
        let issuer = byUnknownAuthority ? try SimulatorAuthority() : authority
        let client = try issuer.issueClientCertificate(
            bundleID: bundleID, topics: topics, environments: environments, notAfter: notAfter)
        let settings = RunningSimulator.settings {
            $0.certificate = .issued(by: authority)
            $0.clientAuthority = authority
        }
        try await RunningSimulator.with(settings) { running in
            let files = ["client.pem", "client.key"].map { running.folder.appending(path: $0).path }
            try Data(client.certificatePEM.utf8).write(to: URL(filePath: files[0]))
            try Data(client.privateKeyPEM.utf8).write(to: URL(filePath: files[1]))
            try await body(running, ["--cert", files[0], "--key", files[1]])
        }
    }

    /// Valid headers without `authorization`.
    private func bare(_ running: RunningSimulator) throws -> [String: String] {
        var headers = try running.goodHeaders()
        headers["authorization"] = nil
        return headers
    }

    @Test func `with a valid certificate, provider tokens are neither needed nor checked`() async throws {
        try await with { running, options in
            #expect(try await running.push(headers: try bare(running), options: options).status == 200)
            var nonsense = try bare(running)
            nonsense["authorization"] = "bearer nonsense"
            #expect(try await running.push(headers: nonsense, options: options).status == 200)
            // Clients without a certificate still need a provider token.
            #expect(try await running.push(headers: try bare(running)).reason == "MissingProviderToken")
            #expect(try await running.push(headers: try running.goodHeaders()).status == 200)
        }
    }

    @Test func `a single topic is the default, several require apns-topic, and others are disallowed`() async throws {
        try await with { running, options in
            var headers = try bare(running)
            headers["apns-topic"] = nil
            #expect(try await running.push(headers: headers, options: options).status == 200)
            #expect(running.simulator.pushes().first?.topic == "com.example.app")
            headers["apns-topic"] = "com.example.other"
            #expect(try await running.push(headers: headers, options: options).reason == "TopicDisallowed")
        }
        try await with(topics: ["com.example.app", "com.example.app.voip"]) { running, options in
            var headers = try bare(running)
            headers["apns-topic"] = "com.example.app.voip"
            headers["apns-push-type"] = "voip"
            #expect(try await running.push(headers: headers, options: options).status == 200)
            headers["apns-topic"] = "com.example.app.complication"
            headers["apns-push-type"] = "complication"
            #expect(try await running.push(headers: headers, options: options).reason == "TopicDisallowed")
            headers["apns-topic"] = nil
            #expect(try await running.push(headers: headers, options: options).reason == "MissingTopic")
        }
    }

    @Test func `an invalid certificate ends the connection with GOAWAY and its reason`() async throws {
        func expect(_ reason: String, _ running: RunningSimulator, _ options: [String]) async throws {
            try await RawClient.with(running, options: ["-alpn", "h2", "-cert", options[1], "-key", options[3]]) {
                client async throws in
                client.push(1, changes: ["authorization": nil])
                try await client.wait("GOAWAY and the end") { !$0.frames(.goAway).isEmpty && $0.isEnded }
                #expect(client.frames(.goAway)[0].goAway == (0, 0, "{\"reason\":\"\(reason)\"}"))
                #expect(client.frames(.headers).isEmpty)
            }
            #expect(running.simulator.counters.requests == 0)
        }
        try await with(environments: [.sandbox]) { try await expect("BadCertificateEnvironment", $0, $1) }
        try await with(notAfter: Date().addingTimeInterval(-60)) { try await expect("BadCertificate", $0, $1) }
        try await with(byUnknownAuthority: true) { try await expect("BadCertificate", $0, $1) }
    }

    @Test func `a connection with a certificate starts with the full stream limit`() async throws {
        try await with { running, options in
            try await RawClient.with(running, options: ["-alpn", "h2", "-cert", options[1], "-key", options[3]]) {
                client async throws in
                client.push(1, changes: ["authorization": nil])
                #expect(try await client.awaitResponse(1) == "200")
                #expect(client.streamLimits == [1000])
            }
        }
    }
}
