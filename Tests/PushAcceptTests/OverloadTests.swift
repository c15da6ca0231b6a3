import Foundation
import PushAccept
import PushModel
import PushQueue
import Testing

@Suite struct `Overload` {
    @Test(arguments: [
        (AdmissionSample(queuedPushes: 6_000_000), "too many pushes wait in the queue", "5"),
        (AdmissionSample(bytesFree: 0), "the store's disk is nearly full", "30"),
    ])
    func `what is short is said before anything is read`(
        sample: AdmissionSample, text: String, retryAfter: String
    ) async throws {
        try await TestGateway.run { gateway async throws in
            #expect(gateway.admission.update(sample).isNews)
            #expect(!gateway.admission.update(sample).isNews)
            for path in ["/push", "/push/batch"] {
                let port = gateway.port
                let answer = try await onThread {
                    let client = try WireClient(port: port)
                    // The body never comes.
                    try client.send(
                        "POST \(path) HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            + "Content-Length: 20\r\n\r\n"
                    )
                    return try client.read(until: "request_id")
                }
                #expect(answer.hasPrefix("HTTP/1.1 503 "))
                #expect(answer.contains("\"code\":3028,\"error\":\"overloaded\""))
                #expect(answer.contains("\(text); nothing was accepted"))
                #expect(answer.lowercased().contains("\r\nretry-after: \(retryAfter)\r\n"))
            }
            #expect(try await gateway.send("GET", "/api/v1/apps").status == 200, "only new pushes are refused")
            gateway.admission.update(AdmissionSample(queuedPushes: 0, bytesFree: .max))
            #expect(try await gateway.post("/push", pushLine(1)).status == 200)
        }
    }

    @Test func `a stream that began before is told where it stopped`() async throws {
        try await TestGateway.run { gateway async throws in
            let port = gateway.port
            let (admission, queue) = (gateway.admission, gateway.queue)
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                        + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                try client.sendChunk(pushLine(1) + "\n")
                _ = try client.read(until: "\"accepted\"")
                admission.update(AdmissionSample(queuedPushes: .max))
                try client.sendChunk(pushLine(2) + "\n")
                return try client.read(until: "\"overloaded\"")
            }
            #expect(response.contains("send them again in 5 s"))
            #expect(queue.pushCount == 2, "what was read is kept")
        }
    }

    /// Offered several times what the store takes: what is admitted is stored, the rest is told at once, and afterwards
    /// all is well without anybody's help.
    @Test func `more than there is room for leaves what is admitted unharmed`() async throws {
        try await TestGateway.run(configuration: .with(\.singlePushesMax, 50)) { gateway async throws in
            gateway.queue.close()
            async let first = gateway.post("/push", pushLine(0))
            await gateway.queue.waitForArrival()
            var statuses: [Int] = []
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 1...50 { group.addTask { try await gateway.post("/push", pushLine(number)).status } }
                await gateway.waitUntil("godwit_accept_waiting_pushes 50")
                // Refused while their bodies are still to come, so they cost nothing.
                let port = gateway.port
                for _ in 0..<200 {
                    let answer = try await onThread {
                        let client = try WireClient(port: port)
                        try client.send("POST /push HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n")
                        return try client.read(until: "queue_full")
                    }
                    #expect(answer.hasPrefix("HTTP/1.1 503 "))
                }
                gateway.queue.open()
                for try await status in group { statuses.append(status) }
            }
            #expect(try await first.status == 200)
            #expect(statuses == Array(repeating: 200, count: 50))
            #expect(gateway.queue.pushCount == 51)
            #expect(try await gateway.post("/push", pushLine(99)).status == 200)
        }
    }

    // MARK: Degradation

    @Test func `an answer says why its push will wait`() async throws {
        let dispatch = AcceptDispatch(
            handoff: FakeHandoff(),
            outlook: { app in
                app == AppID("demo")
                    ? DeliveryOutlook(reason: .apnsUnreachable, estimate: .milliseconds(11_001))
                    : DeliveryOutlook(reason: .paused, estimate: nil)
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
