import APNSKit
import APNSWire
import Logging
import NIOPosix
import PushTesting
import ServiceLifecycle
import Testing

/// The clients as services of a `ServiceGroup`.
@Suite struct `Service` {
    private static let hour = Duration.seconds(3600)

    private func group(_ services: [any ServiceLifecycle.Service], grace: Duration? = nil) -> ServiceGroup {
        var configuration = ServiceGroupConfiguration(services: services, logger: Logger(label: "test"))
        configuration.maximumGracefulShutdownDuration = grace
        return ServiceGroup(configuration: configuration)
    }

    @Test func `a graceful shutdown waits for the answers`() async throws {
        let isReleased = ReleaseFlag()
        let server = try await ScriptedServer { $0.respond($1, 200, after: isReleased) }
        let client = try Samples.client(port: server.port)
        let group = group([client])
        async let running: Void = group.run()
        async let answers = client.send(Samples.batch(1))
        try await waitUntil("the push") { server.requests.count == 1 }
        await group.triggerGracefulShutdown()
        try await waitUntil("the shutdown") { client.snapshot().state == .closed }
        #expect(await client.send(Samples.batch(1, from: 1)) == [.failed(.clientClosed, .neverWritten)])
        isReleased.set()
        #expect(await answers == [.accepted])
        try await running
    }

    @Test func `the maximum duration of the group ends the wait for answers`() async throws {
        let server = try await ScriptedServer { $0.hold($1) }
        let client = try Samples.client(port: server.port)
        let group = group([client], grace: .milliseconds(50))
        async let running: Void = group.run()
        async let answers = client.send(Samples.batch(1), requestTimeout: Self.hour)
        try await waitUntil("the push") { server.requests.count == 1 }
        await group.triggerGracefulShutdown()
        // A group reports that it had to cancel its services.
        try? await running
        #expect(await answers == [.failed(.clientClosed, .ambiguous)])
    }

    @Test func `a cancelled group closes both clients`() async throws {
        let server = try await ScriptedServer { $0.hold($1) }
        let client = try Samples.client(port: server.port)
        let endpoint = APNSClientConfiguration.Endpoint(host: "127.0.0.1", port: server.port)
        var configuration = APNSChannelClientConfiguration(managementEndpoint: endpoint, pushEndpoint: endpoint)
        configuration.trustRoots = .file(TestCertificate.server.certificatePath)
        let channels = try APNSChannelClient(
            configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
        let group = group([client, channels])
        let task = Task { try? await group.run() }
        async let answers = client.send(Samples.batch(1), requestTimeout: Self.hour)
        try await waitUntil("the push") { server.requests.count == 1 }
        task.cancel()
        await task.value
        #expect(await answers == [.failed(.clientClosed, .ambiguous)])
        let error = await #expect(throws: APNSChannelError.self) {
            try await channels.list(bundleID: "com.example.app")
        }
        #expect(error?.failure == .clientClosed)
    }
}
