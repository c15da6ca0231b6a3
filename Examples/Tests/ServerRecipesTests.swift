import APNSKit
import APNSSimulator
import APNSWire
import Foundation
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// Runs the recipes for web servers against a simulator over TLS.
@Suite struct `Server recipes` {
    private static let token = String(repeating: "ab", count: 32)
    private static let bundleID = "com.example.app"

    private func simulator() async throws -> (Simulator, APNSClientConfiguration) {
        let credentials = SimulatorCredentials()
        var configuration = SimulatorConfiguration(authentication: .signingKeys([credentials.signingKey]))
        configuration.controlPort = nil
        configuration.shutdownGrace = .zero
        let simulator = try await Simulator.start(configuration)
        let key = try ProviderTokenKey(
            pem: credentials.privateKeyPEM, keyID: credentials.keyID, teamID: credentials.teamID)
        var client = APNSClientConfiguration(
            endpoint: .init(host: "localhost", port: simulator.port), credential: .token(ProviderTokenSource(key: key)))
        client.trustRoots = .pem(simulator.certificateAuthorityPEM)
        return (simulator, client)
    }

    private func post(_ path: String, port: Int) async throws -> Int? {
        var request = URLRequest(url: URL(string: "http://127.0.0.1:\(port)\(path)")!)
        request.httpMethod = "POST"
        return (try await URLSession.shared.data(for: request).1 as? HTTPURLResponse)?.statusCode
    }

    @Test func `a Hummingbird server sends pushes, and stops with its client`() async throws {
        let (simulator, configuration) = try await simulator()
        let client = try APNSClient(
            configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
        let ports = AsyncStream<Int>.makeStream()
        let server = orderServer(client, bundleID: Self.bundleID, address: .hostname("127.0.0.1", port: 0)) {
            ports.continuation.yield($0.localAddress?.port ?? 0)
        }
        let services = ServiceGroup(services: [server], logger: Logger(label: "test"))
        async let running: Void = services.run()
        let port = try #require(await ports.stream.first { _ in true })
        #expect(try await post("/orders/17/ready?token=\(Self.token)", port: port) == 200)
        #expect(try await post("/orders/17/ready?token=x", port: port) == 400)
        let token = try #require(DeviceToken(hex: Self.token))
        simulator.setTokenState(.unregistered(at: 1), of: token)
        #expect(try await post("/orders/18/ready?token=\(Self.token)", port: port) == 410)
        await services.triggerGracefulShutdown()
        try await running
        #expect(client.snapshot().state == .closed)
        #expect(simulator.pushes().count == 2)
        try await simulator.shutdown()
    }

    @Test func `a Vapor application sends pushes, and stops with its client`() async throws {
        let (simulator, configuration) = try await simulator()
        let application = VaporSnippet.Application(.singletonMultiThreadedEventLoopGroup)
        try VaporSnippet.configure(application, configuration, bundleID: Self.bundleID)
        let route = try #require(application.routes["orders/:number/ready"])
        func request(_ token: String) -> VaporSnippet.Request {
            VaporSnippet.Request(parameters: .init(values: ["number": "17"]), query: .init(values: ["token": token]))
        }
        #expect(try await route(request(Self.token)) == .ok)
        await #expect(throws: VaporSnippet.Abort.self) { _ = try await route(request("x")) }
        await application.asyncShutdown()
        #expect(try await route(request(Self.token)) == .serviceUnavailable)
        #expect(simulator.pushes().count == 1)
        try await simulator.shutdown()
    }
}
