import APNSWire
import Foundation
import PushAccept
import PushModel
import PushStore
import Telemetry
import Testing

@Suite(.bothServers) struct `Overload` {
    fileprivate static func queued(_ demo: Int, other: Int = 0) -> AdmissionSample {
        AdmissionSample(
            apps: [AppID("demo"): AppLoad(queuedPushes: demo), AppID("other"): AppLoad(queuedPushes: other)]
        )
    }

    @Test(arguments: [
        (Self.queued(6_000_000), "too many pushes of this app wait in the queue", "5"),
        (AdmissionSample(bytesFree: 0), "the store's disk is nearly full", "30"),
    ])
    func `new pushes are refused before their body arrives`(
        sample: AdmissionSample, text: String, retryAfter: String
    ) async throws {
        try await TestGateway.run { gateway async throws in
            #expect(gateway.admission.update(sample).count == 1)
            #expect(gateway.admission.update(sample).isEmpty, "nothing has changed")
            for path in ["/push", "/push/batch"] {
                let port = gateway.port
                let response = try await onThread {
                    let client = try WireClient(port: port)
                    // The body is never sent.
                    try client.send(
                        "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                            + "Content-Length: 20\r\n\r\n"
                    )
                    return try client.read(until: "request_id")
                }
                #expect(response.hasPrefix("HTTP/1.1 503 "))
                #expect(response.contains("\"code\":3028,\"error\":\"overloaded\""))
                #expect(response.contains("\(text); nothing was accepted"))
                #expect(response.lowercased().contains("\r\nretry-after: \(retryAfter)\r\n"))
            }
            #expect(try await gateway.send("GET", "/api/v1/apps").status == 200, "only new pushes are refused")
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_refused_total{code=\"3028\"} 2\n"))
            let changes = gateway.admission.update(AdmissionSample(apps: [:], bytesFree: .max))
            #expect(changes.map(\.refusal) == [nil])
            #expect(try await gateway.post("/push", pushLine(1)).status == 200)
        }
    }

    @Test func `a stream that began before is stopped with a last result`() async throws {
        try await TestGateway.run { gateway async throws in
            let port = gateway.port
            let (admission, queue) = (gateway.admission, gateway.queue)
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
                        + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                try client.sendChunk(pushLine(1) + "\n")
                _ = try client.read(until: "\"accepted\"")
                admission.update(AdmissionSample(bytesFree: 0))
                try client.sendChunk(pushLine(2) + "\n")
                return try client.read(until: "\"overloaded\"")
            }
            #expect(response.contains("send them again in 30 s"))
            #expect(queue.pushCount == 2, "items already read are stored")
        }
    }

    /// Far more load than the store accepts: admitted pushes are stored, the others are refused immediately, and the
    /// gateway recovers without intervention.
    @Test func `overload does not affect admitted pushes`() async throws {
        try await TestGateway.run(configuration: .with(\.singlePushesMax, 50)) { gateway async throws in
            gateway.queue.blockAppends()
            async let first = gateway.post("/push", pushLine(0))
            await gateway.queue.waitForBlockedAppend()
            var statuses: [Int] = []
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 1...50 { group.addTask { try await gateway.post("/push", pushLine(number)).status } }
                await gateway.waitUntil("godwit_accept_waiting_pushes 50")
                // Refused before their bodies arrive, so that a refusal is cheap.
                let port = gateway.port
                for _ in 0..<200 {
                    let response = try await onThread {
                        let client = try WireClient(port: port)
                        try client.send("POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n\r\n")
                        return try client.read(until: "queue_full")
                    }
                    #expect(response.hasPrefix("HTTP/1.1 503 "))
                }
                gateway.queue.unblockAppends()
                for try await status in group { statuses.append(status) }
            }
            #expect(try await first.status == 200)
            #expect(statuses == Array(repeating: 200, count: 50))
            #expect(gateway.queue.pushCount == 51)
            #expect(try await gateway.post("/push", pushLine(99)).status == 200)
        }
    }

    // MARK: One app's backlog

    private static let demo = #","app":"demo""#
    private static let other = #","app":"other""#

    /// A gateway with two apps, one of which has a backlog.
    private func runWithBacklog(_ body: @Sendable (TestGateway) async throws -> Void) async throws {
        try await TestGateway.run(apps: TestGateway.twoApps) { gateway async throws in
            let changes = gateway.admission.update(Self.queued(6_000_000))
            #expect(changes == [AdmissionController.Change(app: AppID("demo"), refusal: .queue)])
            try await body(gateway)
        }
    }

    @Test func `a backlog refuses the pushes of its app`() async throws {
        try await runWithBacklog { gateway async throws in
            let refused = try await gateway.post("/push", pushLine(1, Self.demo))
            #expect(refused.status == 503)
            #expect(refused.headers["retry-after"] == "5")
            #expect(refused.json["code"] as? Int == 3028)
            #expect(
                refused.json["detail"] as? String
                    == "too many pushes of this app wait in the queue; send it again in 5 s"
            )
            #expect(try await gateway.post("/push", pushLine(1, Self.other)).status == 200)
            #expect(try await gateway.send("GET", "/readyz").status == 200, "one app does not affect readiness")
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_refused_total{code=\"3028\"} 1\n"))
        }
    }

    @Test func `a backlog refuses the items of its app in a bulk request`() async throws {
        try await runWithBacklog { gateway async throws in
            let lines = [Self.other, Self.demo, Self.other, Self.demo].map { pushLine(1, $0) }
            let body = lines.joined(separator: "\n")
            let response = try await gateway.post("/push/batch", body, type: "application/x-ndjson")
            #expect(response.status == 200)
            #expect(response.lines.map { $0["code"] as? Int } == [0, 3028, 0, 3028])
            #expect((response.lines[1]["detail"] as? String)?.hasSuffix("send it again in 5 s") == true)
            #expect(gateway.queue.pushCount == 2)
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_refused_total{code=\"3028\"} 2\n"))
        }
    }

    @Test func `a request with a key is accepted as a whole or not at all, so that it can be repeated`() async throws {
        try await runWithBacklog { gateway async throws in
            let body = [Self.other, Self.demo, Self.other].map { pushLine(1, $0) }.joined(separator: "\n")
            let key = ["Idempotency-Key: mixed"]
            let refused = try await gateway.post("/push/batch", body, type: "application/x-ndjson", headers: key)
            #expect(refused.status == 503 && refused.json["code"] as? Int == 3028)
            #expect(gateway.queue.pushCount == 0)
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_refused_total{code=\"3028\"} 3\n"))
            gateway.admission.update(Self.queued(0))
            let accepted = try await gateway.post("/push/batch", body, type: "application/x-ndjson", headers: key)
            #expect(accepted.lines.map { $0["code"] as? Int } == [0, 0, 0] && gateway.queue.pushCount == 3)
        }
    }

    @Test func `a request with only refused items is refused as a whole, and no response is stored`() async throws {
        try await runWithBacklog { gateway async throws in
            let lines = (0..<3).map { pushLine($0, Self.demo) }.joined(separator: "\n")
            for headers in [[], ["Idempotency-Key: later"]] {
                let response = try await gateway.post(
                    "/push/batch", lines, type: "application/x-ndjson", headers: headers
                )
                #expect(response.status == 503)
                #expect(response.headers["retry-after"] == "5")
                #expect(response.json["code"] as? Int == 3028)
            }
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_refused_total{code=\"3028\"} 6\n"))
            gateway.admission.update(Self.queued(0))
            let later = try await gateway.post(
                "/push/batch", lines, type: "application/x-ndjson", headers: ["Idempotency-Key: later"]
            )
            #expect(later.lines.map { $0["code"] as? Int } == [0, 0, 0])
        }
    }

    @Test func `requests are refused unread if every app has a backlog`() async throws {
        try await runWithBacklog { gateway async throws in
            gateway.admission.update(Self.queued(6_000_000, other: 6_000_000))
            #expect(try await gateway.post("/push", "nonsense").json["code"] as? Int == 3028)
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_shed_total{reason=\"queue\"} 1\n"))
        }
    }

    @Test func `the age of pushes of one environment counts unless their delay says that it is no load`() {
        let refused = DeliveryDelay(reason: .credentialRefused, estimate: nil)
        let backlog = DeliveryDelay(reason: .backlog, estimate: nil)
        let directory = TestGateway.twoEnvironments
        #expect(directory.delay(of: AppID("demo")) { $0.environment == .sandbox ? backlog : refused } == refused)
        #expect(directory.delay(of: AppID("demo")) { $0.environment == .production ? backlog : nil } == backlog)
        #expect(directory.delay(of: AppID("demo")) { _ in nil } == nil)
        #expect(directory.delay(of: AppID("gone")) { _ in backlog } == nil)
    }

    // MARK: Degradation

    @Test func `a response has the reason why its push will wait`() async throws {
        let dispatch = AcceptDispatch(
            handoff: FakeHandoff(),
            delay: { app in
                app == AppEnvironment(AppID("demo"))
                    ? DeliveryDelay(reason: .apnsUnreachable, estimate: .milliseconds(11_001))
                    : DeliveryDelay(reason: .paused, estimate: nil)
            }
        )
        try await TestGateway.run(apps: TestGateway.twoApps, dispatch: dispatch) { gateway async throws in
            let single = try await gateway.post("/push", pushLine(1, #","app":"demo""#))
            #expect(
                single.body.hasSuffix(#","timestamp":1763899200,"delayed":"apns_unreachable","estimate":12}"# + "\n"))
            let bulk = try await gateway.post(
                "/push/batch", pushLine(1, #","app":"demo""#) + "\n" + pushLine(2, #","app":"other""#),
                type: "application/x-ndjson"
            )
            #expect(bulk.lines.map { $0["delayed"] as? String } == ["apns_unreachable", "paused"])
            #expect(bulk.lines[1]["estimate"] == nil)
            for path in ["/push", "/push/batch"] {
                let body = path == "/push" ? pushLine(3, #","app":"demo""#) : "[\(pushLine(3, #","app":"other""#))]"
                let key = ["Idempotency-Key: k"]
                let first = try await gateway.post(path, body, headers: key)
                #expect(first.body.contains("\"delayed\""))
                #expect(try await gateway.post(path, body, headers: key).body == first.body)
            }
        }
    }
}
