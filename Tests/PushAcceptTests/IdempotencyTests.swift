import Foundation
import PushAccept
import PushModel
import PushStore
import Synchronization
import Telemetry
import Testing

/// Requests with an `Idempotency-Key`.
@Suite(.bothServers) struct `Idempotency` {
    private static let key = ["Idempotency-Key: \"order-4711\""]

    @Test(arguments: ["/push", "/push/batch"])
    func `a repeated request gets the stored response and stores nothing`(path: String) async throws {
        try await TestGateway.run { gateway async throws in
            let body = path == "/push" ? pushLine(1) : "[\(pushLine(1)),{},\(pushLine(2))]"
            let first = try await gateway.post(path, body, headers: Self.key)
            let again = try await gateway.post("/api/v1" + path, body, headers: ["Idempotency-Key: order-4711"])
            #expect(first.status == 200)
            #expect(again.status == 200)
            #expect(again.body == first.body)
            #expect(again.headers["content-type"] == first.headers["content-type"])
            #expect(first.headers["idempotency-replayed"] == nil)
            #expect(again.headers["idempotency-replayed"] == "true")
            #expect(gateway.queue.pushCount == (path == "/push" ? 1 : 2))
            #expect(gateway.queue.appendCount == 1)
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_replayed_total 1\n"))
        }
    }

    @Test(arguments: ["/push", "/push/batch"])
    func `another body with the same key is refused`(path: String) async throws {
        try await TestGateway.run { gateway async throws in
            func body(_ number: Int) -> String { path == "/push" ? pushLine(number) : "[\(pushLine(number))]" }
            _ = try await gateway.post(path, body(1), headers: Self.key)
            let other = try await gateway.post(path, body(2), headers: Self.key)
            #expect(other.status == 422)
            #expect(other.json["code"] as? Int == 3026)
            #expect(other.json["error"] as? String == "idempotency_mismatch")
            #expect(gateway.queue.pushCount == 1)
        }
    }

    @Test(arguments: ["/push", "/push/batch"])
    func `a request is refused while another one with its key is in progress`(path: String) async throws {
        try await TestGateway.run { gateway async throws in
            let body = path == "/push" ? pushLine(1) : "[\(pushLine(1))]"
            gateway.queue.blockAppends()
            async let first = gateway.post(path, body, headers: Self.key)
            await gateway.queue.waitForBlockedAppend()
            let second = try await gateway.post(path, body, headers: Self.key)
            #expect(second.status == 409)
            #expect(second.json["code"] as? Int == 3027)
            #expect(second.headers["retry-after"] == "1")
            gateway.queue.unblockAppends()
            let response = try await first
            #expect(response.status == 200)
            let third = try await gateway.post(path, body, headers: Self.key)
            #expect(third.body == response.body)
            #expect(gateway.queue.pushCount == 1)
        }
    }

    @Test(arguments: ["/push", "/push/batch"])
    func `the response of another instance that was faster is replayed`(path: String) async throws {
        let body = path == "/push" ? pushLine(1) : "[\(pushLine(1))]"
        let store = FaultyStore.newStore()
        let (slow, fast) = (FaultyStore(store: store), FaultyStore(store: store))
        try await TestGateway.run(queue: slow) { first async throws in
            try await TestGateway.run(queue: fast) { second async throws in
                slow.blockAppends()
                async let late = first.post(path, body, headers: Self.key)
                await slow.waitForBlockedAppend()
                let response = try await second.post(path, body, headers: Self.key)
                slow.unblockAppends()
                let replayed = try await late
                #expect(replayed.status == 200 && replayed.body == response.body)
                #expect(replayed.headers["idempotency-replayed"] == "true")
                #expect(fast.pushCount == 1 && slow.pushCount == 0)
            }
        }
    }

    @Test func `the response to an invalid request is not stored`() async throws {
        try await TestGateway.run { gateway async throws in
            for (path, bad, good) in [
                ("/push", "{}", pushLine(1)), ("/push/batch", "{}", "[\(pushLine(2))]"),
                ("/push/batch", "[{}]", "[\(pushLine(2))]"),
            ] {
                let key = ["Idempotency-Key: \(path)-\(bad.utf8.count)"]
                let refused = try await gateway.post(path, bad, headers: key)
                #expect(refused.status == (bad == "[{}]" ? 200 : 400))
                let accepted = try await gateway.post(path, good, headers: key)
                #expect(accepted.status == 200, "\(accepted.body)")
                #expect(accepted.headers["idempotency-replayed"] == nil)
            }
            #expect(gateway.queue.pushCount == 3)
        }
    }

    @Test(arguments: ["/push", "/push/batch"])
    func `a refusal is not stored, so that a retry can succeed`(path: String) async throws {
        try await TestGateway.run { gateway async throws in
            let body = path == "/push" ? pushLine(1) : "[\(pushLine(1))]"
            gateway.queue.fail(append: 1, .before(.full("disk")))
            #expect(try await gateway.post(path, body, headers: Self.key).status == 503)
            let retried = try await gateway.post(path, body, headers: Self.key)
            #expect(retried.status == 200)
            #expect(retried.headers["idempotency-replayed"] == nil)
            #expect(gateway.queue.pushCount == 1)
        }
    }

    /// The store fails after the write.
    @Test(arguments: ["/push", "/push/batch"])
    func `a repeated request gets the response of a write that was not confirmed`(path: String) async throws {
        try await TestGateway.run { gateway async throws in
            let body = path == "/push" ? pushLine(1) : "[\(pushLine(1))]"
            gateway.queue.fail(append: 1, .after(.unavailable("timeout", isOutcomeKnown: false)))
            let unknown = try await gateway.post(path, body, headers: Self.key)
            #expect(unknown.status == 503)
            #expect((unknown.json["detail"] as? String)?.contains("same Idempotency-Key") == true)
            let retried = try await gateway.post(path, body, headers: Self.key)
            #expect(retried.status == 200)
            #expect(retried.headers["idempotency-replayed"] == "true")
            let id = try #require(gateway.queue.batches.first).id.push(0).description
            #expect(retried.body.contains(id))
            #expect(gateway.queue.pushCount == 1)
        }
    }

    @Test func `each caller and each route has its own keys`() async throws {
        try await TestGateway.run(configuration: .behindLocalProxy) { gateway async throws in
            let requests: [(String, String, [String])] = [
                ("/push", pushLine(1), []), ("/push", pushLine(1), ["X-Forwarded-For: 192.0.2.1"]),
                ("/push", pushLine(1), ["X-Forwarded-For: 192.0.2.2"]), ("/push/batch", "[\(pushLine(1))]", []),
            ]
            for (path, body, headers) in requests {
                let response = try await gateway.post(path, body, headers: Self.key + headers)
                #expect(response.status == 200)
                #expect(response.headers["idempotency-replayed"] == nil)
            }
            #expect(gateway.queue.pushCount == 4)
            #expect(gateway.queue.idempotencyRecords.count == 4)
        }
    }

    @Test func `a key expires after 24 hours`() async throws {
        let clock = TestClock()
        try await TestGateway.run(clock: clock) { gateway async throws in
            let first = try await gateway.post("/push", pushLine(1), headers: Self.key)
            clock.advance(by: .seconds(24 * 3600 - 1))
            #expect(try await gateway.post("/push", pushLine(1), headers: Self.key).body == first.body)
            clock.advance(by: .seconds(1))
            let second = try await gateway.post("/push", pushLine(1), headers: Self.key)
            #expect(second.headers["idempotency-replayed"] == nil)
            #expect(second.json["msg_id"] as? String != first.json["msg_id"] as? String)
        }
    }

    @Test func `pushes with and without keys share a write`() async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.blockAppends()
            try await withThrowingTaskGroup(of: (Int, WireResponse).self) { group in
                group.addTask { (0, try await gateway.post("/push", pushLine(0))) }
                await gateway.queue.waitForBlockedAppend()
                for number in 1...20 {
                    group.addTask {
                        let key = number % 2 == 0 ? ["Idempotency-Key: key-\(number)"] : []
                        return (number, try await gateway.post("/push", pushLine(number), headers: key))
                    }
                }
                await gateway.waitUntil("godwit_accept_waiting_pushes 20")
                gateway.queue.unblockAppends()
                var responses: [Int: WireResponse] = [:]
                for try await (number, response) in group { responses[number] = response }
                for number in stride(from: 2, through: 20, by: 2) {
                    let key = ["Idempotency-Key: key-\(number)"]
                    let again = try await gateway.post("/push", pushLine(number), headers: key)
                    #expect(again.body == responses[number]?.body)
                    #expect(again.headers["idempotency-replayed"] == "true")
                }
            }
            #expect(gateway.queue.appendCount == 2)
            #expect(gateway.queue.appendsWithRecords == 1)
            #expect(gateway.queue.pushCount == 21)
        }
    }

    @Test func `a stream with a key is stored in one write and gets the usual response`() async throws {
        try await TestGateway.run(apps: TestGateway.twoApps) { gateway async throws in
            let lines = (0..<2500).map { number in
                switch number % 100 {
                case 7: "nonsense"
                case 8: "{\"device_token\":\"zz\",\"app\":\"demo\"}"
                default: pushLine(number, number % 2 == 0 ? #","app":"demo""# : #","app":"other""#)
                }
            }.joined(separator: "\n")
            let plain = try await gateway.post("/push/batch", lines, type: "application/x-ndjson")
            let before = gateway.queue.appendCount
            let first = try await gateway.post("/push/batch", lines, type: "application/x-ndjson", headers: Self.key)
            #expect(gateway.queue.appendCount == before + 1)
            let again = try await gateway.post("/push/batch", lines, type: "application/x-ndjson", headers: Self.key)
            #expect(again.body == first.body)
            #expect(again.headers["content-type"] == "application/x-ndjson")
            #expect(again.headers["idempotency-replayed"] == "true")
            #expect(gateway.queue.pushCount == 2450 * 2)
            // Equal to the response without a key, except for the ids.
            func normal(_ text: String) -> String { text.replacing(/[0-9a-f-]{36}/, with: "ID") }
            #expect(normal(first.body) == normal(plain.body))
            let stored = gateway.queue.idempotencyRecords.values
            #expect(stored.map(\.body.count).reduce(0, +) < 120_000, "consecutive pushes are stored as runs")
        }
    }

    @Test func `a body with a key has a limit, with and without Content-Length`() async throws {
        try await TestGateway.run(configuration: .with(\.idempotentBodyBytesMax, 65_536)) { gateway async throws in
            let large = "[" + (0..<600).map { pushLine($0) }.joined(separator: ",") + "]"
            let declared = try await gateway.post("/push/batch", large, headers: Self.key)
            #expect(declared.status == 413)
            #expect(declared.json["code"] as? Int == 2024)
            #expect((declared.json["detail"] as? String)?.contains("leave the key out") == true)
            let port = gateway.port
            let chunked = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        + "Transfer-Encoding: chunked\r\nConnection: close\r\nIdempotency-Key: k\r\n\r\n"
                )
                try client.sendChunk(large)
                try client.send("0\r\n\r\n")
                return try client.readResponse()
            }
            #expect(chunked.status == 413)
            #expect(gateway.queue.pushCount == 0)
            #expect(try await gateway.post("/push/batch", large).status == 200, "without a key it is streamed")
        }
    }

    @Test func `requests refused for their key are counted`() async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.blockAppends()
            async let first = gateway.post("/push", pushLine(1), headers: Self.key)
            await gateway.queue.waitForBlockedAppend()
            #expect(try await gateway.post("/push", pushLine(1), headers: Self.key).status == 409)
            gateway.queue.unblockAppends()
            #expect(try await first.status == 200)
            for _ in 0..<2 {
                #expect(try await gateway.post("/push", pushLine(2), headers: Self.key).status == 422)
            }
            let metrics = gateway.metrics.exposition()
            #expect(metrics.contains("\ngodwit_accept_refused_total{code=\"3027\"} 1\n"))
            #expect(metrics.contains("\ngodwit_accept_refused_total{code=\"3026\"} 2\n"))
        }
    }

    @Test func `buffered bodies share a limit`() async throws {
        var configuration = AcceptConfiguration()
        configuration.idempotentBodyBytesMax = 65_536
        configuration.idempotentBodiesBytesMax = 65_536
        try await TestGateway.run(configuration: configuration) { gateway async throws in
            gateway.queue.blockAppends()
            let half = "[" + (0..<300).map { pushLine($0) }.joined(separator: ",") + "]"
            async let first = gateway.post("/push/batch", half, headers: ["Idempotency-Key: a"])
            await gateway.queue.waitForBlockedAppend()
            let second = try await gateway.post("/push/batch", half, headers: ["Idempotency-Key: b"])
            #expect(second.status == 503)
            #expect(second.json["code"] as? Int == 3028)
            gateway.queue.unblockAppends()
            #expect(try await first.status == 200)
            #expect(try await gateway.post("/push/batch", half, headers: ["Idempotency-Key: b"]).status == 200)
        }
    }

    @Test func `a response with too many refused items is not stored`() async throws {
        try await TestGateway.run(configuration: .with(\.resultsWaitingMax, 1000)) { gateway async throws in
            let body = "[" + Array(repeating: "1", count: 70_000).joined(separator: ",") + ",\(pushLine(1))]"
            let response = try await gateway.post("/push/batch", body, headers: Self.key)
            #expect(response.status == 413)
            #expect(gateway.queue.pushCount == 0)
        }
    }

    @Test func `nothing is accepted if the store cannot look up the key`() async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.takeDown()
            let response = try await gateway.post("/push", pushLine(1), headers: Self.key)
            #expect(response.status == 503)
            #expect(response.json["code"] as? Int == 3020)
            #expect(gateway.queue.pushCount == 0)
        }
    }

    @Test func `a store that cannot store responses gets 501`() async throws {
        let queue = FaultyStore()
        try await TestGateway.run(queue: queue, stores: AcceptStores(queue: queue, outcomes: queue)) {
            gateway async throws in
            for path in ["/push", "/push/batch"] {
                #expect(try await gateway.post(path, "[\(pushLine(1))]", headers: Self.key).status == 501)
            }
            #expect(queue.pushCount == 0)
        }
    }

    @Test(arguments: ["/push", "/push/batch"])
    func `a key is refused while too many responses are stored`(path: String) async throws {
        let log = LogRecorder()
        let one = AcceptConfiguration.with(\.storedResponses, IdempotencyUsage(records: 1, bytes: 1_000_000))
        try await TestGateway.run(configuration: one, log: log.logger) { gateway async throws in
            let body = "[\(pushLine(1))]".dropFirst(path == "/push" ? 1 : 0).dropLast(path == "/push" ? 1 : 0)
            func post(_ key: String) async throws -> WireResponse {
                try await gateway.post(path, String(body), headers: ["Idempotency-Key: \(key)"])
            }
            #expect(try await post("a").status == 200)
            let refused = try await post("b")
            #expect(refused.status == 503)
            #expect(refused.json["code"] as? Int == 3028)
            #expect((refused.json["detail"] as? String)?.contains("leave the key out") == true)
            #expect(refused.headers["retry-after"] == "60")
            #expect(try await post("a").headers["idempotency-replayed"] == "true", "the stored one is returned")
            #expect(try await gateway.post(path, String(body)).status == 200, "without a key")
            #expect(gateway.queue.pushCount == 2)
            #expect(gateway.metric("godwit_accept_shed_total{reason=\"responses\"}") == 1)
            #expect(gateway.metric("godwit_accept_stored_responses") == 1)
        }
    }

    @Test func `stored responses are limited by their bytes as well`() async throws {
        let small = AcceptConfiguration.with(\.storedResponses, IdempotencyUsage(records: 1000, bytes: 65_536))
        try await TestGateway.run(configuration: small) { gateway async throws in
            // 2,000 refused items, each with its text in the response.
            let body = pushLine(1) + "\n" + String(repeating: "{}\n", count: 2000)
            func post(_ key: String) async throws -> WireResponse {
                try await gateway.post(
                    "/push/batch", body, type: "application/x-ndjson", headers: ["Idempotency-Key: \(key)"])
            }
            #expect(try await post("a").status == 200)
            #expect(gateway.metric("godwit_accept_stored_response_bytes") ?? 0 >= 65_536)
            #expect(try await post("b").status == 503)
        }
    }

    @Test(arguments: [
        "\"\"", "", "\"a", "a b", "a,b", "\"a\", \"b\"", "\"a\";p=1", "\"a\\b\"", "\"é\"",
        String(repeating: "k", count: 256),
    ])
    func `an invalid key is refused`(field: String) async throws {
        try await TestGateway.run { gateway async throws in
            for path in ["/push", "/push/batch"] {
                let response = try await gateway.post(path, pushLine(1), headers: ["Idempotency-Key: \(field)"])
                #expect(response.status == 400)
                #expect(response.json["field"] as? String == "Idempotency-Key")
                #expect(response.json["code"] as? Int == 3018)
            }
            #expect(gateway.queue.pushCount == 0)
        }
    }

    @Test func `a key may have 255 characters, quoted or not`() async throws {
        try await TestGateway.run { gateway async throws in
            for (number, field) in [
                String(repeating: "k", count: 255), "\"" + String(repeating: "\\\"", count: 255) + "\"",
                "\"a b, c; d\"", "8e03978e-40d5-43dd-bc93-6894a57f9324",
            ].enumerated() {
                let response = try await gateway.post("/push", pushLine(number), headers: ["Idempotency-Key: \(field)"])
                #expect(response.status == 200, "\(response.body)")
            }
        }
    }
}
