import APNSKit
import APNSWire
import Crypto
import HTTP2Session
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// Connections that close, stop answering, refuse streams or never become ready.
@Suite struct `Faults` {
    private func settings(_ streamsMax: UInt32) -> ScriptedServer.Options {
        ScriptedServer.Options(settings: HTTP2Settings(streamsMax: streamsMax))
    }

    private func count(_ answers: [APNSAnswer], _ disposition: APNSAnswer.Disposition) -> Int {
        answers.count { $0.disposition == disposition }
    }

    // MARK: GOAWAY

    @Test func `after GOAWAY unprocessed pushes are requeued to another connection`() async throws {
        let server = try await ScriptedServer { peer, request in
            guard peer.number == 0 else { return peer.respond(request, 200) }
            peer.hold(request)
            guard peer.held.count == 10 else { return }
            let held = peer.takeHeld()
            peer.goAway(last: held[4].stream)
            for request in held.prefix(5) { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port)
        #expect(await client.send(Samples.batch(10)).allSatisfy { $0 == .accepted })
        #expect(server.requests.count { $0.connection == 0 } == 10)
        #expect(server.requests.count { $0.connection == 1 } == 5)
        #expect(client.snapshot().requeued == 5)
        #expect(client.snapshot().goAways == 1)
        #expect(Set(server.requests.map { $0["apns-id"]! }).count == 10)
        await client.shutdown()
    }

    @Test func `a graceful GOAWAY in two steps loses nothing`() async throws {
        let server = try await ScriptedServer { peer, request in
            guard peer.number == 0 else { return peer.respond(request, 200) }
            peer.hold(request)
            guard peer.held.count == 4 else { return }
            let held = peer.takeHeld()
            peer.goAway(last: .max)
            peer.goAway(last: held[1].stream, debug: #"{"reason":"Shutdown"}"#)
            for request in held.prefix(2) { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port)
        #expect(await client.send(Samples.batch(4)).allSatisfy { $0 == .accepted })
        #expect(server.requests.count { $0.connection == 1 } == 2)
        await client.shutdown()
    }

    @Test func `a credential rejected by GOAWAY is reported and not tried again`() async throws {
        let server = try await ScriptedServer { peer, request in
            peer.goAway(last: 0, debug: #"{"reason":"BadCertificateEnvironment"}"#)
        }
        let client = try Samples.client(port: server.port)
        let answers = await client.send(Samples.batch(1))
        #expect(answers == [APNSAnswer(disposition: .refused, reason: .badCertificateEnvironment, failure: .goAway)])
        #expect(client.snapshot().credentialReason == .badCertificateEnvironment)
        #expect(server.connections == 1)
        await client.shutdown()
    }

    @Test(arguments: ["", "maximum active streams violated", #"{"reason":42}"#, "{", "\u{FFFD}", #"{"reason":"New"}"#])
    func `any debug data is accepted`(_ debug: String) async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 {
                peer.goAway(last: 0, .refusedStream, debug: debug)
            } else {
                peer.respond(request, 200)
            }
        }
        let client = try Samples.client(port: server.port)
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        #expect(server.requests.count == 2)
        await client.shutdown()
    }

    @Test func `pushes that a draining connection does not answer become ambiguous`() async throws {
        let server = try await ScriptedServer { peer, request in peer.goAway(last: request.stream) }
        let client = try Samples.client(port: server.port) { $0.drainTimeout = .milliseconds(100) }
        #expect(await client.send(Samples.batch(1)) == [.failed(.goAway, .ambiguous)])
        await client.shutdown()
    }

    // MARK: Lost connections

    @Test func `pushes written to a lost connection are ambiguous, and others are sent on a new one`() async throws {
        let server = try await ScriptedServer(settings(4)) { peer, request in
            guard peer.number == 0 else { return peer.respond(request, 200) }
            peer.hold(request)
            if peer.held.count == 4 { peer.close() }
        }
        let client = try Samples.client(port: server.port)
        let answers = await client.send(Samples.batch(10))
        #expect(count(answers, .ambiguous) == 4)
        #expect(answers.prefix(4).allSatisfy { $0.disposition == .ambiguous && $0.failure == .connectionClosed })
        #expect(answers.suffix(6).allSatisfy { $0 == .accepted })
        // No ambiguous push was sent again.
        #expect(server.requests.count == 10)
        #expect(client.snapshot().ambiguous == 4)
        await client.shutdown()
    }

    @Test func `a protocol violation costs one connection`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 {
                peer.write(raw: [UInt8](repeating: 0xFF, count: 64))
            } else {
                peer.respond(request, 200)
            }
        }
        let client = try Samples.client(port: server.port)
        #expect(await client.send(Samples.batch(1)) == [.failed(.protocolError, .ambiguous)])
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        await client.shutdown()
    }

    @Test func `a silent server is detected by PING`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 { peer.stopResponding() } else { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port) {
            $0.pingInterval = .milliseconds(100)
            $0.pingTimeout = .milliseconds(100)
        }
        #expect(await client.send(Samples.batch(1)) == [.failed(.pingTimeout, .ambiguous)])
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        await client.shutdown()
    }

    @Test func `a connection to a slow server that acknowledges PINGs is kept`() async throws {
        let server = try await ScriptedServer { peer, request in
            if request.stream == 1 { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port) {
            $0.pingInterval = .milliseconds(50)
            $0.pingTimeout = .seconds(30)
        }
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        let answers = await client.send(Samples.batch(1), requestTimeout: .milliseconds(1500))
        #expect(answers == [.failed(.deadlineExceeded, .ambiguous)])
        #expect(client.snapshot().connects == 1)
        await client.shutdown()
    }

    @Test func `answers and a GOAWAY that arrive together with a reset are read`() async throws {
        // On one event loop, the client reads all of it at a time.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = try await ScriptedServer(.init(group: group)) { peer, request in
            guard peer.number == 0 else { return peer.respond(request, 200) }
            peer.hold(request)
            guard peer.held.count == 6 else { return }
            peer.after(.zero) {
                let held = peer.takeHeld()
                for request in held.prefix(3) { peer.respond(request, 200) }
                peer.goAway(last: held[2].stream)
                peer.abort()
            }
        }
        let client = try Samples.client(port: server.port, group: group)
        #expect(await client.send(Samples.batch(6)) == [APNSAnswer](repeating: .accepted, count: 6))
        #expect(server.requests.map(\.connection) == [0, 0, 0, 0, 0, 0, 1, 1, 1])
        await client.shutdown()
        try await server.close()
        try await group.shutdownGracefully()
    }

    // MARK: Deadlines

    @Test func `at its deadline a written push is ambiguous and an unwritten one is neverWritten`() async throws {
        let server = try await ScriptedServer(settings(3)) { peer, request in
            if request["apns-topic"] == "later" { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port)
        let later = NotificationHeaders(topic: "later", pushType: .alert)
        #expect(await client.send(Samples.batch(1, headers: later)) == [.accepted])
        let answers = await client.send(Samples.batch(10), requestTimeout: .milliseconds(1500))
        #expect(count(answers, .ambiguous) == 3)
        #expect(count(answers, .neverWritten) == 7)
        #expect(answers.allSatisfy { $0.failure == .deadlineExceeded })
        // The streams were reset, and their slots are reused on the same connection.
        #expect(await client.send(Samples.batch(9, headers: later)).allSatisfy { $0 == .accepted })
        #expect(server.connections == 1)
        await client.shutdown()
    }

    @Test func `a silent server never gets more streams than it allows`() async throws {
        let server = try await ScriptedServer(settings(3)) { peer, request in
            if request.stream == 1 { peer.respond(request, 200) } else { peer.stopResponding() }
        }
        let client = try Samples.client(port: server.port) { $0.pingTimeout = .seconds(60) }
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        let written = await client.send(Samples.batch(3), requestTimeout: .milliseconds(300))
        #expect(written == [APNSAnswer](repeating: .failed(.deadlineExceeded, .ambiguous), count: 3))
        // The three streams were reset, but the server has not acknowledged a PING after the resets.
        let queued = await client.send(Samples.batch(3), requestTimeout: .milliseconds(300))
        #expect(queued == [APNSAnswer](repeating: .failed(.deadlineExceeded, .neverWritten), count: 3))
        #expect(client.snapshot().streamsOpen == 3)
        #expect(server.requests.count == 4)
        await client.shutdown()
    }

    @Test func `the wait ends only for pushes that are not written`() async throws {
        let server = try await ScriptedServer(settings(2)) { peer, request in
            peer.hold(request)
            guard peer.held.count == 2 else { return }
            // Long after the wait has ended.
            peer.after(.milliseconds(600)) { for held in peer.takeHeld() { peer.reset(held, .refusedStream) } }
        }
        let client = try Samples.client(port: server.port)
        let timeouts = APNSSendTimeouts(wait: .milliseconds(200), answer: .seconds(60))
        let (written, queued) = (AnswerGroups(), AnswerGroups())
        client.send(Samples.batch(2), indexes: nil, ticket: 1, timeouts: timeouts, to: written)
        client.send(Samples.batch(1, from: 2), indexes: nil, ticket: 2, timeouts: timeouts, to: queued)
        #expect(await queued.all().flatMap(\.answers) == [.failed(.deadlineExceeded, .neverWritten)])
        // The written pushes still waited for their answers. A push that is refused after its wait is not written again.
        let answers = await written.all().flatMap(\.answers)
        #expect(answers == [APNSAnswer](repeating: .failed(.streamRefused, .refused), count: 2))
        #expect(server.requests.count == 2)
        await client.shutdown()
    }

    @Test func `an answer after the deadline is ignored`() async throws {
        let server = try await ScriptedServer { peer, request in
            guard request["apns-topic"] == "later" else { return peer.hold(request) }
            for held in peer.takeHeld() { peer.respond(held, 200) }
            peer.respond(request, 200)
        }
        let client = try Samples.client(port: server.port)
        let later = NotificationHeaders(topic: "later", pushType: .alert)
        #expect(await client.send(Samples.batch(1, headers: later)) == [.accepted])
        let answers = await client.send(Samples.batch(5), requestTimeout: .milliseconds(1500))
        #expect(count(answers, .ambiguous) == 5)
        #expect(await client.send(Samples.batch(1, headers: later)) == [.accepted])
        #expect(client.snapshot().answered == 2)
        await client.shutdown()
    }

    // MARK: No connection

    @Test func `if the connection is refused, pushes are never written`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let port = server.port
        try await server.close()
        let client = try Samples.client(port: port)
        let answers = await client.send(Samples.batch(2), requestTimeout: .milliseconds(300))
        #expect(answers == [APNSAnswer](repeating: .failed(.connectRefused, .neverWritten), count: 2))
        #expect(client.snapshot().lastFailure == .connectRefused)
        await client.shutdown()
    }

    @Test(.timeLimit(.minutes(2))) func `in an outage, pushes wait for a connection only as long as is tolerated`()
        async throws
    {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let port = server.port
        try await server.close()
        let client = try Samples.client(port: port) { $0.outageTolerance = .milliseconds(300) }
        let answers = await client.send(Samples.batch(2), requestTimeout: .seconds(3600))
        #expect(answers == [APNSAnswer](repeating: .failed(.connectRefused, .neverWritten), count: 2))
        await client.shutdown()
    }

    @Test func `an untrusted certificate is rejected`() async throws {
        let server = try await ScriptedServer(.init(certificate: .untrusted)) { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port)
        let answers = await client.send(Samples.batch(1), requestTimeout: .milliseconds(1500))
        #expect(answers == [.failed(.tls, .neverWritten)])
        #expect(server.requests.isEmpty)
        await client.shutdown()
    }

    @Test func `a certificate for another address is rejected`() async throws {
        // The certificate names 127.0.0.1, not the rest of the loopback network.
        let server = try await ScriptedServer(.init(address: "127.0.0.2")) { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port, host: "127.0.0.2")
        let answers = await client.send(Samples.batch(1), requestTimeout: .milliseconds(1500))
        #expect(answers == [.failed(.tls, .neverWritten)])
        #expect(server.requests.isEmpty)
        await client.shutdown()
    }

    @Test func `pushes to a host that does not exist are never written`() async throws {
        let client = try Samples.client(port: 443, host: "no-such-host.invalid")
        let answers = await client.send(Samples.batch(1), requestTimeout: .seconds(2))
        #expect(answers.allSatisfy { $0.disposition == .neverWritten })
        await client.shutdown(grace: .zero)
    }

    @Test func `no push is sent before the server's SETTINGS`() async throws {
        let server = try await ScriptedServer(.init(isSilent: true)) { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port) { $0.connectTimeout = .milliseconds(100) }
        let answers = await client.send(Samples.batch(1), requestTimeout: .milliseconds(400))
        #expect(answers == [.failed(.connectTimeout, .neverWritten)])
        #expect(server.requests.isEmpty)
        await client.shutdown()
    }

    // MARK: Tokens

    private func tokenSource(_ time: TestWallClock) throws -> ProviderTokenSource {
        let pem = P256.Signing.PrivateKey().pemRepresentation
        return ProviderTokenSource(key: try ProviderTokenKey(pem: pem, keyID: "K", teamID: "T"), clock: time.clock)
    }

    @Test func `one token is used for fifty minutes`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let time = TestWallClock()
        let source = try tokenSource(time)
        let client = try Samples.client(port: server.port) { $0.credential = .token(source) }
        _ = await client.send(Samples.batch(50))
        time.advance(by: 2999)
        _ = await client.send(Samples.batch(50))
        #expect(Set(server.requests.map { $0["authorization"] }).count == 1)
        time.advance(by: 1)
        _ = await client.send(Samples.batch(50))
        #expect(Set(server.requests.map { $0["authorization"] }).count == 2)
        #expect(server.requests.last?["authorization"] == (try source.current().authorization))
        #expect(server.connections == 1)
        await client.shutdown()
    }

    @Test func `an expired token is renewed, on a new connection`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 {
                peer.respond(request, 403, #"{"reason":"ExpiredProviderToken"}"#)
            } else {
                peer.respond(request, 200)
            }
        }
        let source = try tokenSource(TestWallClock())
        let client = try Samples.client(port: server.port) { $0.credential = .token(source) }
        // No push is lost, and no answer shows the expired token.
        #expect(await client.send(Samples.batch(20)).allSatisfy { $0 == .accepted })
        let tokens = [0, 1].map { number in
            Set(server.requests.filter { $0.connection == number }.map { $0["authorization"] })
        }
        #expect(tokens.map(\.count) == [1, 1])
        #expect(tokens[0] != tokens[1])
        #expect(client.snapshot().credentialReason == .none)
        await client.shutdown()
    }

    @Test func `a server that rejects every token as expired gets two tokens on two connections`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 403, #"{"reason":"ExpiredProviderToken"}"#) }
        let source = try tokenSource(TestWallClock())
        let client = try Samples.client(port: server.port) { $0.credential = .token(source) }
        for _ in 0..<5 {
            let answers = await client.send(Samples.batch(3))
            #expect(answers.allSatisfy { $0.status == 403 })
        }
        #expect(Set(server.requests.map { $0["authorization"] }).count == 2)
        #expect(server.connections == 2)
        #expect(client.snapshot().credentialReason == .expiredProviderToken)
        await client.shutdown()
    }

    @Test func `after too many token updates one new connection is opened, with the same token`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 429, #"{"reason":"TooManyProviderTokenUpdates"}"#) }
        let time = TestWallClock()
        let source = try tokenSource(time)
        let client = try Samples.client(port: server.port) { $0.credential = .token(source) }
        for _ in 0..<3 {
            let answers = await client.send(Samples.batch(1))
            #expect(answers[0].reason == .tooManyProviderTokenUpdates)
            time.advance(by: 300)
        }
        #expect(Set(server.requests.map { $0["authorization"] }).count == 1)
        #expect(server.connections == 2)
        await client.shutdown()
    }

    // MARK: Limits and shutdown

    @Test func `pushes above the queue limit fail as overloaded, the others are sent`() async throws {
        let later = NotificationHeaders(topic: "later", pushType: .alert)
        let server = try await ScriptedServer { peer, request in
            if request["apns-topic"] == "later" { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port) { $0.queuedPushesMax = 10 }
        #expect(await client.send(Samples.batch(1, headers: later)) == [.accepted])
        let groups = AnswerGroups()
        client.send(
            Samples.batch(8), indexes: nil, ticket: 1, timeouts: Samples.timeouts(.milliseconds(400)), to: groups)
        let overloaded = await client.send(Samples.batch(3))
        #expect(overloaded == [APNSAnswer](repeating: .failed(.overloaded, .neverWritten), count: 3))
        #expect(await groups.all().flatMap(\.answers).allSatisfy { $0.disposition == .ambiguous })
        // The queue has capacity again.
        #expect(
            await client.send(Samples.batch(10), requestTimeout: .milliseconds(200)).allSatisfy {
                $0.failure == .deadlineExceeded
            })
        await client.shutdown()
    }

    @Test func `shutdown waits for answers and takes no new pushes`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port)
        let groups = AnswerGroups()
        client.send(Samples.batch(500), indexes: nil, ticket: 1, timeouts: Samples.timeouts(.seconds(60)), to: groups)
        await client.shutdown()
        #expect(await groups.all().flatMap(\.answers).allSatisfy { $0 == .accepted })
        #expect(await client.send(Samples.batch(1)) == [.failed(.clientClosed, .neverWritten)])
        #expect(client.snapshot().state == .closed)
        await client.shutdown()
    }

    @Test func `shutdown without grace reports the pushes in flight`() async throws {
        let arrived = AsyncStream<Void>.makeStream()
        let server = try await ScriptedServer(settings(4)) { peer, request in
            peer.hold(request)
            if peer.held.count == 4 { arrived.continuation.yield() }
        }
        let client = try Samples.client(port: server.port)
        let groups = AnswerGroups()
        client.send(Samples.batch(10), indexes: nil, ticket: 1, timeouts: Samples.timeouts(.seconds(60)), to: groups)
        _ = await arrived.stream.first { true }
        await client.shutdown(grace: .zero)
        let answers = await groups.all().flatMap(\.answers)
        #expect(answers.allSatisfy { $0.failure == .clientClosed })
        #expect(count(answers, .ambiguous) == 4)
        #expect(count(answers, .neverWritten) == 6)
    }

    @Test func `an unanswered notification throws an error with its disposition`() async throws {
        let server = try await ScriptedServer { peer, _ in peer.close() }
        let client = try Samples.client(port: server.port)
        let notification = APNSNotification(
            deviceToken: DeviceToken(bytes: [1, 2, 3])!, headers: Samples.headers, payload: Array("{}".utf8)
        )
        await #expect(throws: APNSSendError(.failed(.connectionClosed, .ambiguous))) {
            try await client.send(notification)
        }
        await client.shutdown()
    }
}
