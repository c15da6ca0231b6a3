import APNSKit
import APNSWire
import Testing

/// Answers of servers that are not APNs: proxies, portals, wrong hosts.
@Suite struct `Answers that are not those of APNs` {
    private func answer(
        _ client: (inout APNSClientConfiguration) -> Void = { _ in }, _ script: @escaping ScriptedServer.Script
    ) async throws -> (APNSAnswer, APNSClientSnapshot) {
        let server = try await ScriptedServer(script: script)
        let client = try Samples.client(port: server.port, client)
        let answer = await client.send(Samples.batch(1))[0]
        let snapshot = client.snapshot()
        await client.shutdown(grace: .zero)
        return (answer, snapshot)
    }

    @Test(arguments: [200, 204, 302, 400, 403, 404, 407, 408, 410, 413, 421, 425, 429])
    func `have no reason, and are reported with their status`(_ status: Int) async throws {
        let (answer, snapshot) = try await answer {
            $0.respond(
                $1, status, status == 204 ? "" : "<html>no</html>",
                fields: [("server", "nginx"), ("content-type", "text/html")], hasID: status != 200 && status != 404)
        }
        #expect(answer == APNSAnswer(disposition: .answered, status: UInt16(status), failure: .notAPNs))
        #expect(!answer.isAccepted && snapshot.accepted == 0)
        let failure = try #require(snapshot.outage?.failure)
        #expect(failure.cause == .notAPNs && snapshot.failures == [.notAPNs: 1])
        #expect(
            failure.detail
                == "the server does not answer as APNs does: status \(status), server nginx, content type text/html")
    }

    @Test func `are recognised in a long page`() async throws {
        let (answer, _) = try await answer { $0.respond($1, 404, String(repeating: "<p>", count: 4_000)) }
        #expect(answer == APNSAnswer(disposition: .answered, status: 404, failure: .notAPNs))
    }

    @Test func `include server errors without an ID, and no others`() async throws {
        let (foreign, _) = try await answer { $0.respond($1, 502, "<html>", hasID: false) }
        #expect(foreign == APNSAnswer(disposition: .answered, status: 502, failure: .notAPNs))
        let (own, snapshot) = try await answer { $0.respond($1, 502, "<html>") }
        #expect(own == APNSAnswer(disposition: .answered, status: 502))
        #expect(snapshot.outage == nil)
    }

    @Test func `do not include a reason that is not known`() async throws {
        let (answer, snapshot) = try await answer { $0.respond($1, 400, #"{"reason":"Moon"}"#, hasID: false) }
        #expect(answer == APNSAnswer(disposition: .answered, status: 400, reason: .unknown))
        #expect(snapshot.outage == nil)
    }

    @Test func `can be accepted from servers for tests`() async throws {
        let (answer, _) = try await answer({ $0.requiresAPNSID = false }, { $0.respond($1, 200, hasID: false) })
        #expect(answer == .accepted)
    }

    @Test func `replace the connection after three, and end with an answer of APNs`() async throws {
        let server = try await ScriptedServer { peer, request in
            if peer.number == 0 { peer.respond(request, 200, hasID: false) } else { peer.respond(request, 200) }
        }
        let client = try Samples.client(port: server.port)
        for number in 0..<3 {
            #expect(client.snapshot().connects <= 1)
            #expect(await client.send(Samples.batch(1, from: number))[0].failure == .notAPNs)
            #expect(client.snapshot().outage?.failure.cause == .notAPNs)
        }
        #expect(await client.send(Samples.batch(1, from: 3)) == [.accepted])
        #expect(client.snapshot().outage == nil && server.connections == 2)
        await client.shutdown()
    }

    @Test func `have a hint that is safe to log`() async throws {
        let (_, snapshot) = try await answer {
            $0.respond($1, 404, fields: [("server", "a\u{e9}\"b" + String(repeating: "x", count: 500))])
        }
        let detail = try #require(snapshot.outage?.failure.detail)
        #expect(detail.contains("server a?\"bxxx"), "\(detail)")
        #expect(detail.utf8.count < 200 && detail.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "\(detail)")
    }
}
