import APNSKit
import APNSWire
import HTTP2Session
import Synchronization
import Testing

/// The client against a scripted server.
@Suite struct `APNSConnection` {
    private func settings(_ streamsMax: UInt32) -> ScriptedServer.Options {
        ScriptedServer.Options(settings: HTTP2Settings(streamsMax: streamsMax))
    }

    // MARK: Requests

    @Test func `a request has the fields that APNs requires, in order`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port, host: "localhost")
        let headers = NotificationHeaders(
            topic: "com.example.app.voip", pushType: .voip, priority: .conserving, collapseID: "score-1"
        )
        let batch = Samples.batch(2, headers: headers, expiration: 2_000_000_000)
        #expect(await client.send(batch) == [.accepted, .accepted])
        let requests = server.requests
        #expect(requests.count == 2)
        for (index, request) in requests.enumerated() {
            let token = DeviceToken(bytes: Samples.token(index))!.hex
            #expect(
                request.fields.map { "\($0.name): \($0.value)" } == [
                    ":method: POST", ":scheme: https", ":authority: localhost:\(server.port)",
                    ":path: /3/device/\(token)",
                    "apns-topic: com.example.app.voip", "apns-push-type: voip", "apns-priority: 5",
                    "apns-id: \(batch.id(at: index))", "apns-expiration: 2000000000", "apns-collapse-id: score-1",
                ]
            )
            #expect(request.body == Array(batch.payload(at: index)))
        }
        await client.shutdown()
    }

    @Test func `consecutive pushes with different headers keep their own fields`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port)
        var batch = NotificationBatch(firstID: .random())
        let plain = NotificationHeaders(topic: "a.b", pushType: .alert)
        let full = NotificationHeaders(topic: "c.d", pushType: .background, priority: .low, collapseID: "x")
        for index in 0..<60 {
            batch.append(
                token: [UInt8](repeating: UInt8(index), count: index % 3 == 0 ? 32 : 80),
                payload: Array("{\"n\":\(index)}".utf8),
                headers: index % 5 == 0 ? plain : full, expiration: index % 2 == 0 ? -1 : Int64(1_900_000_000 + index)
            )
        }
        #expect(await client.send(batch).allSatisfy { $0 == .accepted })
        for request in server.requests {
            let index = try #require((0..<60).first { "\(batch.id(at: $0))" == request["apns-id"] })
            #expect(request[":path"] == "/3/device/\(DeviceToken(bytes: Array(batch.token(at: index)))!.hex)")
            #expect(request["apns-topic"] == (index % 5 == 0 ? "a.b" : "c.d"))
            #expect(request["apns-priority"] == (index % 5 == 0 ? nil : "1"))
            #expect(request["apns-collapse-id"] == (index % 5 == 0 ? nil : "x"))
            #expect(request["apns-expiration"] == (index % 2 == 0 ? nil : "\(1_900_000_000 + index)"))
            #expect(request.body == Array("{\"n\":\(index)}".utf8))
        }
        #expect(server.requests.count == 60)
        await client.shutdown()
    }

    @Test func `only the pushes in indexes are sent`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port)
        let groups = AnswerGroups()
        client.send(
            Samples.batch(10), indexes: [7, 2], ticket: 5, timeouts: Samples.timeouts(.seconds(60)), to: groups)
        let all = await groups.all()
        #expect(all.flatMap(\.indexes).sorted() == [2, 7])
        #expect(all.allSatisfy { $0.ticket == 5 })
        #expect(server.requests.count == 2)
        #expect(await client.send(NotificationBatch(firstID: .random())).isEmpty)
        await client.shutdown()
    }

    @Test(arguments: ["", "a\nb", "a\r\nx: y", "a\0", " a", "a ", String(repeating: "x", count: 2000)])
    func `a push with an invalid topic is not sent`(_ topic: String) async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port)
        let invalid = NotificationHeaders(topic: topic, pushType: .alert)
        #expect(await client.send(Samples.batch(1, headers: invalid)) == [.failed(.protocolError, .neverWritten)])
        #expect(await client.send(Samples.batch(1)) == [.accepted])
        #expect(server.requests.count == 1)
        await client.shutdown()
    }

    @Test func `no push is sent after its expiration`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let time = TestWallClock()
        let client = try Samples.client(port: server.port) { $0.clock = time.clock }
        let expired = await client.send(Samples.batch(3, expiration: time.seconds))
        #expect(expired == [APNSAnswer](repeating: .failed(.expired, .neverWritten), count: 3))
        #expect(await client.send(Samples.batch(1, expiration: time.seconds + 1)) == [.accepted])
        #expect(await client.send(Samples.batch(1, expiration: 0)) == [.accepted])
        #expect(server.requests.count == 2)
        await client.shutdown()
    }

    @Test func `a push that expires in the queue is not sent`() async throws {
        let time = TestWallClock()
        let expiration = time.seconds + 30
        // Both batches wait for the connection, which has one stream; its answer takes half a minute of wall-clock
        // time.
        let server = try await ScriptedServer(settings(1)) { peer, request in
            time.advance(by: 30)
            peer.respond(request, 200)
        }
        let client = try Samples.client(port: server.port) { $0.clock = time.clock }
        let (first, queued) = (AnswerGroups(), AnswerGroups())
        client.send(Samples.batch(1), indexes: nil, ticket: 1, timeouts: Samples.timeouts(.seconds(60)), to: first)
        client.send(
            Samples.batch(3, from: 10, expiration: expiration), indexes: nil, ticket: 2,
            timeouts: Samples.timeouts(.seconds(60)),
            to: queued
        )
        #expect(await first.all().flatMap(\.answers) == [.accepted])
        let answers = await queued.all().flatMap(\.answers)
        #expect(answers == [APNSAnswer](repeating: .failed(.expired, .neverWritten), count: 3))
        #expect(server.requests.count == 1)
        await client.shutdown()
    }

    // MARK: Answers

    @Test(
        arguments: [
            (400, #"{"reason":"BadDeviceToken"}"#, APNSReason.badDeviceToken, 0),
            (410, #"{"reason":"Unregistered","timestamp":1712000000123}"#, .unregistered, 1_712_000_000_123),
            (403, #"{"reason":"InvalidProviderToken"}"#, .invalidProviderToken, 0),
            (413, #"{"reason":"PayloadTooLarge"}"#, .payloadTooLarge, 0),
            (429, #"{"reason":"TooManyRequests"}"#, .tooManyRequests, 0),
            (503, #"{"reason":"Shutdown"}"#, .shutdown, 0),
            (500, "", .none, 0),
            (502, "<html>Bad gateway</html>", .none, 0),
            (418, #"{"reason":"Teapot"}"#, .unknown, 0),
            (204, "", .none, 0),
        ] as [(Int, String, APNSReason, Int64)])
    func `every status and body becomes an answer`(
        status: Int, body: String, reason: APNSReason, timestamp: Int64
    ) async throws {
        let server = try await ScriptedServer { $0.respond($1, status, body, fields: [("retry-after", "17")]) }
        let client = try Samples.client(port: server.port)
        let groups = AnswerGroups()
        client.send(Samples.batch(2), indexes: nil, ticket: 0, timeouts: Samples.timeouts(.seconds(60)), to: groups)
        let all = await groups.all()
        let expected = APNSAnswer(
            disposition: .answered, status: UInt16(status), reason: reason, failure: status == 204 ? .notAPNs : .none,
            tokenInvalidAtMilliseconds: timestamp, retryAfterSeconds: 17
        )
        #expect(all.flatMap(\.answers) == [expected, expected])
        let unknown = all.reduce(into: [:]) { $0.merge($1.unknownReasons) { a, _ in a } }
        #expect(unknown == (reason == .unknown ? [0: "Teapot", 1: "Teapot"] : [:]))
        await client.shutdown()
    }

    @Test(arguments: [("99999999999", UInt32.max), ("0", 0), ("soon", 0), ("", 0), ("-5", 0)])
    func `a Retry-After that is too long counts as the maximum, and one that is no number as none`(
        _ text: String, _ seconds: UInt32
    ) async throws {
        let server = try await ScriptedServer { $0.respond($1, 503, "", fields: [("retry-after", text)]) }
        let client = try Samples.client(port: server.port)
        let groups = AnswerGroups()
        client.send(Samples.batch(1), indexes: nil, ticket: 0, timeouts: Samples.timeouts(.seconds(60)), to: groups)
        #expect(await groups.all().flatMap(\.answers).map(\.retryAfterSeconds) == [seconds])
        await client.shutdown()
    }

    @Test func `a slow push does not delay the answers to the others`() async throws {
        let slow = "\(Samples.batch(1).id(at: 0))"
        let server = try await ScriptedServer { peer, request in
            if request["apns-id"] == slow { return peer.hold(request) }
            for held in peer.takeHeld() where request["apns-topic"] == "release" { peer.respond(held, 200) }
            peer.respond(request, 200)
        }
        let client = try Samples.client(port: server.port)
        let first = FirstAnswers()
        client.send(Samples.batch(50), indexes: nil, ticket: 0, timeouts: Samples.timeouts(.seconds(60)), to: first)
        let answers = await first.value()
        #expect(!answers.isLast)
        #expect(!answers.indexes.contains(0))
        await client.shutdown(grace: .zero)
    }

    // MARK: Streams

    @Test func `the server's stream limit is never exceeded`() async throws {
        let peak = Mutex(0)
        let server = try await ScriptedServer(settings(3)) { peer, request in
            peer.hold(request)
            peak.withLock { $0 = max($0, peer.held.count) }
            // 20 pushes are six groups of three, and two.
            if peer.held.count == 3 || request["apns-id"] == "\(Samples.batch(20).id(at: 19))" {
                for request in peer.takeHeld() { peer.respond(request, 200) }
            }
        }
        let client = try Samples.client(port: server.port)
        #expect(await client.send(Samples.batch(20)).allSatisfy { $0 == .accepted })
        #expect(peak.withLock { $0 } == 3)
        #expect(server.requests.count == 20)
        await client.shutdown()
    }

    @Test func `the stream limit rises from one to a thousand and falls to one, as with APNs`() async throws {
        // Waits for a thousand requests, which requires the raised limit.
        let server = try await ScriptedServer(settings(1)) { peer, request in
            if peer.session.lastProcessedStream == 1 { peer.setStreamsMax(1000) }
            guard request.stream > 1 else { return peer.respond(request, 200) }
            peer.hold(request)
            guard peer.held.count == 999 else { return }
            peer.setStreamsMax(1)
            for request in peer.takeHeld() { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port)
        #expect(await client.send(Samples.batch(1000)).allSatisfy { $0 == .accepted })
        #expect(client.snapshot().streamsMax == 1)
        #expect(client.snapshot().requeued == 0)
        await client.shutdown()
    }

    @Test func `a refused push is sent again with the same ID`() async throws {
        let seen = Mutex<Set<String>>([])
        let server = try await ScriptedServer { peer, request in
            let isNew = seen.withLock { $0.insert(request["apns-id"]!).inserted }
            if isNew { peer.reset(request, .refusedStream) } else { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port)
        #expect(await client.send(Samples.batch(100)).allSatisfy { $0 == .accepted })
        #expect(client.snapshot().requeued == 100)
        #expect(server.requests.count == 200)
        #expect(client.snapshot().connects == 1)
        await client.shutdown()
    }

    @Test func `a push that is refused repeatedly is reported`() async throws {
        let server = try await ScriptedServer { $0.reset($1, .refusedStream) }
        let client = try Samples.client(port: server.port)
        let answers = await client.send(Samples.batch(1), requestTimeout: .seconds(1))
        #expect(answers == [.failed(.streamRefused, .refused)])
        // Sent on several connections, and at most 21 times.
        #expect(server.connections > 1)
        #expect((2...21).contains(server.requests.count))
        await client.shutdown()
    }

    @Test func `a push on a reset stream is ambiguous and not sent again`() async throws {
        let server = try await ScriptedServer { $0.reset($1, .internalError) }
        let client = try Samples.client(port: server.port)
        #expect(await client.send(Samples.batch(1)) == [.failed(.streamReset, .ambiguous)])
        #expect(server.requests.count == 1)
        await client.shutdown()
    }

    @Test func `a push whose body does not fit the window was never written`() async throws {
        let options = ScriptedServer.Options(settings: HTTP2Settings(streamsMax: 10, initialWindowBytes: 0))
        let server = try await ScriptedServer(options) { $0.respond($1, 200) }
        let client = try Samples.client(port: server.port)
        let answers = await client.send(Samples.batch(2), requestTimeout: .milliseconds(300))
        #expect(answers == [APNSAnswer](repeating: .failed(.deadlineExceeded, .neverWritten), count: 2))
        #expect(server.requests.isEmpty)
        await client.shutdown()
    }
}

/// Lets a test wait for the first group of answers.
private final class FirstAnswers: APNSAnswerReceiver {
    private let stream: AsyncStream<APNSAnswers>
    private let continuation: AsyncStream<APNSAnswers>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream()
    }

    func receive(_ answers: APNSAnswers) { continuation.yield(answers) }
    func value() async -> APNSAnswers { await stream.first { _ in true }! }
}
