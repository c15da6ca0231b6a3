import APNSWire
import Foundation
import MemoryBackend
import PushAccept
import PushModel
import PushStore
import Testing

@Suite struct `Searches` {
    private static let batch = BatchID.random(at: TestGateway.now)
    private static let token = String(repeating: "01", count: 32)

    /// Three pushes of "demo": one rejected, one delivered, one waiting. A waiting push of "other".
    private func run(
        log: LogRecorder = LogRecorder(), _ body: @Sendable (TestGateway) async throws -> Void
    ) async throws {
        let queue = FaultyStore()
        let lease = try queue.backend.appendClaimed(storedBatch(3, id: Self.batch))
        let outcomes = [
            Outcome(index: 0, verdict: .delivered, code: .none, status: 200, attempts: 1),
            Outcome(
                index: 1, verdict: .rejected, code: .notSubscribed, status: 410, attempts: 2,
                reason: .known(.unregistered)
            ),
        ]
        _ = try queue.backend.settle([
            Settlement(lease: lease, outcomes: outcomes, release: .release, at: TestGateway.now)
        ])
        _ = try queue.backend.append([NewBatch(batch: storedBatch(1, app: "other"))])
        try await TestGateway.run(apps: TestGateway.twoApps, queue: queue, log: log.logger, body)
    }

    private func ids(_ response: WireResponse) throws -> [String] {
        try #require(response.json["messages"] as? [[String: Any]], "\(response.body)").compactMap {
            $0["msg_id"] as? String
        }
    }

    @Test func `return the status of each push, and how its token matches`() async throws {
        try await run { gateway async throws in
            let expected = """
                {"messages":[
                {"msg_id":"\(Self.batch.push(1))","app":"demo","lane":"normal","state":"rejected",\
                "code":3002,"error":"not_subscribed","reason":"Unregistered","apns_status":410,"attempts":2,\
                "accepted_at":"2025-11-23T12:00:00.123Z","updated_at":"2025-11-23T12:00:00.123Z",\
                "token_match":"exact"}
                ],"next":null,"searched_to":"2025-11-23T12:00:00.123Z"}

                """
            let byURL = try await gateway.send("GET", "/api/v1/messages?token=\(Self.token)&limit=5")
            #expect(byURL.status == 200 && byURL.body == expected)
            let byBody = try await gateway.post("/api/v1/messages/search", #"{"token":"\#(Self.token)","limit":5}"#)
            #expect(byBody.status == 200 && byBody.body == expected)
        }
    }

    @Test(
        arguments: [
            ("app=demo", #"{"app":"demo"}"#, 3), ("app=other", #"{"app":"other"}"#, 1), ("", "{}", 4),
            ("state=queued", #"{"state":"queued"}"#, 2),
            ("state=queued,delivered", #"{"state":["queued","delivered"]}"#, 3),
            ("state=queued&state=delivered", #"{"state":["delivered","queued","queued"]}"#, 3),
            ("code=3002", #"{"code":3002}"#, 1), ("code=not_subscribed", #"{"code":["3002","not_subscribed"]}"#, 1),
            ("code=3003", #"{"code":[3003]}"#, 0),
            ("state=delivered&code=3002", #"{"state":"delivered","code":3002}"#, 0),
            ("since=2025-11-23T12:00:00Z", #"{"since":"2025-11-23T12:00:00.123Z"}"#, 4),
            ("since=1763899200", #"{"since":1763899201}"#, -1), ("request_id=none", #"{"request_id":"none"}"#, 0),
        ] as [(String, String, Int)])
    func `have conditions in the URL or in the body`(parameters: String, body: String, count: Int) async throws {
        try await run { gateway async throws in
            let byURL = try ids(try await gateway.send("GET", "/api/v1/messages?\(parameters)"))
            let byBody = try ids(try await gateway.post("/api/v1/messages/search", body))
            // -1: the two times are on different sides of the acceptance.
            #expect(byURL.count == (count < 0 ? 4 : count))
            #expect(byBody.count == (count < 0 ? 0 : count))
        }
    }

    @Test func `take the token by its name in a push, and say what a request id covers`() async throws {
        try await run { gateway async throws in
            for name in ["token", "device_token"] {
                let token = String(repeating: "ef", count: 32)
                let byURL = try await gateway.send("GET", "/api/v1/messages?\(name)=\(token)")
                #expect(byURL.status == 200 && byURL.json["detail"] == nil, "\(byURL.body)")
                let byBody = try await gateway.post("/api/v1/messages/search", #"{"\#(name)":"\#(token)"}"#)
                #expect(byBody.status == 200, "\(byBody.body)")
            }
            let both = try await gateway.post("/api/v1/messages/search", #"{"token":"ab","device_token":"ab"}"#)
            #expect(both.status == 400)
            let request = try await gateway.post("/api/v1/messages/search", #"{"request_id":"none"}"#)
            #expect((request.json["detail"] as? String)?.contains("bulk requests") == true)
        }
    }

    @Test func `by request id find the bulk requests of the same caller only`() async throws {
        try await TestGateway.run(configuration: .behindLocalProxy) { gateway async throws in
            _ = try await gateway.post(
                "/push/batch", "[\(pushLine(1))]", headers: ["X-Request-Id: campaign-7", "X-Forwarded-For: 192.0.2.1"])
            for (client, count) in [("192.0.2.2", 0), ("192.0.2.1", 1)] {
                let headers = ["X-Forwarded-For: \(client)"]
                let byURL = try await gateway.send(
                    "GET", "/api/v1/messages?request_id=campaign-7", headers: headers)
                let byBody = try await gateway.post(
                    "/api/v1/messages/search", #"{"request_id":"campaign-7"}"#, headers: headers)
                #expect(try ids(byURL).count == count)
                #expect(try ids(byBody).count == count)
            }
        }
    }

    @Test func `have pages with a cursor`() async throws {
        try await run { gateway async throws in
            var found: [String] = []
            var next: String?
            repeat {
                let after = next.map { #","after":"\#($0)""# } ?? ""
                let page = try await gateway.post("/api/v1/messages/search", #"{"app":"demo","limit":1\#(after)}"#)
                found += try ids(page)
                next = page.json["next"] as? String
            } while next != nil
            #expect(found == [2, 1, 0].map { Self.batch.push($0).description })
        }
    }

    @Test(
        arguments: [
            (#"{"token":"0"}"#, 3018, "token"), (#"{"token":"zz"}"#, 3018, "token"),
            (#"{"token":["01","02"]}"#, 3018, "token"),
            (#"{"token":1.5}"#, 2020, nil), (#"{"token":null}"#, 2021, "token"), (#"{"state":"done"}"#, 3018, "state"),
            (#"{"code":0}"#, 3018, "code"), (#"{"code":"9999"}"#, 3018, "code"), (#"{"since":"24h"}"#, 3018, "since"),
            (#"{"after":"x"}"#, 3018, "after"), (#"{"limit":0}"#, 3018, "limit"), (#"{"limit":1001}"#, 3018, "limit"),
            (#"{"app":""}"#, 3018, "app"), (#"{"app":"demo","app":"demo"}"#, 3018, "app"),
            (#"{"nosuch":1}"#, 2023, "nosuch"),
            (#"{"state":{}}"#, 2021, "state"), ("[]", 2021, nil), ("{", 2020, nil),
        ] as [(String, Int, String?)])
    func `with a wrong field are refused`(body: String, code: Int, field: String?) async throws {
        try await run { gateway async throws in
            let response = try await gateway.post("/api/v1/messages/search", body)
            #expect(response.status == 400 && response.headers["content-type"] == "application/problem+json")
            #expect(response.json["code"] as? Int == code, "\(response.body)")
            #expect(response.json["field"] as? String == field)
        }
    }

    @Test(arguments: ["token=0", "nosuch=1", "app=demo&app=demo", "token=01,02", "state=", "limit=x"])
    func `with a wrong parameter are refused`(parameters: String) async throws {
        try await run { gateway async throws in
            #expect(try await gateway.send("GET", "/api/v1/messages?\(parameters)").status == 400)
        }
    }

    @Test func `for an app that is neither configured nor has pushes return 404`() async throws {
        try await run { gateway async throws in
            let response = try await gateway.send("GET", "/api/v1/messages?app=gone")
            #expect(response.status == 404 && response.json["code"] as? Int == 3017)
        }
    }

    @Test func `never log the token or repeat it in a problem`() async throws {
        let log = LogRecorder()
        let token = "c0ffee" + String(repeating: "01", count: 29)
        try await run(log: log) { gateway async throws in
            for parameters in ["token=\(token)", "token=\(token)x", "token=\(token)&token=\(token)"] {
                let response = try await gateway.send("GET", "/api/v1/messages?\(parameters)")
                #expect(!response.body.contains("c0ffee"))
            }
            gateway.queue.takeDown()
            let down = try await gateway.post("/api/v1/messages/search", #"{"token":"\#(token)"}"#)
            #expect(down.status == 503 && down.json["code"] as? Int == 3020)
            #expect(!down.body.contains("c0ffee"))
        }
        #expect(!log.lines.contains { "\($0)".contains("c0ffee") })
    }

    @Test func `need a store that can search`() async throws {
        let queue = FaultyStore()
        try await TestGateway.run(queue: queue, stores: AcceptStores(queue: queue, outcomes: queue)) {
            gateway async throws in
            #expect(try await gateway.send("GET", "/api/v1/messages").status == 501)
        }
    }
}
