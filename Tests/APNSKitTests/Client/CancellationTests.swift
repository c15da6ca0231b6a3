import APNSKit
import APNSWire
import HTTP2Session
import PushTesting
import Testing

/// Cancelled tasks return from every method that waits. No other limit ends a wait here: all of them are an hour.
@Suite struct `Cancellation` {
    private static let hour = Duration.seconds(3600)

    private func client(
        _ server: ScriptedServer, _ change: (inout APNSClientConfiguration) -> Void = { _ in }
    ) throws -> APNSClient {
        try Samples.client(port: server.port) {
            $0.connectTimeout = Self.hour
            $0.stallTimeout = Self.hour
            change(&$0)
        }
    }

    private func notification(_ number: UInt8) -> APNSNotification {
        APNSNotification(
            deviceToken: DeviceToken(bytes: [number])!, headers: Samples.headers, payload: Array("{}".utf8))
    }

    /// A task that sends one push and returns the error.
    private func send(_ number: UInt8, with client: APNSClient) -> Task<APNSSendError?, Never> {
        let push = notification(number)
        return Task {
            do throws(APNSSendError) {
                _ = try await client.send(push, requestTimeout: Self.hour)
                return nil
            } catch {
                return error
            }
        }
    }

    private let neverWritten = APNSSendError(.failed(.cancelled, .neverWritten))
    private let ambiguous = APNSSendError(.failed(.cancelled, .ambiguous))

    @Test func `a push that waits for a connection is never sent`() async throws {
        var options = ScriptedServer.Options()
        options.isSilent = true
        let server = try await ScriptedServer(options) { $0.respond($1, 200) }
        let client = try client(server)
        let task = send(1, with: client)
        try await waitUntil("the connection") { server.connections == 1 }
        task.cancel()
        #expect(await task.value == neverWritten)
        try await waitUntil("an empty queue") { client.snapshot().waiting == 0 && client.snapshot().unsent == 1 }
        await client.shutdown(grace: .zero)
    }

    @Test func `a push in the queue is never sent, and the others are`() async throws {
        let isReleased = ReleaseFlag()
        var options = ScriptedServer.Options()
        options.settings = HTTP2Settings(streamsMax: 1)
        let server = try await ScriptedServer(options) { peer, request in
            peer.respond(request, 200, after: isReleased)
        }
        let client = try client(server)
        async let first = client.send(Samples.batch(1), requestTimeout: Self.hour)
        try await waitUntil("the first request") { server.requests.count == 1 }
        let second = send(2, with: client)
        try await waitUntil("the second push in the queue") { client.snapshot().waiting == 1 }
        second.cancel()
        #expect(await second.value == neverWritten)
        isReleased.set()
        #expect(await first == [.accepted])
        #expect(await client.send(Samples.batch(1, from: 9), requestTimeout: Self.hour) == [.accepted])
        #expect(server.requests.count == 2)
        await client.shutdown()
    }

    @Test func `a push whose request is not completely written is never sent`() async throws {
        var options = ScriptedServer.Options()
        options.settings = HTTP2Settings(streamsMax: 10, initialWindowBytes: 0)
        let server = try await ScriptedServer(options) { $0.respond($1, 200) }
        let client = try client(server)
        let task = send(1, with: client)
        try await waitUntil("the request") { client.snapshot().sent == 1 }
        task.cancel()
        #expect(await task.value == neverWritten)
        #expect(client.snapshot().resets == 1)
        #expect(server.requests.isEmpty)
        await client.shutdown(grace: .zero)
    }

    @Test func `a written push is ambiguous, and its answer still counts`() async throws {
        let server = try await ScriptedServer { peer, request in
            if request["apns-topic"] == "last" {
                for held in peer.takeHeld() { peer.respond(held, 200) }
                return peer.respond(request, 200)
            }
            peer.hold(request)
        }
        let client = try client(server) { $0.queuedPushesMax = 2 }
        let task = send(1, with: client)
        try await waitUntil("the request") { server.requests.count == 1 }
        task.cancel()
        #expect(await task.value == ambiguous)
        #expect(client.snapshot().resets == 0, "the stream stays open")
        let last = NotificationHeaders(topic: "last", pushType: .alert)
        #expect(await client.send(Samples.batch(1, headers: last)) == [.accepted])
        try await waitUntil("both answers") { client.snapshot().accepted == 2 }
        // Both have left the client.
        #expect(await client.send(Samples.batch(2, headers: last)).allSatisfy { $0 == .accepted })
        await client.shutdown()
    }

    @Test func `a push that is refused after the cancellation is not sent again`() async throws {
        let server = try await ScriptedServer { peer, request in
            if request["apns-topic"] == "last" {
                for held in peer.takeHeld() { peer.reset(held, .refusedStream) }
                return peer.respond(request, 200)
            }
            peer.hold(request)
        }
        let client = try client(server)
        let task = send(1, with: client)
        try await waitUntil("the request") { server.requests.count == 1 }
        task.cancel()
        #expect(await task.value == ambiguous)
        let last = NotificationHeaders(topic: "last", pushType: .alert)
        #expect(await client.send(Samples.batch(1, headers: last)) == [.accepted])
        try await waitUntil("the refusal") { client.snapshot().unsent == 1 }
        #expect(server.requests.count == 2 && client.snapshot().requeued == 0)
        await client.shutdown()
    }

    @Test func `a batch returns the answers that have arrived`() async throws {
        var options = ScriptedServer.Options()
        options.settings = HTTP2Settings(streamsMax: 4)
        let first = Samples.batch(10).id(at: 0).description
        let server = try await ScriptedServer(options) { peer, request in
            if request["apns-id"] == first { peer.respond(request, 200) } else { peer.hold(request) }
        }
        let client = try client(server)
        let task = Task { await client.send(Samples.batch(10), requestTimeout: Self.hour) }
        try await waitUntil("five requests") { server.requests.count == 5 && client.snapshot().answered == 1 }
        task.cancel()
        let answers = await task.value
        #expect(answers[0] == .accepted)
        #expect(answers[1...4].allSatisfy { $0 == .failed(.cancelled, .ambiguous) })
        #expect(answers[5...].allSatisfy { $0 == .failed(.cancelled, .neverWritten) })
        await client.shutdown(grace: .zero)
    }

    @Test func `a task that is cancelled before it sends does not connect`() async throws {
        let server = try await ScriptedServer { $0.respond($1, 200) }
        let client = try client(server)
        let push = notification(1)
        let task = Task {
            // Ends with the cancellation only.
            for await _ in AsyncStream<Void>.makeStream().stream {}
            #expect(await client.send(Samples.batch(2)).allSatisfy { $0 == .failed(.cancelled, .neverWritten) })
            await #expect(throws: neverWritten) { try await client.send(push) }
            #expect(await client.connections().isEmpty)
        }
        task.cancel()
        await task.value
        #expect(client.snapshot().unsent == 0 && client.snapshot().state == .idle)
        await client.shutdown()
        #expect(server.connections == 0)
    }

    @Test func `thousands of tasks are cancelled together`() async throws {
        var options = ScriptedServer.Options()
        options.isSilent = true
        let server = try await ScriptedServer(options) { $0.respond($1, 200) }
        let client = try client(server)
        let push = notification(1)
        let count = 5000
        let task = Task {
            await withTaskGroup(of: APNSSendError?.self) { group in
                for _ in 0..<count {
                    group.addTask {
                        do throws(APNSSendError) {
                            _ = try await client.send(push, requestTimeout: Self.hour)
                            return nil
                        } catch {
                            return error
                        }
                    }
                }
                return await group.reduce(0) { $0 + ($1 == neverWritten ? 1 : 0) }
            }
        }
        try await waitUntil("all in the queue") { client.snapshot().waiting == count }
        task.cancel()
        #expect(await task.value == count)
        #expect(client.snapshot().waiting == 0)
        await client.shutdown(grace: .zero)
    }

    @Test func `shutdown reports the pushes in flight and returns`() async throws {
        let server = try await ScriptedServer { $0.hold($1) }
        let client = try client(server)
        let push = send(1, with: client)
        try await waitUntil("the request") { server.requests.count == 1 }
        async let other: Void = client.shutdown(grace: Self.hour)
        let task = Task { await client.shutdown(grace: Self.hour) }
        try await waitUntil("the shutdown") { client.snapshot().state == .closed }
        task.cancel()
        await task.value
        await other
        #expect(await push.value == APNSSendError(.failed(.clientClosed, .ambiguous)))
    }
}
