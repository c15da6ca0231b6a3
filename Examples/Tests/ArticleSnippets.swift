import APNSKit
import APNSSimulator
import APNSWire
import NIOPosix

/// The snippets of the articles that are not recipes. Compiled, so that they stay valid.
enum ArticleSnippets {
    static func simulator() async throws -> APNSResponse {
        // snippet: simulator
        let credentials = SimulatorCredentials()
        let simulator = try await Simulator.start(
            SimulatorConfiguration(authentication: .signingKeys([credentials.signingKey])))

        let key = try ProviderTokenKey(
            pem: credentials.privateKeyPEM, keyID: credentials.keyID, teamID: credentials.teamID)
        var configuration = APNSClientConfiguration(
            endpoint: .init(host: "localhost", port: simulator.port), credential: .token(ProviderTokenSource(key: key)))
        configuration.trustRoots = .pem(simulator.certificateAuthorityPEM)
        let client = try APNSClient(
            configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)

        let token = DeviceToken(bytes: [UInt8](repeating: 7, count: 32))!
        simulator.setTokenState(.unregistered(at: 1_700_000_000_000), of: token)
        let response = try await client.send(
            APNSNotification.alert("Tea is ready", to: token, bundleID: "com.example.app"))
        // response.reason is .unregistered, response.advice.isTokenInvalid is true.

        await client.shutdown()
        try await simulator.shutdown()
        // snippet end
        return response
    }

    static func scenario() async throws {
        // snippet: scenario
        let credentials = SimulatorCredentials()
        var configuration = SimulatorConfiguration(authentication: .signingKeys([credentials.signingKey]))
        configuration.latency = .milliseconds(50)
        let simulator = try await Simulator.start(configuration, scenario: .builtIn("flaky"))
        simulator.setFaults(FaultPlan([FaultRule(Fault(.stall))]))
        try simulator.changeSettings { $0.streamsMax = 10 }
        // snippet end
        try await simulator.shutdown()
    }

    static func texts(_ number: Int, _ token: DeviceToken) throws -> [APNSNotification] {
        // snippet: texts
        let brief = try APNSNotification.alert("Order \(number) is ready", to: token, bundleID: "com.example.app")
        let detailed = try APNSNotification.alert(
            Alert(title: "Order \(number)", subtitle: "Counter 3", body: .localized("ORDER_READY")),
            sound: "bell.caf", badge: 1, to: token, bundleID: "com.example.app")
        // snippet end
        return [brief, detailed]
    }

    static func certificate() throws -> APNSCredential {
        // snippet: certificate
        let certificate = try APNSCertificate(p12File: "push.p12", password: "…")
        print("valid for \(certificate.topics) until \(certificate.notAfter)")
        let credential = APNSCredential.certificate(certificate)
        // snippet end
        return credential
    }

    static func replace(in client: APNSClient, with newKey: ProviderTokenKey) throws {
        // snippet: replace
        try client.replaceCredential(.token(ProviderTokenSource(key: newKey)))
        // snippet end
    }

    static func monitor(_ client: APNSClient) async -> String {
        // snippet: monitor
        let all = client.snapshot()
        var lines = ["\(all.connections) connections, \(all.waiting) pushes wait, \(all.ambiguous) unknown"]
        for connection in await client.connections() {
            let streams = "\(connection.streamsOpen) of \(connection.streamsMax) streams"
            lines.append("\(connection.id) is \(connection.state): \(streams)")
        }
        // snippet end
        return lines.joined(separator: "\n")
    }

    static func proxy(_ credential: APNSCredential) -> APNSClientConfiguration {
        // snippet: proxy
        var configuration = APNSClientConfiguration(endpoint: .productionAlternatePort, credential: credential)
        configuration.proxy = .init(host: "proxy.example.com", port: 3128, user: "push", password: "…")
        configuration.connectionsMax = 16
        configuration.onEvent = { event in Metrics.count(event.kind) }
        // snippet end
        return configuration
    }

    private enum Metrics {
        static func count(_ kind: APNSConnectionEvent.Kind) {}
    }
}
