import Foundation
import PushAccept
import PushModel
import PushStore
import PushTesting
import SQLiteBackend
import Testing

/// Acceptance with the embedded database.
@Suite(.bothServers) struct `Acceptance on SQLite` {
    private static let key = ["Idempotency-Key: \"restart\""]

    /// Opens the store of `folder` while `body` runs; each call is a restart of the gateway.
    private static func run(
        _ folder: TemporaryFolder, clock: TestClock = TestClock(), configuration: AcceptConfiguration = .init(),
        apps: AppDirectory = TestGateway.oneApp, handoff: FakeHandoff = FakeHandoff(),
        _ body: @Sendable (TestGateway, SQLiteBackend) async throws -> Void
    ) async throws {
        let store = try SQLiteBackend.open(
            folder: folder.path,
            clock: QueueClock(wall: { TestGateway.now + clock.elapsed }, monotonic: { clock.elapsed })
        )
        let stores = AcceptStores(
            queue: store, outcomes: store, idempotent: store, control: store, deadLetters: store
        )
        do {
            try await TestGateway.run(
                apps: apps, handoff: handoff, stores: stores, configuration: configuration, clock: clock
            ) { gateway in
                try await body(gateway, store)
            }
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }

    @Test(arguments: ["/push", "/push/batch"])
    func `a response is stored across restarts for 24 hours`(path: String) async throws {
        let folder = try TemporaryFolder()
        let clock = TestClock()
        let body = path == "/push" ? pushLine(1) : "[" + (0..<1200).map { pushLine($0) }.joined(separator: ",") + ",{}]"
        let pushes = path == "/push" ? 1 : 1200
        let first = Box<String>()
        try await Self.run(folder, clock: clock) { gateway, store async throws in
            let response = try await gateway.post(path, body, headers: Self.key)
            #expect(response.status == 200)
            first.value = response.body
            #expect(try await store.depth().pushes == pushes)
        }
        clock.advance(by: .seconds(24 * 3600 - 1))
        try await Self.run(folder, clock: clock) { gateway, store async throws in
            let again = try await gateway.post(path, body, headers: Self.key)
            #expect(again.body == first.value)
            #expect(again.headers["idempotency-replayed"] == "true")
            let other = try await gateway.post(path, body + " ", headers: Self.key)
            #expect(other.status == 422)
            #expect(try await store.depth().pushes == pushes)
        }
        clock.advance(by: .seconds(1))
        try await Self.run(folder, clock: clock) { gateway, store async throws in
            let late = try await gateway.post(path, body, headers: Self.key)
            #expect(late.status == 200)
            #expect(late.headers["idempotency-replayed"] == nil)
            #expect(late.body != first.value)
            #expect(try await store.depth().pushes == pushes * 2)
        }
    }

    @Test func `waiting pushes are cancelled and stay cancelled`() async throws {
        let folder = try TemporaryFolder()
        let later = #","not_before":1763999999"#
        try await Self.run(folder) { gateway, store async throws in
            let single = try await gateway.post("/push", pushLine(1, later))
            let id = try #require(single.json["msg_id"] as? String)
            let bulk = try await gateway.post(
                "/push/batch", (0..<700).map { pushLine($0, later) }.joined(separator: "\n"),
                type: "application/x-ndjson", headers: ["X-Request-Id: campaign-7"]
            )
            #expect(bulk.lines.count == 700)
            _ = try await gateway.post("/push/batch", "[\(pushLine(1, later))]")
            for _ in 0..<2 {
                let one = try await gateway.send("DELETE", "/api/v1/messages/\(id)")
                #expect(one.status == 200)
                #expect(one.json["result"] as? String == "cancelled")
            }
            let status = try await gateway.send("GET", "/api/v1/messages/\(id)")
            #expect(status.json["state"] as? String == "cancelled")
            let request = try await gateway.post("/api/v1/messages/cancel", #"{"request_id":"campaign-7"}"#)
            #expect(request.body == "{\"cancelled\":700,\"too_late\":0}\n")
            #expect(try await store.depth().pushes == 1)
            let app = try await gateway.post("/api/v1/messages/cancel", #"{"app":"demo"}"#)
            #expect(app.body == "{\"cancelled\":1,\"too_late\":0}\n")
            #expect(try await store.depth().pushes == 0)
        }
    }

    @Test func `a paused app stays paused across restarts`() async throws {
        let folder = try TemporaryFolder()
        try await Self.run(folder) { gateway, _ async throws in
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/pause").status == 200)
        }
        try await Self.run(folder) { gateway, _ async throws in
            let apps = try await gateway.send("GET", "/api/v1/apps")
            #expect(apps.body.contains(#""paused_since":"2025-11-23T12:00:00.123Z""#))
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/resume").status == 200)
            #expect(try await gateway.send("GET", "/api/v1/apps").body.contains("paused_since") == false)
        }
    }

    @Test func `a dead letter is listed, shown and replayed`() async throws {
        let folder = try TemporaryFolder()
        try await Self.run(folder) { gateway, store async throws in
            let response = try await gateway.post("/push", pushLine(1, #","collapse_id":"order""#))
            let id = try #require(PushID(response.json["msg_id"] as? String ?? ""))
            // Claimed by the direct hand-off; dispatch gives it up.
            let outcome = Outcome(index: 0, verdict: .givenUp, code: .givenUp, status: 503, attempts: 50)
            _ = try await store.settle([
                Settlement(lease: Lease(batch: id.batch, epoch: 1), outcomes: [outcome], at: TestGateway.now)
            ])
            let list = try await gateway.send("GET", "/api/v1/dead-letters?app=demo")
            let letters = try #require(list.json["dead_letters"] as? [[String: Any]])
            #expect(letters.map { $0["msg_id"] as? String } == [id.description])
            let shown = try await gateway.send("GET", "/api/v1/dead-letters/\(id)")
            #expect(shown.json["collapse_id"] as? String == "order")
            #expect(!shown.body.contains("abababab"), "the token is not shown")
            let replayed = try await gateway.post("/api/v1/dead-letters/replay", #"{"ids":["\#(id)"]}"#)
            #expect(replayed.json["replayed"] as? Int == 1)
            #expect(try await gateway.send("GET", "/api/v1/dead-letters").json["next"] is NSNull)
            #expect(try await store.depth().pushes == 1)
        }
    }

    @Test func `one app's backlog refuses no other app`() async throws {
        var configuration = AcceptConfiguration()
        configuration.admission.queuedPushesMax = 20
        let folder = try TemporaryFolder()
        try await Self.run(folder, configuration: configuration, apps: TestGateway.twoApps) {
            gateway, store async throws in
            _ = try await gateway.send("POST", "/api/v1/apps/demo/pause")
            for number in 0..<30 { _ = try await gateway.post("/push", pushLine(number, #","app":"demo""#)) }
            try await Self.updateAdmission(gateway, store)
            #expect(try await gateway.post("/push", pushLine(1, #","app":"demo""#)).status == 503)
            for number in 0..<2 {
                #expect(try await gateway.post("/push", pushLine(number, #","app":"other""#)).status == 200)
            }
            // The reserve is used up and nothing is free, so all apps are refused.
            try await Self.updateAdmission(gateway, store)
            for app in ["demo", "other"] {
                let response = try await gateway.post("/push", pushLine(1, #","app":"\#(app)""#))
                #expect(response.status == 503)
                #expect(response.json["code"] as? Int == 3028)
            }
            #expect(try await store.depth().pushes == 32)
            _ = try await gateway.post("/api/v1/messages/cancel", #"{"app":"demo"}"#)
            try await Self.updateAdmission(gateway, store)
            #expect(try await gateway.post("/push", pushLine(1, #","app":"demo""#)).status == 200)
        }
    }

    @Test func `one app's age refuses no other app, and a paused app's age not even itself`() async throws {
        var configuration = AcceptConfiguration()
        configuration.admission.oldestDueMax = .seconds(60)
        let folder = try TemporaryFolder()
        let clock = TestClock()
        try await Self.run(
            folder, clock: clock, configuration: configuration, apps: TestGateway.twoApps,
            handoff: FakeHandoff(hasCapacity: false)
        ) { gateway, store async throws in
            func statuses() async throws -> [Int] {
                var statuses: [Int] = []
                for app in ["demo", "other"] {
                    statuses.append(try await gateway.post("/push", pushLine(1, #","app":"\#(app)""#)).status)
                }
                return statuses
            }
            _ = try await gateway.post("/push", pushLine(1, #","app":"demo""#))
            clock.advance(by: .seconds(61))
            try await Self.updateAdmission(gateway, store, clock)
            #expect(try await statuses() == [503, 200])
            _ = try await gateway.send("POST", "/api/v1/apps/demo/pause")
            try await Self.updateAdmission(gateway, store, clock)
            #expect(try await statuses() == [200, 200])
        }
    }

    /// As the gateway does once a second.
    private static func updateAdmission(
        _ gateway: TestGateway, _ store: SQLiteBackend, _ clock: TestClock = TestClock()
    )
        async throws
    {
        let sample = AdmissionSample(
            depth: try await store.depth(), now: TestGateway.now + clock.elapsed, bytesFree: nil, memoryBytes: nil,
            delay: { _ in nil }
        )
        gateway.admission.update(sample)
    }

    /// A value that is set before a restart and read after it.
    private final class Box<Value>: @unchecked Sendable {
        // SAFETY: the calls of `run` follow one another.
        var value: Value?
    }
}
