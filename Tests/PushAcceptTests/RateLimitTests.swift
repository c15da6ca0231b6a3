import Foundation
import PushAccept
import PushModel
import PushStore
import Telemetry
import Testing

@Suite(.bothServers) struct `Rate limits` {
    private static let batch = "[\(pushLine(1))]"

    private static func limits(_ change: (inout RateLimits) -> Void) -> AcceptConfiguration {
        var configuration = AcceptConfiguration()
        change(&configuration.rateLimits)
        return configuration
    }

    @Test func `every response of the batch route has its limit`() async throws {
        try await TestGateway.run { gateway async throws in
            let first = try await gateway.post("/push/batch", Self.batch)
            #expect(first.headers["ratelimit-policy"] == "\"batch\";q=100;w=2")
            #expect(first.headers["ratelimit"] == "\"batch\";r=99;t=1")
            let bad = try await gateway.post("/api/v1/push/batch", "nonsense")
            #expect(bad.status == 400)
            #expect(bad.headers["ratelimit"] == "\"batch\";r=98;t=1", "both paths share one limit")
            let single = try await gateway.post("/push", pushLine(1))
            #expect(single.headers["ratelimit"] == nil, "no limit, no field")
        }
    }

    @Test func `a request beyond the limit gets 429 with Retry-After`() async throws {
        let clock = TestClock()
        try await TestGateway.run(
            configuration: Self.limits { $0.batch = RateLimit(perSecond: 0.5, burst: 2) }, clock: clock
        ) { gateway async throws in
            for _ in 0..<2 { #expect(try await gateway.post("/push/batch", Self.batch).status == 200) }
            let refused = try await gateway.post("/push/batch", Self.batch)
            #expect(refused.status == 429)
            #expect(refused.headers["content-type"] == "application/problem+json")
            #expect(refused.headers["retry-after"] == "2")
            #expect(refused.headers["ratelimit"] == "\"batch\";r=0;t=2")
            #expect(refused.headers["ratelimit-policy"] == "\"batch\";q=2;w=4")
            #expect(refused.json["code"] as? Int == 3025)
            #expect(refused.json["error"] as? String == "rate_limited")
            #expect(gateway.queue.pushCount == 2)
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_shed_total{reason=\"rate\"} 1\n"))
            clock.advance(by: .milliseconds(1999))
            #expect(try await gateway.post("/push/batch", Self.batch).headers["retry-after"] == "1", "at least 1")
            clock.advance(by: .milliseconds(1))
            #expect(try await gateway.post("/push/batch", Self.batch).status == 200)
        }
    }

    @Test func `a request is refused before its body arrives`() async throws {
        try await TestGateway.run(configuration: Self.limits { $0.push = RateLimit(perSecond: 1, burst: 1) }) {
            gateway in
            #expect(try await gateway.post("/push", pushLine(1)).status == 200)
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n"
                )
                return try client.read(until: "rate_limited")
            }
            #expect(response.hasPrefix("HTTP/1.1 429 "))
        }
    }

    @Test func `callers are distinguished by their address alone`() async throws {
        var configuration = Self.limits { $0.batch = RateLimit(perSecond: 1, burst: 1) }
        configuration.trustedProxies = AcceptConfiguration.behindLocalProxy.trustedProxies
        try await TestGateway.run(configuration: configuration) { gateway in
            var statuses: [Int] = []
            for (client, authorization) in [
                ("192.0.2.1", "a"), ("192.0.2.1", "b"), ("192.0.2.2", "a"), ("192.0.2.2", "a"),
            ] {
                let headers = ["X-Forwarded-For: \(client)", "Authorization: Bearer \(authorization)"]
                statuses.append(try await gateway.post("/push/batch", Self.batch, headers: headers).status)
            }
            #expect(statuses == [200, 429, 200, 429])
        }
    }

    @Test func `a client that is not a trusted proxy cannot choose its address`() async throws {
        try await TestGateway.run(configuration: Self.limits { $0.batch = RateLimit(perSecond: 1, burst: 1) }) {
            gateway async throws in
            for (client, status) in [("192.0.2.1", 200), ("192.0.2.2", 429)] {
                let headers = ["X-Forwarded-For: \(client)"]
                #expect(try await gateway.post("/push/batch", Self.batch, headers: headers).status == status)
            }
        }
    }

    @Test func `queries and control have separate limits`() async throws {
        let configuration = Self.limits {
            $0.status = RateLimit(perSecond: 1, burst: 1)
            $0.control = RateLimit(perSecond: 1, burst: 1)
        }
        try await TestGateway.run(configuration: configuration) { gateway async throws in
            let id = BatchID.random(at: TestGateway.now).push(0)
            #expect(try await gateway.send("GET", "/api/v1/messages/\(id)").status == 404)
            #expect(try await gateway.post("/api/v1/messages/query", "{\"ids\":[]}").status == 429)
            #expect(try await gateway.send("DELETE", "/api/v1/messages/\(id)").status == 404)
            #expect(try await gateway.send("GET", "/api/v1/apps").status == 429)
        }
    }

    // MARK: Devices

    private static let perDevice = limits { $0.device = RateLimit(2, in: .seconds(60)) }

    @Test func `pushes to one device are limited`() async throws {
        let clock = TestClock()
        try await TestGateway.run(apps: TestGateway.twoApps, configuration: Self.perDevice, clock: clock) {
            gateway async throws in
            func push(_ number: Int, _ app: String = "demo") -> String { pushLine(number, #","app":"\#(app)""#) }
            for _ in 0..<2 { #expect(try await gateway.post("/push", push(1)).status == 200) }
            let refused = try await gateway.post("/push", push(1))
            #expect(refused.status == 429)
            #expect(refused.json["code"] as? Int == 3025)
            #expect(refused.headers["retry-after"] == "30")
            #expect(
                refused.json["detail"] as? String
                    == "one device gets at most 2 pushes within 60 s; send it again in 30 s"
            )
            #expect(try await gateway.post("/push", push(2)).status == 200, "another device")
            #expect(try await gateway.post("/push", push(1, "other")).status == 200, "another app")
            let bulk = try await gateway.post(
                "/push/batch", [1, 3, 3, 3, 4].map { push($0) }.joined(separator: "\n"), type: "application/x-ndjson"
            )
            #expect(bulk.lines.map { $0["code"] as? Int } == [3025, 0, 0, 3025, 0])
            clock.advance(by: .seconds(30))
            #expect(try await gateway.post("/push", push(1)).status == 200)
        }
    }

    @Test func `a push that is refused after it was counted is counted back`() async throws {
        var configuration = Self.limits { $0.device = RateLimit(1, in: .seconds(60)) }
        configuration.singlePushesMax = 1
        try await TestGateway.run(configuration: configuration) { gateway async throws in
            gateway.queue.blockAppends()
            let port = gateway.port
            let clients = try await onThread {
                // Each begins while no push waits, so its body is read.
                try (1...3).map { number in
                    let client = try WireClient(port: port)
                    try client.send(
                        "POST /push HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                            + "Content-Length: \(pushLine(number).utf8.count)\r\nExpect: 100-continue\r\n\r\n")
                    _ = try client.read(until: "100 Continue\r\n\r\n")
                    return client
                }
            }
            try await onThread { try clients[0].send(pushLine(1)) }
            await gateway.queue.waitForBlockedAppend()
            try await onThread { try clients[1].send(pushLine(2)) }
            await gateway.waitUntil("godwit_accept_waiting_pushes 1")
            let refused = try await onThread {
                try clients[2].send(pushLine(3))
                return try clients[2].readResponse()
            }
            #expect(refused.status == 503)
            #expect(refused.json["code"] as? Int == 3019)
            gateway.queue.unblockAppends()
            for client in clients.prefix(2) {
                #expect(try await onThread { try client.readResponse() }.status == 200)
            }
            #expect(try await gateway.post("/push", pushLine(3)).status == 200, "its refusal was not counted")
            #expect(try await gateway.post("/push", pushLine(3)).status == 429)
        }
    }

    @Test func `pushes that could not be stored are not counted`() async throws {
        try await TestGateway.run(configuration: Self.perDevice) { gateway async throws in
            for append in 1...4 { gateway.queue.fail(append: append, .before(.full("disk"))) }
            for _ in 0..<4 { #expect(try await gateway.post("/push", pushLine(1)).status == 503) }
            for _ in 0..<2 { #expect(try await gateway.post("/push", pushLine(1)).status == 200) }
            #expect(try await gateway.post("/push", pushLine(1)).status == 429)
        }
    }
}
