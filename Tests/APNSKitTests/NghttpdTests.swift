import APNSKit
import APNSWire
import Testing

/// The client against the HTTP/2 server of the nghttp2 project.
@Suite(.serialized, .enabled(if: Nghttpd.isInstalled, "nghttpd is not installed"))
struct `APNSClient and nghttpd` {
    // nghttpd stores each body in a file, so the counts are small.
    @Test(arguments: [(1, 1_000), (10, 4_000), (100, 10_000), (1000, 20_000)])
    func `all pushes are answered with 200`(streams: Int, count: Int) async throws {
        let server = try await Nghttpd(streamsMax: streams)
        let client = try Samples.client(port: server.port) { $0.requiresAPNSID = false }
        let answers = await withTaskGroup(of: [APNSAnswer].self) { group in
            for first in stride(from: 0, to: count, by: 1000) {
                group.addTask { await client.send(Samples.batch(1000, from: first), requestTimeout: .seconds(300)) }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(answers.count == count)
        #expect(answers.allSatisfy { $0 == .accepted })
        let snapshot = client.snapshot()
        #expect(snapshot.accepted == UInt64(count))
        #expect(snapshot.sent == UInt64(count))
        #expect(snapshot.requeued == 0)
        #expect(snapshot.connects == 1)
        #expect(snapshot.streamsMax == streams)
        await client.shutdown()
    }

    @Test func `payloads larger than the flow-control window arrive`() async throws {
        let server = try await Nghttpd(streamsMax: 1000)
        let client = try Samples.client(port: server.port) { $0.requiresAPNSID = false }
        let answers = await client.send(Samples.batch(1000, payloadBytes: 4096))
        #expect(answers == [APNSAnswer](repeating: .accepted, count: 1000))
        await client.shutdown()
    }

    @Test func `one notification is sent and answered`() async throws {
        let server = try await Nghttpd()
        let client = try Samples.client(port: server.port) { $0.requiresAPNSID = false }
        let notification = APNSNotification(
            deviceToken: DeviceToken(bytes: Samples.token(1))!, headers: Samples.headers, payload: Array("{}".utf8)
        )
        let response = try await client.send(notification)
        #expect(response.isAccepted)
        #expect(response.id == notification.id)
        await client.shutdown()
    }
}
