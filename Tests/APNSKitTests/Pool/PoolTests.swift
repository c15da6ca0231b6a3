import APNSKit
import APNSWire
import HTTP2Session
import NIOCore
import PushTesting
import Synchronization
import Testing

/// The pool against scripted servers: the number of connections, and their replacement.
@Suite struct `Connection pool` {
    /// Records the client's connection events.
    private final class EventLog: Sendable {
        private let events = Mutex<[APNSConnectionEvent]>([])

        func append(_ event: APNSConnectionEvent) { events.withLock { $0.append(event) } }
        var kinds: [APNSConnectionEvent.Kind] { events.withLock { $0.map(\.kind) } }
        func drainReasons(of connection: UInt64) -> [APNSDrainReason] {
            events.withLock { events in
                events.compactMap { event in
                    guard case .draining(let reason) = event.kind, event.connection == connection else { return nil }
                    return reason
                }
            }
        }
    }

    private func client(
        _ server: ScriptedServer, _ events: EventLog = EventLog(),
        _ change: (inout APNSClientConfiguration) -> Void = { _ in }
    ) throws -> APNSClient {
        try Samples.client(port: server.port) {
            $0.connectionsMax = 16
            $0.onEvent = { events.append($0) }
            change(&$0)
        }
    }

    /// Answers each request after 50 ms, on connections with few streams.
    private func slowServer(streams: UInt32) async throws -> ScriptedServer {
        try await ScriptedServer(.init(settings: HTTP2Settings(streamsMax: streams))) { peer, request in
            peer.after(.milliseconds(50)) { peer.respond(request, 200) }
        }
    }

    @Test func `it opens more connections while streams are the bottleneck`() async throws {
        let server = try await slowServer(streams: 20)
        let events = EventLog()
        let client = try client(server, events)
        async let first = client.send(Samples.batch(1000), requestTimeout: .seconds(60))
        async let second = client.send(Samples.batch(1000, from: 1000), requestTimeout: .seconds(60))
        let answers = await first + second
        #expect(answers.allSatisfy { $0 == .accepted })
        #expect(server.connections > 1)
        #expect(events.kinds.contains(.resized(connections: 2)))
        // Each push arrived once, and every connection carried some.
        #expect(Set(server.requests.map { $0["apns-id"] }).count == 2000)
        #expect(server.requests.count == 2000)
        #expect(Set(server.requests.map(\.connection)).count == server.connections)
        #expect(client.snapshot().accepted == 2000)
        // Growth without effect may have been reverted, so fewer connections may be left.
        let snapshots = await client.connections()
        #expect(!snapshots.isEmpty && snapshots.reduce(0) { $0 + $1.accepted } <= 2000)
        #expect(snapshots.allSatisfy { $0.address == "127.0.0.1:\(server.port)" })
        await client.shutdown()
    }

    /// APNs allows one stream of a new connection until its first answer.
    @Test func `a push whose first answer is missing does not hold up the next one`() async throws {
        let server = try await ScriptedServer(.init(settings: HTTP2Settings(streamsMax: 1))) { peer, request in
            if request["apns-topic"] == "lost" { peer.hold(request) } else { peer.respond(request, 200) }
        }
        let client = try client(server) { $0.stallTimeout = .seconds(600) }
        let lost = NotificationHeaders(topic: "lost", pushType: .alert)
        async let first = client.send(Samples.batch(1, headers: lost), requestTimeout: .seconds(60))
        try await waitUntil("it has arrived") { server.requests.count == 1 }
        #expect(await client.send(Samples.batch(1, from: 1), requestTimeout: .seconds(40)) == [.accepted])
        #expect(server.connections == 2)
        await client.shutdown(grace: .zero)
        _ = await first
    }

    @Test func `a single push does not wait for the large batches of another receiver`() async throws {
        let server = try await ScriptedServer(.init(settings: HTTP2Settings(streamsMax: 1))) { $0.respond($1, 200) }
        let client = try client(server) { $0.connectionsMax = 1 }
        let (large, small) = (AnswerGroups(), AnswerGroups())
        let single = Samples.batch(1, from: 5000)
        for number in 0..<2 {
            client.send(
                Samples.batch(500, from: number * 500), indexes: nil, ticket: 1,
                timeouts: Samples.timeouts(.seconds(60)), to: large)
        }
        client.send(single, indexes: nil, ticket: 2, timeouts: Samples.timeouts(.seconds(60)), to: small)
        #expect(await small.all().flatMap(\.answers) == [.accepted])
        try await waitUntil("all have arrived") { server.requests.count == 1001 }
        let position = server.requests.firstIndex { $0["apns-id"] == single.id(at: 0).description }
        #expect(try #require(position) <= 2 * RequestQueue.turn)
        await client.shutdown()
    }

    @Test func `few pushes need one connection`() async throws {
        let server = try await slowServer(streams: 1000)
        let client = try client(server)
        for _ in 0..<5 { #expect(await client.send(Samples.batch(500)).allSatisfy { $0 == .accepted }) }
        #expect(server.connections == 1)
        await client.shutdown()
    }

    @Test func `an overdue connection is replaced, and no push is lost or duplicated`() async throws {
        let server = try await slowServer(streams: 1000)
        let events = EventLog()
        let client = try client(server, events) { $0.connectionAgeMax = .milliseconds(300) }
        var sent = 0
        try await waitUntil("a second connection took pushes") {
            #expect(await client.send(Samples.batch(10, from: sent)).allSatisfy { $0 == .accepted })
            sent += 10
            return Set(server.requests.map(\.connection)).count >= 2
        }
        #expect(events.drainReasons(of: 1) == [.age])
        #expect(server.requests.count == sent)
        await client.shutdown()
    }

    @Test func `an overdue idle connection is closed without a replacement`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let events = EventLog()
        let client = try client(server, events) { $0.connectionAgeMax = .milliseconds(200) }
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        try await waitUntil("the connection is gone") { await client.connections().isEmpty }
        #expect(events.drainReasons(of: 1) == [.age])
        #expect(server.connections == 1)
        await client.shutdown()
    }

    @Test func `a connection that acknowledges PINGs and answers no push is replaced`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 { peer.hold(request) } else { peer.respond(request, 200) }
        }
        let events = EventLog()
        let client = try client(server, events) {
            $0.stallTimeout = .milliseconds(200)
            $0.pingInterval = .milliseconds(50)
        }
        async let stuck = client.send(Samples.batch(3), requestTimeout: .seconds(3))
        try await waitUntil("the connection drains") { events.drainReasons(of: 1) == [.stalled] }
        #expect(await client.send(Samples.batch(3, from: 10)).allSatisfy { $0 == .accepted })
        // The server may have accepted them, so they are not sent again.
        #expect(await stuck.allSatisfy { $0 == .failed(.deadlineExceeded, .ambiguous) })
        #expect(server.requests.count == 6)
        await client.shutdown()
    }

    @Test func `a connection with only server errors is replaced`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 {
                peer.respond(request, 500, #"{"reason":"InternalServerError"}"#)
            } else {
                peer.respond(request, 200)
            }
        }
        let events = EventLog()
        let client = try client(server, events)
        let answers = await client.send(Samples.batch(50))
        #expect(answers.allSatisfy { $0.status == 500 })
        #expect(events.drainReasons(of: 1) == [.serverErrors])
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        await client.shutdown()
    }

    @Test func `pushes that one connection refuses repeatedly are sent on another`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 { peer.reset(request, .refusedStream) } else { peer.respond(request, 200) }
        }
        let events = EventLog()
        let client = try client(server, events)
        #expect(await client.send(Samples.batch(20)).allSatisfy { $0 == .accepted })
        #expect(events.drainReasons(of: 1) == [.refusing])
        await client.shutdown()
    }

    @Test func `after GOAWAY before SETTINGS the client connects again`() async throws {
        // A GOAWAY frame: last stream 0, NO_ERROR, and a reason.
        let reason = Array(#"{"reason":"BadCertificate"}"#.utf8)
        let frame = [0, 0, 8 + UInt8(reason.count), 7] + [UInt8](repeating: 0, count: 13) + reason
        let server = try await ScriptedServer(
            .init(onConnect: { peer in
                guard peer.number == 0 else { return }
                peer.write(raw: frame)
                peer.stopResponding()
            })
        ) { $0.respond($1, 200) }
        let events = EventLog()
        let client = try client(server, events)
        #expect(await client.send(Samples.batch(5)).allSatisfy { $0 == .accepted })
        #expect(server.connections == 2)
        #expect(events.kinds.contains(.goAway(code: 0, reason: .badCertificate, lastStream: 0)))
        await client.shutdown()
    }

    @Test func `a GOAWAY before SETTINGS is read when it arrives byte by byte`() async throws {
        let reason = Array(#"{"reason":"BadCertificate"}"#.utf8)
        let frame = [0, 0, 8 + UInt8(reason.count), 7] + [UInt8](repeating: 0, count: 13) + reason
        let server = try await ScriptedServer(
            .init(onConnect: { peer in
                guard peer.number == 0 else { return }
                peer.stopResponding()
                for (index, byte) in frame.enumerated() {
                    peer.after(.milliseconds(Int64(index))) { peer.write(raw: [byte]) }
                }
            })
        ) { $0.respond($1, 200) }
        let events = EventLog()
        let client = try client(server, events)
        #expect(await client.send(Samples.batch(5)).allSatisfy { $0 == .accepted })
        #expect(events.kinds.contains(.goAway(code: 0, reason: .badCertificate, lastStream: 0)))
        await client.shutdown()
    }

    @Test func `a credential that ends two connections is reported without further waiting`() async throws {
        let reason = Array(#"{"reason":"BadCertificateEnvironment"}"#.utf8)
        let frame = [0, 0, 8 + UInt8(reason.count), 7] + [UInt8](repeating: 0, count: 13) + reason
        let server = try await ScriptedServer(
            .init(onConnect: { peer in
                peer.write(raw: frame)
                peer.stopResponding()
            })
        ) { $0.respond($1, 200) }
        let client = try client(server)
        // Waiting until the timeout would take further connections.
        let answers = await client.send(Samples.batch(3), requestTimeout: .seconds(30))
        let refused = APNSAnswer(disposition: .neverWritten, reason: .badCertificateEnvironment, failure: .goAway)
        #expect(answers == [APNSAnswer](repeating: refused, count: 3))
        #expect(server.connections == 2)
        await client.shutdown(grace: .zero)
    }

    @Test func `an idle connection must acknowledge a PING before it gets pushes`() async throws {
        let server = try await ScriptedServer { peer, request in
            peer.respond(request, 200)
            // The connection stays open and is dead.
            if peer.number == 0 { peer.after(.zero) { peer.stopResponding() } }
        }
        let client = try client(server) { $0.idleBeforeProbe = .milliseconds(100) }
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        try await waitUntil("the connection has been idle") {
            (await client.connections().first?.sinceLastAnswer ?? .zero) > .milliseconds(100)
        }
        #expect(await client.send(Samples.batch(5, from: 1)).allSatisfy { $0 == .accepted })
        // No push was written to the dead connection.
        #expect(server.requests.map(\.connection) == [0, 1, 1, 1, 1, 1])
        #expect(client.snapshot().ambiguous == 0)
        await client.shutdown()
    }

    @Test func `a connection with an unacknowledged idle PING gets no pushes`() async throws {
        let server = try await ScriptedServer { peer, request in
            peer.respond(request, 200)
            if peer.number == 0 { peer.after(.zero) { peer.stopResponding() } }
        }
        let client = try client(server) {
            $0.idleBeforeProbe = .milliseconds(100)
            $0.idlePingInterval = .milliseconds(200)
        }
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        // The idle PING is sent at most two seconds late, and times out after five.
        try await waitUntil("an idle PING is in flight") {
            (await client.connections().first?.sinceLastAnswer ?? .zero) > .milliseconds(2500)
        }
        #expect(await client.send(Samples.batch(5, from: 1)).allSatisfy { $0 == .accepted })
        #expect(server.requests.map(\.connection) == [0, 1, 1, 1, 1, 1])
        await client.shutdown()
    }

    @Test func `an answer without an end is cut off at the body limit`() async throws {
        let endless = String(repeating: " ", count: 50_000)
        let server = try await ScriptedServer { peer, request in peer.respond(request, 503, endless) }
        let client = try client(server)
        #expect(
            await client.send(Samples.batch(3)).allSatisfy { $0 == APNSAnswer(disposition: .answered, status: 503) })
        await client.shutdown()
    }

    @Test func `replacing the credential loses no push`() async throws {
        let server = try await ScriptedServer { peer, request in
            peer.after(.milliseconds(20)) { peer.respond(request, 200) }
        }
        let events = EventLog()
        let old = ProviderTokenSource(key: try Samples.key(id: "OLDKEY0000"))
        let new = ProviderTokenSource(key: try Samples.key(id: "NEWKEY0000"))
        let client = try client(server, events) { $0.credential = .token(old) }
        async let first = client.send(Samples.batch(500))
        try await waitUntil("pushes have arrived") { !server.requests.isEmpty }
        try client.replaceCredential(.token(new))
        async let second = client.send(Samples.batch(500, from: 500))
        #expect(await (first + second).allSatisfy { $0 == .accepted })
        #expect(events.drainReasons(of: 1) == [.credentialReplaced])
        #expect(server.requests.count == 1000)
        // No connection carries both keys: APNs would reject the second.
        let tokens = try (old.current().authorization, new.current().authorization)
        for request in server.requests {
            #expect(request["authorization"] == (request.connection == 0 ? tokens.0 : tokens.1))
        }
        #expect(Set(server.requests.map(\.connection)).count == 2)
        await client.shutdown()
    }

    @Test func `the connect rate is limited if the server sends GOAWAY after every push`() async throws {
        let server = try await ScriptedServer { peer, request in
            peer.respond(request, 200)
            peer.goAway(last: request.stream)
        }
        let client = try client(server) { $0.connectionsMax = 1 }
        let start = ContinuousClock.now
        for number in 0..<6 { #expect(await client.send(Samples.batch(1, from: number)) == [.accepted]) }
        // A burst of three, and then one a second: one answer does not prove a connection useful.
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        #expect(server.connections == 6)
        #expect(Double(server.connections) <= ConnectRate.burst + seconds * ConnectRate.perSecond + 1)
        #expect(client.snapshot().connectsDelayed >= 3)
        await client.shutdown()
    }

    @Test func `a server that refuses all but the first stream of a connection is not flooded`() async throws {
        let server = try await ScriptedServer { peer, request in
            if request.stream == 1 { peer.respond(request, 200) } else { peer.reset(request, .refusedStream) }
        }
        let client = try client(server)
        let answers = await client.send(Samples.batch(600), requestTimeout: .seconds(3))
        let accepted = answers.count { $0 == .accepted }
        // The last connection may have opened too late for a push.
        #expect((server.connections - 1...server.connections).contains(accepted), "one push on each connection")
        #expect(server.connections <= 8, "a burst of three, and then one a second")
        #expect(answers.allSatisfy { $0 == .accepted || $0.disposition != .ambiguous })
        // 600, 300, 150 and so on, and few on the next connections; not all of them each time.
        #expect(server.requests.count < 2000)
        #expect(Dictionary(grouping: server.requests) { $0["apns-id"] }.values.allSatisfy { $0.count <= 6 })
        await client.shutdown(grace: .zero)
    }

    @Test func `a push is sent again five times and then reported as refused`() async throws {
        let server = try await ScriptedServer { peer, request in
            if request["apns-topic"] == "later" { return peer.respond(request, 200) }
            peer.reset(request, .refusedStream)
        }
        let client = try client(server)
        #expect(await client.send(Samples.batch(1)) == [.failed(.streamRefused, .refused)])
        #expect(server.requests.count == 6)
        #expect(client.snapshot().requeued == 5 && client.snapshot().requeueLimit == 1)
        let later = NotificationHeaders(topic: "later", pushType: .alert)
        #expect(await client.send(Samples.batch(300, from: 1, headers: later)).allSatisfy { $0 == .accepted })
        await client.shutdown()
    }

    @Test func `a connection whose window is never enlarged is replaced, and no push is lost or duplicated`()
        async throws
    {
        // The server reads one window and no more: its session returns no window on the first connection.
        let server = try await ScriptedServer(.init(keepsWindow: { $0 == 0 })) { $0.respond($1, 200) }
        let events = EventLog()
        let client = try client(server, events) { $0.stallTimeout = .milliseconds(300) }
        let answers = await client.send(Samples.batch(200, payloadBytes: 1000), requestTimeout: .seconds(60))
        #expect(answers.allSatisfy { $0 == .accepted })
        #expect(events.drainReasons(of: 1) == [.stalled])
        #expect(Set(server.requests.map { $0["apns-id"] }).count == 200 && server.requests.count == 200)
        await client.shutdown()
    }

    @Test func `an attempt that hangs does not hold up the next one`() async throws {
        let server = try await ScriptedServer(
            .init(onConnect: { if $0.number < 2 { $0.stopResponding() } })
        ) { $0.respond($1, 200) }
        let client = try client(server) { $0.connectTimeout = .seconds(60) }
        #expect(await client.send(Samples.batch(3), requestTimeout: .seconds(30)).allSatisfy { $0 == .accepted })
        #expect(server.connections == 3)
        // The attempts that hung are closed, not kept until their timeout.
        try await waitUntil("one connection is left") { await client.connections().count == 1 }
        await client.shutdown()
    }
}
