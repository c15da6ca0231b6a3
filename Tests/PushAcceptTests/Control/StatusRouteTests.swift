import APNSWire
import Foundation
import MemoryBackend
import PushAccept
import PushModel
import PushStore
import Testing

@Suite struct `Status queries` {
    private static let batch = BatchID(APNSID("0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0000")!)!
    private func run(_ body: @Sendable (TestGateway) async throws -> Void) async throws {
        let queue = FaultyStore()
        let lease = try queue.backend.appendClaimed(storedBatch(3, id: Self.batch, lane: .bulk))
        let rejected = Outcome(
            index: 1, verdict: .rejected, code: .notSubscribed, status: 410, attempts: 2,
            reason: .known(.unregistered), tokenDeadAt: 1_700_000_000_123, uniqueID: "5F1C-x"
        )
        let retry = Retry(index: 2, code: .none, attempts: 0, due: TestGateway.now + .milliseconds(877))
        _ = try queue.backend.settle([
            Settlement(lease: lease, retries: [retry], at: TestGateway.now),
            Settlement(lease: lease, outcomes: [rejected], release: .release, at: TestGateway.now + .seconds(2)),
        ])
        try await TestGateway.run(queue: queue, body)
    }

    @Test func `the state of one push is found by its id`() async throws {
        try await run { gateway in
            let rejected = try await gateway.send("GET", "/api/v1/messages/\(Self.batch.push(1))")
            #expect(rejected.status == 200)
            #expect(
                rejected.body == """
                    {"msg_id":"0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0001","app":"demo","lane":"bulk","state":"rejected",\
                    "code":3002,"error":"not_subscribed","reason":"Unregistered","apns_status":410,"apns_unique_id":"5F1C-x","attempts":2,\
                    "accepted_at":"2025-11-23T12:00:00.123Z","updated_at":"2025-11-23T12:00:02.123Z",\
                    "token_dead_at":"2023-11-14T22:13:20.123Z"}

                    """
            )
            let upper = try await gateway.send("GET", "/api/v1/messages/\(Self.batch.push(2).description.uppercased())")
            #expect(upper.json["state"] as? String == "retrying")
            #expect(upper.json["next_attempt_at"] as? String == "2025-11-23T12:00:01.000Z")
            #expect(upper.json["updated_at"] as? String == "2025-11-23T12:00:00.123Z")
            #expect(upper.json["error"] == nil)
            let unknown = try await gateway.send("GET", "/api/v1/messages/\(Self.batch.push(9))")
            #expect(unknown.status == 404)
            #expect(unknown.headers["content-type"] == "application/problem+json")
        }
    }

    @Test func `a push that is due and waits has no time of a next attempt`() async throws {
        let queue = FaultyStore()
        let batch = storedBatch(1)
        let lease = try queue.backend.appendClaimed(batch)
        let retry = Retry(index: 0, code: .apnsUnavailable, attempts: 1, due: TestGateway.now + .seconds(-60))
        _ = try queue.backend.settle([
            Settlement(lease: lease, retries: [retry], release: .release, at: TestGateway.now)
        ])
        try await TestGateway.run(queue: queue) { gateway in
            let status = try await gateway.send("GET", "/api/v1/messages/\(batch.id.push(0))").json
            #expect(status["state"] as? String == "retrying")
            #expect(status["updated_at"] is String)
            #expect(status["next_attempt_at"] == nil)
        }
    }

    @Test func `a query by lines that is cut off says so`() async throws {
        try await run { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /api/v1/messages/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
                        + "Content-Length: 1000\r\n\r\n\(Self.batch.push(1))\n\(Self.batch.push(2))")
                client.closeOutput()
                return try client.readResponse()
            }
            #expect(response.lines.map { $0["state"] as? String } == ["rejected", "unavailable"])
            let code = response.lines.last?["code"] as? Int
            #expect(code == Int(ErrorCode.truncatedStream.rawValue))
        }
    }

    @Test func `the state of a waiting push has the reason`() async throws {
        let delay = DeliveryDelay(
            reason: .credentialRefused, estimate: .seconds(20), detail: "InvalidProviderToken for key ID K")
        let dispatch = AcceptDispatch(
            handoff: FakeHandoff(), delay: { $0 == AppEnvironment(AppID("demo")) ? delay : nil })
        let queue = FaultyStore()
        let batches = (0..<5).map { storedBatch(1, notBefore: $0 == 2 ? TestGateway.now + .seconds(60) : nil) }
        _ = try queue.backend.append([NewBatch(batch: batches[0]), NewBatch(batch: batches[2])])
        let leases = try [1, 3, 4].map { try queue.backend.appendClaimed(batches[$0]) }
        let retry = Retry(index: 0, code: .none, attempts: 1, due: TestGateway.now + .seconds(60))
        let delivered = Outcome(index: 0, verdict: .delivered, code: .none, attempts: 1)
        _ = try queue.backend.settle([
            Settlement(lease: leases[0], retries: [retry], release: .release, at: TestGateway.now),
            Settlement(lease: leases[2], outcomes: [delivered], at: TestGateway.now),
        ])
        let pushes = batches.map { $0.id.push(0) }
        let states: [PushStatus.State] = [.queued, .retrying, .scheduled, .sending, .settled(.delivered)]
        #expect(try queue.backend.find(pushes).map { $0?.state } == states)
        try await TestGateway.run(queue: queue, dispatch: dispatch) { gateway async throws in
            let one = try await gateway.send("GET", "/api/v1/messages/\(pushes[0])")
            let detail = #""detail":"InvalidProviderToken for key ID K""#
            #expect(one.body.hasSuffix(#","delayed":"credential_refused","estimate":20,\#(detail)}"# + "\n"))
            #expect(try await gateway.send("GET", "/api/v1/apps").body.contains(detail))
            let ids = pushes.map(\.description).joined(separator: "\n")
            let many = try await gateway.post("/api/v1/messages/query", ids, type: "application/x-ndjson")
            let reason = "credential_refused"
            #expect(many.lines.map { $0["delayed"] as? String } == [reason, reason, nil, nil, nil])
        }
    }

    @Test func `many pushes are queried by a list or by lines`() async throws {
        try await run { gateway in
            let ids = [1, 9, 2].map { Self.batch.push($0).description }
            let states = ["rejected", "unknown", "retrying"]
            let list = try await gateway.post(
                "/api/v1/messages/query", #"{"ids":["\#(ids.joined(separator: "\",\""))"]}"#
            )
            #expect(list.headers["content-type"] == "application/x-ndjson")
            #expect(list.lines.map { $0["state"] as? String } == states)
            let lines = try await gateway.post(
                "/api/v1/messages/query", "\(ids[0])\r\n\n \"\(ids[1])\"\nnonsense\n\(ids[2])",
                type: "application/x-ndjson"
            )
            #expect(lines.lines.map { $0["state"] as? String } == ["rejected", "unknown", "invalid", "retrying"])
            #expect(lines.lines[2]["detail"] as? String == "the line with index 2 is not a msg_id")
            let plain = try await gateway.post("/api/v1/messages/query", ids[2], type: "application/x-ndjson")
            #expect(plain.lines.count == 1)
        }
    }

    @Test(arguments: [
        ("[]", 2021), ("{\"ids\":1}", 2021), ("{\"ids\":[1]}", 2021), ("{\"ids\":[\"x\"]}", 3018),
        ("{\"id\":[]}", 2023),
        ("{\"ids\":[],\"more\":1}", 2023), ("{\"ids\":[", 2020),
    ])
    func `an invalid list is refused`(body: String, code: Int) async throws {
        try await run { gateway in
            let response = try await gateway.post("/api/v1/messages/query", body)
            #expect(response.status == 400)
            #expect(response.json["code"] as? Int == code)
        }
    }

    @Test func `100,000 ids may be sent before the response is read`() async throws {
        try await run { gateway in
            let port = gateway.port
            let count = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /api/v1/messages/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
                        + "Transfer-Encoding: chunked\r\n\r\n"
                )
                let chunk = String(repeating: Self.batch.push(1).description + "\n", count: 1000)
                for _ in 0..<100 { try client.sendChunk(chunk) }
                try client.send("0\r\n\r\n")
                return try client.readResponse().body.utf8.count { $0 == UInt8(ascii: "\n") }
            }
            #expect(count == 100_000)
        }
    }

    @Test func `queries fail while the store is down`() async throws {
        try await run { gateway in
            gateway.queue.takeDown()
            let one = try await gateway.send("GET", "/api/v1/messages/\(Self.batch.push(1))")
            #expect(one.status == 503)
            #expect(one.json["code"] as? Int == 3020)
            let lines = try await gateway.post(
                "/api/v1/messages/query", "\(Self.batch.push(1))", type: "application/x-ndjson")
            #expect(lines.lines.last?["state"] as? String == "unavailable")
        }
    }
}
