import APNSKit
import APNSWire
import HTTP2Session
import NIOPosix
import PushTesting
import Testing

/// The channel client against scripted servers.
@Suite struct `Channel client` {
    private static let app = "com.example.app"
    private static let channel = ChannelID("dGVzdC1jaGFubmVs")!

    private func client(
        _ server: ScriptedServer, push: ScriptedServer? = nil,
        _ change: (inout APNSChannelClientConfiguration) -> Void = { _ in }
    ) throws -> APNSChannelClient {
        var configuration = APNSChannelClientConfiguration(
            managementEndpoint: .init(host: "127.0.0.1", port: server.port),
            pushEndpoint: .init(host: "127.0.0.1", port: (push ?? server).port)
        )
        configuration.trustRoots = .file(TestCertificate.server.certificatePath)
        change(&configuration)
        return try APNSChannelClient(
            configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
    }

    /// Answers as APNs does to a valid request.
    @Sendable private static func accept(_ peer: ScriptedServer.Peer, _ request: ScriptedServer.Request) {
        switch (request[":method"], request[":path"]) {
        case ("POST", "/1/apps/com.example.app/channels"):
            peer.respond(request, 201, fields: [("apns-channel-id", channel.text)])
        case ("GET", "/1/apps/com.example.app/channels"):
            peer.respond(request, 200, #"{"message-storage-policy":1,"push-type":"LiveActivity"}"#)
        case ("GET", "/1/apps/com.example.app/all-channels"):
            peer.respond(request, 200, #"{"channels":["\#(channel.text)","YW5vdGhlcg=="]}"#)
        case ("DELETE", "/1/apps/com.example.app/channels"): peer.respond(request, 204)
        case ("POST", "/4/broadcasts/apps/com.example.app"): peer.respond(request, 200)
        default: peer.respond(request, 404, #"{"reason":"BadPath"}"#)
        }
    }

    private func error(_ work: () async throws(APNSChannelError) -> Void) async -> APNSChannelError? {
        do throws(APNSChannelError) {
            try await work()
            return nil
        } catch {
            return error
        }
    }

    @Test func `every operation sends its request and returns its result`() async throws {
        let management = try await ScriptedServer(script: Self.accept)
        let push = try await ScriptedServer(script: Self.accept)
        let channels = try client(management, push: push)
        let created = try await channels.create(bundleID: Self.app, policy: .newest)
        #expect(created == Self.channel)
        #expect(try await channels.read(created, bundleID: Self.app) == .newest)
        #expect(try await channels.list(bundleID: Self.app).map(\.text) == [Self.channel.text, "YW5vdGhlcg=="])
        let content = LiveActivityContent.update(
            contentState: try JSONObject(#"{"score":1}"#), timestamp: UNIXTime(secondsSince1970: 1))
        var payload = APNSPayload()
        payload.aps.liveActivity = content
        try await channels.publish(payload, to: created, bundleID: Self.app, priority: .conserving)
        try await channels.delete(created, bundleID: Self.app)
        await channels.shutdown()

        #expect(management.connections == 1 && push.connections == 1)
        let requests = management.requests
        #expect(requests.map { $0[":method"] } == ["POST", "GET", "GET", "DELETE"])
        #expect(requests.map { $0["apns-channel-id"] } == [nil, created.text, nil, created.text])
        #expect(requests.allSatisfy { $0["apns-request-id"]?.count == 36 && $0["authorization"] == nil })
        #expect(
            String(decoding: requests[0].body, as: UTF8.self)
                == #"{"message-storage-policy":1,"push-type":"LiveActivity"}"#)
        let publication = try #require(push.requests.first)
        #expect(publication["apns-push-type"] == "liveactivity" && publication["apns-expiration"] == "0")
        #expect(publication["apns-priority"] == "5" && publication["apns-channel-id"] == created.text)
        #expect(publication[":authority"] == "127.0.0.1:\(push.port)")
        let sent = try payload.encoded()
        #expect(publication.body == sent)
    }

    @Test func `a rejection is reported with its advice`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 400, #"{"reason":"ChannelNotRegistered"}"#) }
        let channels = try client(server)
        let error = await error { () throws(APNSChannelError) in
            _ = try await channels.read(Self.channel, bundleID: Self.app)
        }
        #expect(error?.code == .refused && error?.reason == .channelNotRegistered && error?.response?.status == 400)
        #expect(error?.action == APNSReason.channelNotRegistered.advice?.action)
        #expect(server.requests.count == 1)
        await channels.shutdown()
    }

    @Test func `an invalid request is not sent`() async throws {
        let server = try await ScriptedServer(script: Self.accept)
        let channels = try client(server)
        let topic = await error { () throws(APNSChannelError) in
            _ = try await channels.create(bundleID: "com.example.app.push-type.liveactivity", policy: .none)
        }
        #expect(topic?.code == .invalidRequest && topic?.requestError == .topicForBundleID)
        var payload = APNSPayload()
        payload.aps.relevanceScore = .infinity
        let number = await error { () throws(APNSChannelError) in
            _ = try await channels.publish(payload, to: Self.channel, bundleID: Self.app)
        }
        #expect(number?.requestError == .payloadNotFinite)
        #expect(server.connections == 0)
        await channels.shutdown()
    }

    // MARK: Resending

    @Test func `refused streams are sent again, on another connection from the second time on`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 { peer.reset(request, .refusedStream) } else { Self.accept(peer, request) }
        }
        let channels = try client(server)
        #expect(try await channels.create(bundleID: Self.app, policy: .none) == Self.channel)
        #expect(server.requests.map(\.connection) == [0, 0, 1])
        await channels.shutdown()
    }

    @Test func `a request that is refused six times is reported`() async throws {
        let server = try await ScriptedServer { $0.reset($1, .refusedStream) }
        let channels = try client(server)
        let error = await error { () throws(APNSChannelError) in
            _ = try await channels.create(bundleID: Self.app, policy: .none)
        }
        #expect(error?.code == .notProcessed && error?.failure == .streamRefused)
        #expect(server.requests.count == 6)
        await channels.shutdown()
    }

    @Test func `after GOAWAY unprocessed requests are sent again, and others are answered`() async throws {
        let server = try await ScriptedServer { peer, request in
            guard peer.number == 0 else { return Self.accept(peer, request) }
            peer.hold(request)
            guard peer.held.count == 3 else { return }
            let held = peer.takeHeld()
            peer.goAway(last: held[0].stream)
            Self.accept(peer, held[0])
        }
        let channels = try client(server)
        try await withThrowingTaskGroup { group in
            for _ in 0..<3 {
                group.addTask {
                    let created = try await channels.create(bundleID: Self.app, policy: .none)
                    #expect(created == Self.channel)
                }
            }
            try await group.waitForAll()
        }
        #expect(server.requests.count { $0.connection == 0 } == 3)
        #expect(server.requests.count { $0.connection == 1 } == 2)
        await channels.shutdown()
    }

    @Test func `an ambiguous create is not repeated`() async throws {
        let server = try await ScriptedServer { peer, _ in peer.close() }
        let channels = try client(server)
        let error = await error { () throws(APNSChannelError) in
            _ = try await channels.create(bundleID: Self.app, policy: .none)
        }
        #expect(error?.code == .ambiguous)
        #expect(server.requests.count == 1)
        await channels.shutdown()
    }

    @Test func `a silent server and a refused connection are reported at the deadline`() async throws {
        let server = try await ScriptedServer { _, _ in }
        let channels = try client(server)
        let silent = await error { () throws(APNSChannelError) in
            try await channels.delete(Self.channel, bundleID: Self.app, deadline: .milliseconds(300))
        }
        #expect(silent?.code == .ambiguous && silent?.failure == .deadlineExceeded)
        await channels.shutdown()
        let unreachable = try client(server) { $0.managementEndpoint.port = 1 }
        let refused = await error { () throws(APNSChannelError) in
            _ = try await unreachable.list(bundleID: Self.app, deadline: .milliseconds(300))
        }
        #expect(refused?.code == .notProcessed && refused?.failure == .connectRefused)
        await unreachable.shutdown()
    }

    @Test func `incomplete and endless responses have different errors`() async throws {
        let server = try await ScriptedServer { peer, request in
            if request[":method"] == "POST" {
                peer.respond(request, 201)
            } else {
                peer.respond(request, 500, String(repeating: "x", count: 100_000))
            }
        }
        let channels = try client(server)
        let incomplete = await error { () throws(APNSChannelError) in
            _ = try await channels.create(bundleID: Self.app, policy: .none)
        }
        #expect(incomplete?.code == .malformedAnswer)
        let endless = await error { () throws(APNSChannelError) in
            _ = try await channels.list(bundleID: Self.app)
        }
        #expect(endless?.code == .refused && endless?.response?.status == 500 && endless?.reason == APNSReason.none)
        await channels.shutdown()
    }

    // MARK: Credentials

    @Test func `an expired token is replaced on a new connection`() async throws {
        let time = TestWallClock()
        let tokens = ProviderTokenSource(key: try Samples.key(id: "CHANNELKEY"), clock: time.clock)
        let server = try await ScriptedServer { peer, request in
            guard peer.number > 0 else { return peer.respond(request, 403, #"{"reason":"ExpiredProviderToken"}"#) }
            Self.accept(peer, request)
        }
        let channels = try client(server) { $0.credential = .token(tokens) }
        let before = try tokens.current()
        // Two tokens differ only if they were issued in different seconds.
        time.advance(by: 1)
        #expect(try await channels.create(bundleID: Self.app, policy: .none) == Self.channel)
        #expect(server.requests.map(\.connection) == [0, 1])
        #expect(server.requests[0]["authorization"] != server.requests[1]["authorization"])
        #expect(try tokens.current() != before)
        await channels.shutdown()
    }

    @Test func `after too many token updates the current token is kept`() async throws {
        let time = TestWallClock()
        let tokens = ProviderTokenSource(key: try Samples.key(id: "CHANNELKEY"), clock: time.clock)
        let server = try await ScriptedServer { $0.respond($1, 429, #"{"reason":"TooManyProviderTokenUpdates"}"#) }
        let channels = try client(server) { $0.credential = .token(tokens) }
        let token = try tokens.current()
        time.advance(by: ProviderTokenSource.renewalAge.components.seconds - 1)
        let error = await error { () throws(APNSChannelError) in
            _ = try await channels.list(bundleID: Self.app)
        }
        #expect(error?.reason == .tooManyProviderTokenUpdates)
        time.advance(by: 1)
        #expect(try tokens.current() == token, "it is due for renewal, and is kept")
        await channels.shutdown()
    }

    // MARK: Idle connections and shutdown

    @Test func `an unused connection is closed, and the next request opens a new one`() async throws {
        let server = try await ScriptedServer(script: Self.accept)
        let channels = try client(server) { $0.idleTimeout = .milliseconds(1) }
        try await waitUntil("a second connection") {
            _ = try await channels.list(bundleID: Self.app)
            return server.connections >= 2
        }
        await channels.shutdown()
    }

    @Test func `shutdown reports open requests, and later ones are not sent`() async throws {
        let server = try await ScriptedServer { _, _ in }
        let channels = try client(server)
        async let pending = error { () throws(APNSChannelError) in
            _ = try await channels.list(bundleID: Self.app)
        }
        try await waitUntil("the request") { server.requests.count == 1 }
        await channels.shutdown(grace: .zero)
        #expect(await pending?.code == .ambiguous)
        let afterShutdown = await error { () throws(APNSChannelError) in _ = try await channels.list(bundleID: Self.app)
        }
        #expect(afterShutdown?.code == .notProcessed && afterShutdown?.failure == .clientClosed)
        await channels.shutdown()
    }

    @Test func `all problems of a configuration are reported together`() {
        var configuration = APNSChannelClientConfiguration(environment: .sandbox, credential: .none)
        #expect(configuration.problems() == [])
        #expect(configuration.managementEndpoint.port == 2195)
        configuration.managementEndpoint.port = 0
        configuration.idleTimeout = .zero
        configuration.requestsMax = 0
        #expect(configuration.problems().count == 3)
        #expect(throws: APNSConfigurationError.self) {
            try APNSChannelClient(
                configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup)
        }
    }
}
