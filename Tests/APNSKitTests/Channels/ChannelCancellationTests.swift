import APNSKit
import APNSWire
import HTTP2Session
import NIOPosix
import PushTesting
import Testing

private let hour = Duration.seconds(3600)
private let channel = ChannelID("dGVzdC1jaGFubmVs")!

/// Cancelled tasks return from every method of a channel client. No other limit ends a wait here: all are an hour.
@Suite struct `Cancellation of channel requests` {
    private func client(_ server: ScriptedServer) throws -> APNSChannelClient {
        let endpoint = APNSClientConfiguration.Endpoint(host: "127.0.0.1", port: server.port)
        var configuration = APNSChannelClientConfiguration(managementEndpoint: endpoint, pushEndpoint: endpoint)
        configuration.trustRoots = .file(TestCertificate.server.certificatePath)
        configuration.connectTimeout = hour
        return try APNSChannelClient(
            configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
    }

    enum Method: CaseIterable {
        case create, read, list, delete, publish

        func call(_ channels: APNSChannelClient) async throws(APNSChannelError) {
            let app = "com.example.app"
            switch self {
            case .create: _ = try await channels.create(bundleID: app, policy: .none, deadline: hour)
            case .read: _ = try await channels.read(channel, bundleID: app, deadline: hour)
            case .list: _ = try await channels.list(bundleID: app, deadline: hour)
            case .delete: try await channels.delete(channel, bundleID: app, deadline: hour)
            case .publish:
                var payload = APNSPayload()
                payload.aps.liveActivity = try? .update(
                    contentState: ["score": 1], timestamp: UNIXTime(secondsSince1970: 1))
                try await channels.publish(payload, to: channel, bundleID: app, deadline: hour)
            }
        }
    }

    /// A task that calls a method and returns the error.
    private func start(_ method: Method, _ channels: APNSChannelClient) -> Task<APNSChannelError?, Never> {
        Task {
            do throws(APNSChannelError) {
                try await method.call(channels)
                return nil
            } catch {
                return error
            }
        }
    }

    @Test(arguments: Method.allCases)
    func `a request that waits for a connection is never sent`(_ method: Method) async throws {
        var options = ScriptedServer.Options()
        options.isSilent = true
        let server = try await ScriptedServer(options) { $0.respond($1, 200) }
        let channels = try client(server)
        let task = start(method, channels)
        try await waitUntil("the connection") { server.connections == 1 }
        task.cancel()
        let error = await task.value
        #expect(error?.code == .notProcessed && error?.failure == .cancelled)
        await channels.shutdown(grace: .zero)
    }

    @Test(arguments: Method.allCases)
    func `a written request is ambiguous`(_ method: Method) async throws {
        let server = try await ScriptedServer { $0.hold($1) }
        let channels = try client(server)
        let task = start(method, channels)
        try await waitUntil("the request") { server.requests.count == 1 }
        task.cancel()
        let error = await task.value
        #expect(error?.code == .ambiguous && error?.failure == .cancelled)
        await channels.shutdown()
    }

    @Test func `a request behind the stream limit is never sent`() async throws {
        var options = ScriptedServer.Options()
        options.settings = HTTP2Settings(streamsMax: 1)
        let server = try await ScriptedServer(options) { peer, request in
            guard request["apns-channel-id"] == nil else { return peer.hold(request) }
            peer.respond(request, 200, #"{"channels":[]}"#)
        }
        let channels = try client(server)
        let first = start(.read, channels)
        try await waitUntil("the first request") { server.requests.count == 1 }
        // Cancelled before, while and after the client gets it.
        for turns in 0..<50 {
            let second = start(.delete, channels)
            for _ in 0..<turns { await Task.yield() }
            second.cancel()
            let error = await second.value
            #expect(error?.code == .notProcessed && error?.failure == .cancelled)
        }
        first.cancel()
        #expect(await first.value?.code == .ambiguous)
        #expect(try await channels.list(bundleID: "com.example.app", deadline: hour).isEmpty)
        #expect(server.requests.map { $0[":path"] }.allSatisfy { $0?.hasPrefix("/1/apps/com.example.app/") == true })
        #expect(!server.requests.contains { $0[":method"] == "DELETE" })
        await channels.shutdown()
    }

    @Test func `a task that is cancelled before it sends does not connect`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let channels = try client(server)
        let task = Task {
            // Ends with the cancellation only.
            for await _ in AsyncStream<Void>.makeStream().stream {}
            let error = await #expect(throws: APNSChannelError.self) { try await Method.list.call(channels) }
            return error?.failure
        }
        task.cancel()
        #expect(await task.value == .cancelled)
        await channels.shutdown()
        #expect(server.connections == 0)
    }

    @Test func `shutdown reports the requests in flight and returns`() async throws {
        let server = try await ScriptedServer { $0.hold($1) }
        let channels = try client(server)
        let request = start(.list, channels)
        try await waitUntil("the request") { server.requests.count == 1 }
        let task = Task { await channels.shutdown(grace: hour) }
        async let other: Void = channels.shutdown(grace: hour)
        task.cancel()
        await task.value
        await other
        #expect(await request.value?.code == .ambiguous)
    }
}
