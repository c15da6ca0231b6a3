import Foundation
import PushModel
import Telemetry
import Testing

@testable import PushAccept

/// What a connection does around single pushes.
@Suite(.bothServers) struct `Connections with single pushes` {
    private static func push(_ number: Int, _ fields: String = "") -> String {
        post(pushLine(number), fields)
    }

    private static func post(_ body: String, _ fields: String = "", path: String = "/push") -> String {
        "POST \(path) HTTP/1.1\r\nHost: localhost\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private static func get(_ path: String, _ fields: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n"
    }

    @Test func `pipelined requests of all kinds get their responses in order`() async throws {
        try await TestGateway.run { gateway async throws in
            let port = gateway.port
            let responses = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    Self.push(1, "X-Request-Id: a\r\n") + Self.push(2) + Self.get("/healthz") + Self.push(3)
                        + "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}" + Self.get("/nothing")
                        + Self.get("/codes") + Self.push(4)
                )
                return try client.readResponses(8)
            }
            #expect(responses.map(\.status) == [200, 200, 200, 200, 400, 404, 404, 200])
            #expect(responses[0].headers["x-request-id"] == "a")
            #expect(responses[2].body == "ok\n")
            #expect(responses[4].json["code"] as? Int == 2022)
            #expect(Set(responses.compactMap { $0.json["msg_id"] as? String }).count == 4)
            #expect(gateway.queue.pushCount == 4)
        }
    }

    @Test func `pushes with warnings and to many devices get their responses in order`() async throws {
        var configuration = AcceptConfiguration()
        configuration.rateLimits.push = RateLimit(perSecond: 1, burst: 20)
        let token = String(repeating: "ab", count: 32)
        let warned = #"{"device_token":"\#(token)","payload":{"aps":{"content-available":1}}}"#
        let many = #"{"device_tokens":["\#(token)","xyz"],"payload":{"aps":{"alert":"a"}}}"#
        try await TestGateway.run(configuration: configuration, clock: TestClock()) { gateway async throws in
            let port = gateway.port
            let responses = try await onThread {
                let client = try WireClient(port: port)
                let requests = [
                    Self.post(many, "X-Request-Id: a\r\n"), Self.push(1), Self.post(warned),
                    Self.post(warned, path: "/push?strict=true"), Self.post(many, "Idempotency-Key: k\r\n"),
                    Self.post(many), Self.post(warned, "Idempotency-Key: l\r\n"),
                ]
                try client.send(requests.joined())
                return try client.readResponses(requests.count)
            }
            #expect(responses.map(\.status) == [200, 200, 200, 400, 200, 200, 200])
            #expect(responses[0].headers["x-request-id"] == "a")
            #expect(responses.map { ($0.json["results"] as? [Any])?.count } == [2, nil, nil, nil, 2, 2, nil])
            #expect(responses.map { ($0.json["warnings"] as? [Any])?.count } == [nil, nil, 1, nil, nil, nil, 1])
            for (index, response) in responses.enumerated() {
                #expect(
                    response.headers["ratelimit"]?.hasPrefix("\"push\";r=\(19 - index);") == true, "counted once")
            }
            #expect(gateway.queue.pushCount == 6)
            let metrics = gateway.metrics.exposition()
            #expect(metrics.contains("\ngodwit_accept_requests_total{route=\"push\",status=\"2xx\"} 6\n"))
            #expect(metrics.contains("\ngodwit_accept_refused_total{code=\"3030\"} 3\n"))
        }
    }

    @Test func `a client that is gone gets its push to many devices committed and counted`() async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.blockAppends()
            let port = gateway.port
            try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.post(#"{"device_tokens":["aa","bb"],"payload":{"aps":{"alert":"a"}}}"#))
                client.close()
            }
            await gateway.queue.waitForBlockedAppend()
            gateway.queue.unblockAppends()
            await gateway.waitUntil(#"godwit_accept_requests_total{route="push",status="2xx"} 1"#)
            #expect(gateway.queue.pushCount == 2)
        }
    }

    @Test func `more requests than are served concurrently are served in turn`() async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.blockAppends()
            let port = gateway.port
            async let responses = onThread {
                let client = try WireClient(port: port)
                try client.send((0..<50).map { Self.push($0, "X-Request-Id: \($0)\r\n") }.joined())
                return try client.readResponses(50)
            }
            await gateway.queue.waitForBlockedAppend()
            gateway.queue.unblockAppends()
            #expect(try await responses.map(\.headers["x-request-id"]) == (0..<50).map { "\($0)" })
            #expect(gateway.queue.pushCount == 50)
        }
    }

    @Test func `all responses have the same fields`() async throws {
        try await TestGateway.run { gateway async throws in
            for response in [
                try await gateway.post("/push", pushLine(1)), try await gateway.post("/push", "{}"),
                try await gateway.send("GET", "/healthz"),
            ] {
                #expect(response.headers["server"] == "godwit")
                #expect(response.headers["date"]?.hasSuffix(" GMT") == true)
                #expect(response.headers["x-request-id"]?.isEmpty == false)
            }
        }
    }

    @Test func `a push of a client that is gone is committed and counted`() async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.blockAppends()
            let port = gateway.port
            try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.push(1))
                client.close()
            }
            await gateway.queue.waitForBlockedAppend()
            gateway.queue.unblockAppends()
            await gateway.waitUntil(#"godwit_accept_requests_total{route="push",status="2xx"} 1"#)
            #expect(gateway.queue.pushCount == 1)
        }
    }

    @Test func `a client that ends its output still gets the response`() async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.blockAppends()
            let port = gateway.port
            async let response = onThread {
                let client = try WireClient(port: port)
                try client.send(Self.push(1))
                client.closeOutput()
                return try client.readResponse()
            }
            await gateway.queue.waitForBlockedAppend()
            gateway.queue.unblockAppends()
            #expect(try await response.status == 200)
        }
    }

    @Test func `a body that is cut off is refused`() async throws {
        try await TestGateway.run { gateway async throws in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\n{\"device_token\":")
                client.closeOutput()
                return try client.readResponse()
            }
            #expect(response.status == 400)
            #expect(response.json["code"] as? Int == 2025)
            #expect(gateway.metrics.exposition().contains("\ngodwit_accept_refused_total{code=\"2025\"} 1\n"))
        }
    }

    @Test func `a chunked body that is too large is refused`() async throws {
        try await TestGateway.run(configuration: .with(\.lingerTimeout, .milliseconds(50))) { gateway async throws in
            let port = gateway.port
            let text = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for _ in 0..<33 { try client.sendChunk(String(repeating: " ", count: 8000)) }
                return try client.read(until: "request_id")
            }
            #expect(text.hasPrefix("HTTP/1.1 413 "))
            #expect(gateway.queue.batches.isEmpty)
        }
    }

    @Test func `a connection is used again after a refusal before the body`() async throws {
        try await TestGateway.run { gateway async throws in
            let port = gateway.port
            let statuses = try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.push(1, "Content-Type: text/html\r\n") + Self.push(2))
                return try client.readResponses(2).map(\.status)
            }
            #expect(statuses == [415, 200])
        }
    }

    @Test(arguments: ["close", "Close", "keep-alive, close"])
    func `the connection ends after the response if the client asks for it`(connection: String) async throws {
        try await TestGateway.run { gateway async throws in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.push(1, "Connection: \(connection)\r\n") + Self.push(2))
                return try client.readResponse()
            }
            #expect(response.status == 200)
            #expect(gateway.queue.pushCount == 1)
        }
    }

    /// The second header is for Hummingbird: a stored response is looked up in a task.
    @Test(arguments: ["", "Idempotency-Key: a\r\n"])
    func `input after a request that ends the connection does not lose its response`(field: String) async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.blockAppends()
            let port = gateway.port
            let client = try await onThread {
                let client = try WireClient(port: port)
                try client.send(Self.push(1, "Connection: close\r\n" + field))
                for _ in 0..<3 { try client.send(Self.push(2)) }
                return client
            }
            await gateway.queue.waitForBlockedAppend()
            gateway.queue.unblockAppends()
            let received = try await onThread { try client.readResponse() }
            #expect(received.status == 200)
            #expect(received.headers["connection"] == "close")
            #expect(!received.body.contains("problems"))
            #expect(gateway.queue.pushCount == 1)
        }
    }

    @Test func `a stop lets a push in progress finish`() async throws {
        try await TestGateway.run { gateway async throws in
            gateway.queue.blockAppends()
            let port = gateway.port
            async let response = onThread {
                let client = try WireClient(port: port)
                try client.send(Self.push(1))
                return try client.readResponse()
            }
            await gateway.queue.waitForBlockedAppend()
            await gateway.stop()
            gateway.queue.unblockAppends()
            #expect(try await response.status == 200)
        }
    }

    @Test func `the date has the format of RFC 9110`() {
        #expect(DateField.text(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
    }
}
