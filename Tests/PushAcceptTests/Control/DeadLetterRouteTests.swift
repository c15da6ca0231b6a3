import APNSWire
import Foundation
import PushAccept
import PushModel
import PushStore
import Testing

@Suite struct `Dead letters` {
    private static let batch = BatchID(APNSID("0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0000")!)!
    private static let otherBatch = BatchID(APNSID("0193f1c2-7a5e-7c3d-8f00-1a2b3c4e0000")!)!
    /// All dead letters, by ID: three of the app "demo" and two of "other".
    private static let ids = (0..<3).map(batch.push) + (0..<2).map(otherBatch.push)

    private static func deadBatch(_ id: BatchID, _ count: Int, app: String) -> Batch {
        storedBatch(
            count, id: id, app: app, lane: .bulk, payloadBytes: 99, expiration: 1_900_000_000, collapseID: "order"
        )
    }

    private func run(_ body: @Sendable (TestGateway) async throws -> Void) async throws {
        let queue = FaultyStore()
        try queue.backend.appendGivenUp(Self.deadBatch(Self.batch, 3, app: "demo"))
        try queue.backend.appendGivenUp(Self.deadBatch(Self.otherBatch, 2, app: "other"))
        try await TestGateway.run(apps: TestGateway.twoApps, queue: queue, body)
    }

    @Test func `are listed page by page`() async throws {
        try await run { gateway async throws in
            var ids: [String] = []
            var next = ""
            var pages = 0
            repeat {
                let page = try await gateway.send("GET", "/api/v1/dead-letters?limit=2\(next)")
                #expect(page.status == 200)
                let letters = try #require(page.json["dead_letters"] as? [[String: Any]])
                ids += letters.compactMap { $0["msg_id"] as? String }
                next = (page.json["next"] as? String).map { "&after=\($0)" } ?? ""
                pages += 1
            } while !next.isEmpty
            #expect(ids == Self.ids.map(\.description))
            #expect(pages == 3)
            let other = try await gateway.send("GET", "/api/v1/dead-letters?app=other")
            #expect((other.json["dead_letters"] as? [Any])?.count == 2)
            #expect(other.json["next"] is NSNull)
        }
    }

    @Test func `of an app that is no longer configured can be listed and purged`() async throws {
        let queue = FaultyStore()
        try queue.backend.appendGivenUp(Self.deadBatch(Self.batch, 1, app: "gone"))
        try await TestGateway.run(apps: TestGateway.twoApps, queue: queue) { gateway async throws in
            let page = try await gateway.send("GET", "/api/v1/dead-letters?app=gone")
            #expect((page.json["dead_letters"] as? [Any])?.count == 1)
            let purged = try await gateway.post("/api/v1/dead-letters/purge", #"{"app":"gone"}"#)
            #expect(purged.json["purged"] as? Int == 1)
            #expect(try await gateway.send("GET", "/api/v1/dead-letters?app=gone").status == 404)
        }
    }

    @Test func `are shown without token and payload`() async throws {
        try await run { gateway async throws in
            let response = try await gateway.send("GET", "/api/v1/dead-letters/\(Self.batch.push(1))")
            #expect(
                response.body == """
                    {"msg_id":"0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0001","app":"demo","lane":"bulk","code":3016,\
                    "error":"given_up","reason":"ServiceUnavailable","apns_status":503,"attempts":50,\
                    "accepted_at":"2025-11-23T12:00:00.123Z","died_at":"2025-11-23T12:01:00.123Z",\
                    "topic":"com.example.app","push_type":"alert","token_bytes":32,"payload_bytes":99,\
                    "expiration":1900000000,"collapse_id":"order"}

                    """
            )
            #expect(try await gateway.send("GET", "/api/v1/dead-letters/\(Self.batch.push(9))").status == 404)
            #expect(try await gateway.send("GET", "/api/v1/dead-letters/x").status == 400)
        }
    }

    @Test func `are replayed, and dispatch is notified`() async throws {
        try await run { gateway async throws in
            let one = try await gateway.post(
                "/api/v1/dead-letters/replay", #"{"ids":["\#(Self.batch.push(0))","\#(Self.batch.push(9))"]}"#
            )
            #expect(one.body == "{\"replayed\":1}\n")
            #expect(gateway.handoff.log.waits == 6, "ids do not name an app, so all are notified")
            let app = try await gateway.post("/api/v1/dead-letters/replay", #"{"app":"demo"}"#)
            #expect(app.json["replayed"] as? Int == 2)
            #expect(gateway.handoff.log.waits == 9)
            #expect(
                try await gateway.post("/api/v1/dead-letters/replay", #"{"app":"demo"}"#).json["replayed"] as? Int == 0)
            #expect(gateway.handoff.log.waits == 9, "nothing was replayed")
        }
    }

    @Test func `that the lint refuses are not replayed`() async throws {
        let queue = FaultyStore()
        try queue.backend.appendGivenUp(storedBatch(2, pushType: .background, priority: .immediate))
        try queue.backend.appendGivenUp(storedBatch(1))
        try await TestGateway.run(queue: queue) { gateway async throws in
            let replayed = try await gateway.post("/api/v1/dead-letters/replay", #"{"all":true}"#)
            #expect(replayed.body == "{\"replayed\":1,\"refused\":2}\n")
        }
    }

    @Test func `that are unreadable are shown and do not block others`() async throws {
        try await run { gateway async throws in
            gateway.queue.makeUnreadable(Self.batch.push(1))
            let shown = try await gateway.send("GET", "/api/v1/dead-letters/\(Self.batch.push(1))")
            #expect(shown.status == 200)
            #expect(shown.json["code"] as? Int == 3016)
            #expect(shown.json["readable"] as? Bool == false)
            #expect((shown.json["detail"] as? String)?.contains("cannot be sent again") == true)
            let list = try await gateway.send("GET", "/api/v1/dead-letters")
            #expect((list.json["dead_letters"] as? [Any])?.count == 5)
            let ids = (0..<3).map { "\"\(Self.batch.push($0))\"" }.joined(separator: ",")
            let replayed = try await gateway.post("/api/v1/dead-letters/replay", #"{"ids":[\#(ids)]}"#)
            #expect(replayed.body == "{\"replayed\":2,\"unreadable\":1}\n")
        }
    }

    @Test func `are purged`() async throws {
        try await run { gateway async throws in
            let some = try await gateway.post("/api/v1/dead-letters/purge", #"{"ids":["\#(Self.ids[4])"]}"#)
            #expect(some.body == "{\"purged\":1}\n")
            #expect(try await gateway.post("/api/v1/dead-letters/purge", #"{"all":true}"#).json["purged"] as? Int == 4)
            let list = try await gateway.send("GET", "/api/v1/dead-letters")
            #expect(list.body == "{\"dead_letters\":[\n],\"next\":null}\n")
            #expect(gateway.handoff.log.waits == 0)
        }
    }

    @Test(arguments: [
        ("GET", "?limit=0", "", 400, 3018), ("GET", "?limit=1001", "", 400, 3018), ("GET", "?limit=x", "", 400, 3018),
        ("GET", "?after=x", "", 400, 3018), ("GET", "?app=unknown", "", 404, 3017), ("GET", "?sort=x", "", 400, 2023),
        ("POST", "/replay", "{}", 400, 2022), ("POST", "/purge", #"{"request_id":"x"}"#, 400, 2023),
        ("POST", "/purge", #"{"all":false}"#, 400, 2021), ("POST", "/purge", #"{"all":1}"#, 400, 2021),
        ("POST", "/replay", #"{"app":"unknown"}"#, 404, 3017),
    ])
    func `invalid requests are refused`(
        method: String, path: String, body: String, status: Int, code: Int
    ) async throws {
        try await run { gateway async throws in
            let response = try await gateway.send(
                method, "/api/v1/dead-letters\(path)", body: body.isEmpty ? nil : body
            )
            #expect(response.status == status, "\(response.body)")
            #expect(response.json["code"] as? Int == code)
        }
    }

    @Test func `requests fail with 503 while the store is down`() async throws {
        try await run { gateway async throws in
            gateway.queue.takeDown()
            #expect(try await gateway.send("GET", "/api/v1/dead-letters").status == 503)
            #expect(try await gateway.send("GET", "/api/v1/dead-letters/\(Self.batch.push(1))").status == 503)
            for path in ["replay", "purge"] {
                let response = try await gateway.post("/api/v1/dead-letters/\(path)", #"{"all":true}"#)
                #expect(response.status == 503)
                #expect(
                    response.json["detail"] as? String
                        == "the store does not respond; nothing was changed, send the request again later")
            }
        }
    }
}
