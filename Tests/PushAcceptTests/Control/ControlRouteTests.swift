import APNSWire
import Foundation
import Logging
import MemoryBackend
import PushAccept
import PushModel
import PushStore
import Synchronization
import Telemetry
import Testing

@Suite struct `Control routes` {
    private static let batch = BatchID.random(at: TestGateway.now)

    /// Keeps a push in the store, unclaimed.
    private static let later = #","not_before":1763999999"#

    private func accepted(_ gateway: TestGateway) async throws -> String {
        try #require(try await gateway.post("/push", pushLine(1, Self.later)).json["msg_id"] as? String)
    }

    /// A store in which three pushes of `batch` are claimed, and push 2 has `verdict`.
    private static func store(_ verdict: Verdict) throws -> FaultyStore {
        let store = FaultyStore()
        let lease = try store.backend.appendClaimed(storedBatch(3, id: batch))
        let outcome = Outcome(index: 2, verdict: verdict, code: .none, attempts: 1)
        _ = try store.backend.settle([Settlement(lease: lease, outcomes: [outcome], at: TestGateway.now)])
        return store
    }

    // MARK: One

    @Test func `a waiting push is cancelled, also by repeated requests`() async throws {
        try await TestGateway.run { gateway async throws in
            let id = try await accepted(gateway)
            for _ in 0..<2 {
                let response = try await gateway.send("DELETE", "/api/v1/messages/\(id)")
                #expect(response.status == 200)
                #expect(response.body == #"{"msg_id":"\#(id)","result":"cancelled"}"# + "\n")
            }
        }
    }

    @Test func `a push that cannot be cancelled gets the reason`() async throws {
        try await TestGateway.run(queue: Self.store(.delivered)) { gateway async throws in
            let responses: [(String, Int, String)] = [
                ("\(Self.batch.push(1))", 409, "too late: the push is being sent"),
                ("\(Self.batch.push(2))", 409, "too late: the push is delivered"),
                (
                    "\(Self.batch.push(3))", 404,
                    "no push with this msg_id was accepted here, or its record was deleted"
                ),
            ]
            for (id, status, detail) in responses {
                let response = try await gateway.send("DELETE", "/api/v1/messages/\(id)")
                #expect(response.status == status)
                #expect(response.json["detail"] as? String == detail)
                if status == 409 { #expect(response.json["msg_id"] as? String == id) }
            }
            #expect(try await gateway.send("DELETE", "/api/v1/messages/nonsense").status == 400)
            #expect(gateway.metrics.exposition().contains("{route=\"cancel\",status=\"4xx\"} 4"))
        }
    }

    @Test func `pushes that are claimed and not sent are cancelled`() async throws {
        let queue = FaultyStore()
        _ = try queue.backend.appendClaimed(storedBatch(4, id: Self.batch))
        let canceller = FakeCanceller(claimed: [Self.batch.push(1), Self.batch.push(3)])
        let dispatch = AcceptDispatch(handoff: FakeHandoff(), canceller: canceller)
        try await TestGateway.run(queue: queue, dispatch: dispatch) { gateway async throws in
            #expect(try await gateway.send("DELETE", "/api/v1/messages/\(Self.batch.push(1))").status == 200)
            #expect(try await gateway.send("DELETE", "/api/v1/messages/\(Self.batch.push(2))").status == 409)
            let many = try await gateway.post(
                "/api/v1/messages/cancel", #"{"ids":["\#(Self.batch.push(2))","\#(Self.batch.push(3))"]}"#
            )
            #expect(many.json["cancelled"] as? Int == 1)
            #expect(many.json["too_late"] as? Int == 1)
        }
    }

    // MARK: Many

    @Test func `many pushes are cancelled by id, each with its result`() async throws {
        try await TestGateway.run(queue: Self.store(.rejected)) { gateway async throws in
            let id = try await accepted(gateway)
            let ids = [id] + (1...3).map { Self.batch.push($0).description }
            let response = try await gateway.post(
                "/api/v1/messages/cancel", #"{"ids":["\#(ids.joined(separator: "\",\""))"]}"#
            )
            #expect(response.status == 200)
            let results = try #require(response.json["results"] as? [[String: Any]])
            #expect(results.map { $0["msg_id"] as? String } == ids)
            #expect(results.map { $0["result"] as? String } == ["cancelled", "too_late", "settled", "unknown"])
            #expect(results[2]["state"] as? String == "rejected")
            #expect(response.json["cancelled"] as? Int == 1)
            #expect(response.json["too_late"] as? Int == 1)
            let none = try await gateway.post("/api/v1/messages/cancel", #"{"ids":[]}"#)
            #expect(none.json["cancelled"] as? Int == 0)
        }
    }

    @Test func `a bulk request is cancelled by its request id`() async throws {
        try await TestGateway.run { gateway async throws in
            _ = try await gateway.post(
                "/push/batch", "[\(pushLine(1, Self.later)),\(pushLine(2, Self.later))]",
                headers: ["X-Request-Id: campaign-7"]
            )
            _ = try await gateway.post(
                "/push/batch", "[\(pushLine(3, Self.later))]", headers: ["X-Request-Id: campaign-8"]
            )
            let own = try await gateway.post("/push/batch", "[\(pushLine(4, Self.later))]")
            let requestIDs = gateway.queue.batches.map(\.requestID)
            #expect(
                requestIDs.map { $0?.split(separator: "@").first.map(String.init) }
                    == ["campaign-7", "campaign-8", own.headers["x-request-id"]]
            )
            let response = try await gateway.post("/api/v1/messages/cancel", #"{"request_id":"campaign-7"}"#)
            #expect(response.body == #"{"cancelled":2,"too_late":0}"# + "\n")
            let app = try await gateway.post("/api/v1/messages/cancel", #"{"app":"demo"}"#)
            #expect(app.body == #"{"cancelled":2,"too_late":0}"# + "\n", "two were cancelled before")
        }
    }

    @Test func `a caller cannot cancel the bulk request of another with its request id`() async throws {
        try await TestGateway.run(configuration: .behindLocalProxy) { gateway async throws in
            let id = "X-Request-Id: campaign-7"
            _ = try await gateway.post(
                "/push/batch", "[\(pushLine(1, Self.later))]", headers: [id, "X-Forwarded-For: 192.0.2.1"])
            for (client, cancelled) in [("192.0.2.2", 0), ("192.0.2.1", 1)] {
                let response = try await gateway.post(
                    "/api/v1/messages/cancel", #"{"request_id":"campaign-7"}"#,
                    headers: ["X-Forwarded-For: \(client)"]
                )
                #expect(response.json["cancelled"] as? Int == cancelled)
            }
        }
    }

    @Test func `single pushes have no request id`() async throws {
        try await TestGateway.run { gateway async throws in
            _ = try await gateway.post("/push", pushLine(1), headers: ["X-Request-Id: one"])
            #expect(gateway.queue.batches.map(\.requestID) == [nil])
        }
    }

    @Test func `claimed pushes that could be cancelled are counted`() async throws {
        let queue = FaultyStore()
        _ = try queue.backend.append([NewBatch(batch: storedBatch(10))])
        _ = try queue.backend.appendClaimed(storedBatch(5))
        let canceller = FakeCanceller(claimed: Set((0..<3).map { Self.batch.push($0) }))
        let dispatch = AcceptDispatch(handoff: FakeHandoff(), canceller: canceller)
        try await TestGateway.run(queue: queue, dispatch: dispatch) { gateway async throws in
            let response = try await gateway.post("/api/v1/messages/cancel", #"{"app":"demo"}"#)
            #expect(response.body == #"{"cancelled":13,"too_late":2}"# + "\n")
        }
    }

    @Test(arguments: [
        ("", 400, 2020), ("[]", 400, 2021), ("{}", 400, 2022), (#"{"all":true}"#, 400, 2023),
        (#"{"ids":[],"app":"demo"}"#, 400, 2023), (#"{"ids":"x"}"#, 400, 2021), (#"{"ids":["x"]}"#, 400, 3018),
        (#"{"app":1}"#, 400, 2021), (#"{"app":""}"#, 400, 3018), (#"{"app":"unknown"}"#, 404, 3017),
        (#"{"request_id":"#, 400, 2020), (#"{"app":"demo"} x"#, 400, 2020),
    ])
    func `an invalid selection is refused`(body: String, status: Int, code: Int) async throws {
        try await TestGateway.run { gateway async throws in
            let response = try await gateway.post("/api/v1/messages/cancel", body)
            #expect(response.status == status)
            #expect(response.json["code"] as? Int == code)
            #expect(response.headers["content-type"] == "application/problem+json")
        }
    }

    @Test func `a list of ids has a limit`() async throws {
        try await TestGateway.run { gateway async throws in
            let ids = (0...1000).map { "\"\(Self.batch.push($0))\"" }.joined(separator: ",")
            let response = try await gateway.post("/api/v1/messages/cancel", "{\"ids\":[\(ids)]}")
            #expect(response.status == 400)
            #expect(response.json["field"] as? String == "ids")
        }
    }

    // MARK: Apps

    @Test func `apps are listed with their waiting pushes`() async throws {
        let dispatch = AcceptDispatch(handoff: FakeHandoff()) { app in
            app == AppEnvironment(AppID("demo")) ? DeliveryDelay(reason: .backlog, estimate: .seconds(3)) : nil
        }
        try await TestGateway.run(apps: TestGateway.twoApps, dispatch: dispatch) { gateway async throws in
            _ = try await gateway.post("/push", pushLine(1, #","app":"demo","lane":"urgent""#))
            _ = try await gateway.post(
                "/push/batch", "[\(pushLine(1, #","app":"demo""#)),\(pushLine(2, #","app":"demo""#))]")
            _ = try await gateway.post("/api/v1/apps/other/pause", "")
            let response = try await gateway.send("GET", "/api/v1/apps")
            #expect(
                response.body == """
                    {"apps":[
                    {"app":"demo","bundle_id":"com.example.app","queued":{"urgent":1,"normal":0,"bulk":2},"delayed":"backlog","estimate":3},
                    {"app":"other","bundle_id":"com.example.other","queued":{"urgent":0,"normal":0,"bulk":0},"paused_since":"2025-11-23T12:00:00.123Z"}
                    ]}

                    """
            )
        }
    }

    @Test func `the environments of an app with several are listed with their delays`() async throws {
        let dispatch = AcceptDispatch(handoff: FakeHandoff()) { app in
            app.environment == .sandbox ? DeliveryDelay(reason: .credentialRefused, estimate: .seconds(3)) : nil
        }
        try await TestGateway.run(apps: TestGateway.twoEnvironments, dispatch: dispatch) { gateway async throws in
            let response = try await gateway.send("GET", "/api/v1/apps")
            #expect(
                response.body == """
                    {"apps":[
                    {"app":"demo","bundle_id":"com.example.app","queued":{"urgent":0,"normal":0,"bulk":0},\
                    "delayed":"credential_refused","estimate":3,"environments":[\
                    {"environment":"sandbox","delayed":"credential_refused","estimate":3},{"environment":"production"}]}
                    ]}

                    """
            )
        }
    }

    @Test func `dispatch is notified of pause and resume, which may be repeated`() async throws {
        let updates = UpdateLog()
        let dispatch = AcceptDispatch(handoff: FakeHandoff(), pauseObserver: { updates.append("\($0) \($1)") })
        let clock = TestClock()
        try await TestGateway.run(dispatch: dispatch, clock: clock) { gateway async throws in
            let paused = try await gateway.send("POST", "/api/v1/apps/demo/pause")
            #expect(paused.status == 200)
            #expect(paused.body == #"{"app":"demo","paused":true}"# + "\n")
            clock.advance(by: .seconds(60))
            _ = try await gateway.send("POST", "/api/v1/apps/demo/pause")
            let since = try await gateway.send("GET", "/api/v1/apps").body
            #expect(since.contains("\"paused_since\":\"2025-11-23T12:00:00.123Z\""), "since the first time")
            #expect(try await gateway.post("/push", pushLine(1)).status == 200, "pushes are accepted while paused")
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/resume").json["paused"] as? Bool == false)
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/resume").status == 200)
            #expect(try await gateway.send("GET", "/api/v1/apps").body.contains("paused_since") == false)
            // An app that is no longer configured can only be resumed.
            try await gateway.queue.setPaused(true, app: AppID("gone"), at: TestGateway.now)
            #expect(try await gateway.send("POST", "/api/v1/apps/gone/pause").status == 404)
            #expect(try await gateway.send("POST", "/api/v1/apps/gone/resume").json["paused"] as? Bool == false)
            #expect(try await gateway.send("POST", "/api/v1/apps/gone/resume").status == 404)
            let unknown = try await gateway.send("POST", "/api/v1/apps/unknown/pause")
            #expect(unknown.status == 404)
            #expect(unknown.json["code"] as? Int == 3017)
            #expect(updates.all == ["demo true", "demo true", "demo false", "demo false", "gone false"])
            gateway.queue.takeDown()
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/pause").status == 503)
            #expect(try await gateway.send("GET", "/api/v1/apps").status == 503)
            #expect(try await gateway.send("POST", "/api/v1/apps/gone/resume").status == 503)
            #expect(updates.all.count == 5, "updates follow durable changes only")
        }
    }

    /// The pause is written first and reported last; the app is resumed in between.
    @Test func `dispatch gets the last state of the store`() async throws {
        let updates = UpdateLog()
        let dispatch = AcceptDispatch(handoff: FakeHandoff(), pauseObserver: { updates.append("\($0) \($1)") })
        let queue = FaultyStore()
        let slow = SlowPause(queue)
        let stores = AcceptStores(queue: queue, outcomes: queue, control: slow)
        try await TestGateway.run(queue: queue, dispatch: dispatch, stores: stores) { gateway async throws in
            async let paused = gateway.send("POST", "/api/v1/apps/demo/pause")
            await slow.waitForPause()
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/resume").status == 200)
            slow.resume()
            #expect(try await paused.status == 200)
            #expect(updates.all.last == "demo false")
        }
    }

    @Test func `a name in a path may be percent-encoded`() async throws {
        let apps = AppDirectory(apps: [ConfiguredApp(id: AppID("näh app"), bundleID: "com.example.app")])
        try await TestGateway.run(apps: apps) { gateway async throws in
            let response = try await gateway.send("POST", "/api/v1/apps/n%C3%A4h%20app/pause")
            #expect(response.status == 200)
            #expect(response.json["app"] as? String == "näh app")
        }
    }

    @Test func `a store without control gets 501`() async throws {
        let queue = FaultyStore()
        try await TestGateway.run(queue: queue, stores: AcceptStores(queue: queue, outcomes: queue)) {
            gateway async throws in
            let id = BatchID.random(at: TestGateway.now).push(0)
            #expect(try await gateway.send("DELETE", "/api/v1/messages/\(id)").status == 501)
            #expect(try await gateway.post("/api/v1/messages/cancel", #"{"app":"demo"}"#).status == 501)
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/pause").status == 501)
            #expect(try await gateway.send("GET", "/api/v1/dead-letters").status == 501)
            #expect(try await gateway.send("GET", "/api/v1/apps").status == 200)
        }
    }

    // MARK: The log

    @Test func `the log has the action, the caller and the count, but no push`() async throws {
        let log = LogRecorder()
        let queue = FaultyStore()
        try queue.backend.appendGivenUp(storedBatch(1, id: Self.batch))
        queue.makeUnreadable(Self.batch.push(0))
        try await TestGateway.run(queue: queue, log: log.logger) { gateway async throws in
            let id = try await accepted(gateway)
            let secret = ["Authorization: Bearer s3cr3t", "X-Request-Id: action-1"]
            let actions = [
                ("/api/v1/apps/demo/pause", ""), ("/api/v1/apps/demo/resume", ""),
                ("/api/v1/messages/cancel", #"{"ids":["\#(id)"]}"#),
                ("/api/v1/messages/cancel", #"{"request_id":"campaign-7"}"#),
                ("/api/v1/messages/cancel", #"{"app":"demo"}"#), ("/api/v1/dead-letters/replay", #"{"all":true}"#),
                ("/api/v1/dead-letters/purge", #"{"app":"demo"}"#),
            ]
            for (path, body) in actions { #expect(try await gateway.post(path, body, headers: secret).status == 200) }
            _ = try await gateway.send("DELETE", "/api/v1/messages/\(id)")
            let lines = log.lines
            #expect(lines.allSatisfy { $0.level == .notice && $0.metadata["client.address"] == "127.0.0.1" })
            #expect(lines.dropLast().allSatisfy { $0.metadata["request.id"] == "action-1" })
            func logged(_ keys: String...) -> [String] {
                lines.map { line in ([line.message] + keys.map { line.metadata[$0] ?? "-" }).joined(separator: " ") }
            }
            #expect(
                logged("by", "app", "cancelled", "too_late", "replayed", "unreadable", "purged") == [
                    "app paused - demo - - - - -", "app resumed - demo - - - - -",
                    "pushes cancelled ids - 1 0 - - -", "pushes cancelled request - 0 0 - - -",
                    "pushes cancelled app demo 0 0 - - -", "dead letters replayed all - - - 0 1 -",
                    "dead letters purged app demo - - - - 1", "pushes cancelled ids - 0 0 - - -",
                ]
            )
            let text = "\(lines)"
            for part in ["s3cr3t", "abab", id, "campaign"] { #expect(!text.contains(part), "\(part)") }
            gateway.queue.takeDown()
            #expect(try await gateway.post("/api/v1/messages/cancel", #"{"app":"demo"}"#).status == 503)
            let failure = try #require(log.lines.last)
            #expect(failure.level == .warning)
            #expect(failure.metadata["action"] == "pushes cancelled" && failure.metadata["app"] == "demo")
        }
    }

    private final class UpdateLog: Sendable {
        private let state = Mutex<[String]>([])
        var all: [String] { state.withLock { $0 } }
        func append(_ text: String) { state.withLock { $0.append(text) } }
    }
}
