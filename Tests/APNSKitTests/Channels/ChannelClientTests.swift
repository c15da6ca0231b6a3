import APNSKit
import APNSWire
import HTTP2Session
import NIOPosix
import PushTesting
import Testing

/// The channel client against servers that do what a test says.
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

    /// Answers as APNs does to those who do everything right.
    @Sendable private static func agree(_ peer: ScriptedServer.Peer, _ request: ScriptedServer.Request) {
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

    @Test func `every operation has its request and its result`() async throws {
        let management = try await ScriptedServer(script: Self.agree)
        let push = try await ScriptedServer(script: Self.agree)
        let channels = try client(management, push: push)
        let made = try await channels.create(bundleID: Self.app, policy: .newest)
        #expect(made == Self.channel)
        #expect(try await channels.read(made, bundleID: Self.app) == .newest)
        #expect(try await channels.list(bundleID: Self.app).map(\.text) == [Self.channel.text, "YW5vdGhlcg=="])
        let content = LiveActivityContent.update(contentState: try JSONObject(#"{"score":1}"#), timestamp: 1)
        var payload = APNSPayload()
        payload.aps.liveActivity = content
        try await channels.publish(payload, to: made, bundleID: Self.app, priority: .conserving)
        try await channels.delete(made, bundleID: Self.app)
        await channels.shutdown()

        #expect(management.connections == 1 && push.connections == 1)
        let requests = management.requests
        #expect(requests.map { $0[":method"] } == ["POST", "GET", "GET", "DELETE"])
        #expect(requests.map { $0["apns-channel-id"] } == [nil, made.text, nil, made.text])
        #expect(requests.allSatisfy { $0["apns-request-id"]?.count == 36 && $0["authorization"] == nil })
        #expect(
            String(decoding: requests[0].body, as: UTF8.self)
                == #"{"message-storage-policy":1,"push-type":"LiveActivity"}"#)
        let publication = try #require(push.requests.first)
        #expect(publication["apns-push-type"] == "liveactivity" && publication["apns-expiration"] == "0")
        #expect(publication["apns-priority"] == "5" && publication["apns-channel-id"] == made.text)
        #expect(publication[":authority"] == "127.0.0.1:\(push.port)")
        let sent = try payload.encoded()
        #expect(publication.body == sent)
    }

    @Test func `a refusal is told with its advice`() async throws {
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

    @Test func `what cannot be right is not sent`() async throws {
        let server = try await ScriptedServer(script: Self.agree)
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

    // MARK: Sent again, or not

    @Test func `refused streams are sent again, on another connection from the second time on`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 { peer.reset(request, .refusedStream) } else { Self.agree(peer, request) }
        }
        let channels = try client(server)
        #expect(try await channels.create(bundleID: Self.app, policy: .none) == Self.channel)
        #expect(server.requests.map(\.connection) == [0, 0, 1])
        await channels.shutdown()
    }

    @Test func `whoever is always refused hears of it after the sixth time`() async throws {
        let server = try await ScriptedServer { $0.reset($1, .refusedStream) }
        let channels = try client(server)
        let error = await error { () throws(APNSChannelError) in
            _ = try await channels.create(bundleID: Self.app, policy: .none)
        }
        #expect(error?.code == .notProcessed && error?.failure == .streamRefused)
        #expect(server.requests.count == 6)
        await channels.shutdown()
    }

    @Test func `after GOAWAY what was not processed moves, what was stays`() async throws {
        let server = try await ScriptedServer { peer, request in
            guard peer.number == 0 else { return Self.agree(peer, request) }
            peer.hold(request)
            guard peer.held.count == 3 else { return }
            let held = peer.takeHeld()
            peer.goAway(last: held[0].stream)
            Self.agree(peer, held[0])
        }
        let channels = try client(server)
        try await withThrowingTaskGroup { group in
            for _ in 0..<3 {
                group.addTask {
                    let made = try await channels.create(bundleID: Self.app, policy: .none)
                    #expect(made == Self.channel)
                }
            }
            try await group.waitForAll()
        }
        #expect(server.requests.count { $0.connection == 0 } == 3)
        #expect(server.requests.count { $0.connection == 1 } == 2)
        await channels.shutdown()
    }

    @Test func `a creation that may have been done is not repeated`() async throws {
        let server = try await ScriptedServer { peer, _ in peer.close() }
        let channels = try client(server)
        let error = await error { () throws(APNSChannelError) in
            _ = try await channels.create(bundleID: Self.app, policy: .none)
        }
        #expect(error?.code == .ambiguous)
        #expect(server.requests.count == 1)
        await channels.shutdown()
    }

    @Test func `a server without an answer costs the deadline, and one without a port is named`() async throws {
        let server = try await ScriptedServer { _, _ in }
        let channels = try client(server)
        let silent = await error { () throws(APNSChannelError) in
            try await channels.delete(Self.channel, bundleID: Self.app, deadline: .milliseconds(300))
        }
        #expect(silent?.code == .ambiguous && silent?.failure == .deadlineExceeded)
        await channels.shutdown()
        let nowhere = try client(server) { $0.managementEndpoint.port = 1 }
        let refused = await error { () throws(APNSChannelError) in
            _ = try await nowhere.list(bundleID: Self.app, deadline: .milliseconds(300))
        }
        #expect(refused?.code == .notProcessed && refused?.failure == .connectRefused)
        await nowhere.shutdown()
    }

    @Test func `answers without an end or without their point are told apart`() async throws {
        let server = try await ScriptedServer { peer, request in
            if request[":method"] == "POST" {
                peer.respond(request, 201)
            } else {
                peer.respond(request, 500, String(repeating: "x", count: 100_000))
            }
        }
        let channels = try client(server)
        let pointless = await error { () throws(APNSChannelError) in
            _ = try await channels.create(bundleID: Self.app, policy: .none)
        }
        #expect(pointless?.code == .malformedAnswer)
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
            Self.agree(peer, request)
        }
        let channels = try client(server) { $0.credential = .token(tokens) }
        let before = try tokens.current()
        // Tokens are told apart by the second in which they were issued.
        time.advance(by: 1)
        #expect(try await channels.create(bundleID: Self.app, policy: .none) == Self.channel)
        #expect(server.requests.map(\.connection) == [0, 1])
        #expect(server.requests[0]["authorization"] != server.requests[1]["authorization"])
        #expect(try tokens.current() != before)
        await channels.shutdown()
    }

    @Test func `too many tokens freeze the one there is`() async throws {
        let time = TestWallClock()
        let tokens = ProviderTokenSource(key: try Samples.key(id: "CHANNELKEY"), clock: time.clock)
        let server = try await ScriptedServer { $0.respond($1, 429, #"{"reason":"TooManyProviderTokenUpdates"}"#) }
        let channels = try client(server) { $0.credential = .token(tokens) }
        let token = try tokens.current()
        time.advance(by: ProviderTokenSource.renewalAge - 1)
        let error = await error { () throws(APNSChannelError) in
            _ = try await channels.list(bundleID: Self.app)
        }
        #expect(error?.reason == .tooManyProviderTokenUpdates)
        time.advance(by: 1)
        #expect(try tokens.current() == token, "it would be due, and is kept")
        await channels.shutdown()
    }

    // MARK: Coming and going

    @Test func `an unused connection goes, and the next request has a new one`() async throws {
        let server = try await ScriptedServer(script: Self.agree)
        let channels = try client(server) { $0.idleTimeout = .milliseconds(1) }
        try await waitUntil("a second connection") {
            _ = try await channels.list(bundleID: Self.app)
            return server.connections >= 2
        }
        await channels.shutdown()
    }

    @Test func `after shutdown nothing is sent, and what was open is told`() async throws {
        let server = try await ScriptedServer { _, _ in }
        let channels = try client(server)
        async let pending = error { () throws(APNSChannelError) in
            _ = try await channels.list(bundleID: Self.app)
        }
        try await waitUntil("the request") { server.requests.count == 1 }
        await channels.shutdown(grace: .zero)
        #expect(await pending?.code == .ambiguous)
        let late = await error { () throws(APNSChannelError) in _ = try await channels.list(bundleID: Self.app) }
        #expect(late?.code == .notProcessed && late?.failure == .clientClosed)
        await channels.shutdown()
    }

    @Test func `every problem of a configuration is told at once`() {
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
