import Foundation
import PushAccept
import PushModel
import Testing

@Suite(.bothServers) struct `Invalid requests` {
    private func expectProblem(
        _ response: WireResponse, _ status: Int, code: Int? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(response.status == status, "\(response.body)", sourceLocation: sourceLocation)
        #expect(response.headers["content-type"] == "application/problem+json", sourceLocation: sourceLocation)
        #expect(response.json["status"] as? Int == status, sourceLocation: sourceLocation)
        #expect((response.json["title"] as? String)?.isEmpty == false, sourceLocation: sourceLocation)
        #expect((response.json["detail"] as? String)?.isEmpty == false, sourceLocation: sourceLocation)
        #expect((response.json["type"] as? String)?.isEmpty == false, sourceLocation: sourceLocation)
        #expect(response.headers["x-request-id"]?.isEmpty == false, sourceLocation: sourceLocation)
        #expect(
            response.headers["x-request-id"] == response.json["request_id"] as? String, sourceLocation: sourceLocation)
        if let code { #expect(response.json["code"] as? Int == code, sourceLocation: sourceLocation) }
    }

    @Test func `every invalid request gets a problem document`() async throws {
        try await TestGateway.run { gateway in
            expectProblem(try await gateway.send("GET", "/nothing"), 404)
            expectProblem(try await gateway.send("GET", "/api/v1"), 404)
            let wrongMethod = try await gateway.send("GET", "/push")
            expectProblem(wrongMethod, 405)
            #expect(wrongMethod.headers["allow"] == "POST")
            for (method, path, allowed) in [
                ("PUT", "/api/v1/messages/1", "GET, HEAD, DELETE"), ("GET", "/api/v1/messages/query", "POST"),
                ("DELETE", "/api/v1/messages/cancel", "POST"), ("POST", "/api/v1/dead-letters", "GET, HEAD"),
                ("GET", "/api/v1/apps/demo/pause", "POST"),
            ] {
                let response = try await gateway.send(method, path)
                expectProblem(response, 405)
                #expect(response.headers["allow"] == allowed, "\(path)")
            }
            expectProblem(try await gateway.send("POST", "/push", type: "text/html", body: "{}"), 415)
            expectProblem(try await gateway.send("POST", "/push", type: "application/x-ndjson", body: "{}"), 415)
            expectProblem(try await gateway.send("POST", "/push/batch", type: "text/csv", body: "{}"), 415)
            expectProblem(try await gateway.post("/push", "{"), 400, code: 2020)
            expectProblem(try await gateway.post("/push", ""), 400, code: 2020)
            expectProblem(try await gateway.post("/push", "[]"), 400, code: 2021)
            expectProblem(try await gateway.post("/push/batch", ""), 400, code: 2020)
            expectProblem(try await gateway.post("/push/batch", "{}"), 400, code: 2020)
            expectProblem(try await gateway.post("/push/batch", "\n\n", type: "application/x-ndjson"), 400, code: 2020)
            expectProblem(try await gateway.post("/push", String(repeating: " ", count: 300_000)), 413, code: 2024)
            expectProblem(
                try await gateway.post(
                    "/push", #"{"device_token":"ab","payload":{"a":"\#(String(repeating: "x", count: 5000))"}}"#),
                413, code: 3006
            )
            let field = try await gateway.post("/push", #"{"device_token":"ab","payload":{},"nope":1}"#)
            expectProblem(field, 400, code: 2023)
            #expect(field.json["field"] as? String == "nope")
            #expect(field.json["error"] as? String == "unknown_field")
            #expect(field.json["type"] as? String == "/api/v1/codes#unknown_field")
            expectProblem(try await gateway.send("GET", "/api/v1/messages/not-an-id"), 400, code: 3018)
            expectProblem(try await gateway.post("/api/v1/messages/query", "{}"), 400, code: 2022)
            #expect(gateway.queue.batches.isEmpty)
        }
    }

    @Test func `a body that is too large is refused unread`() async throws {
        try await TestGateway.run(configuration: .with(\.lingerTimeout, .milliseconds(50))) { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send("POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
                return try client.readResponse()
            }
            expectProblem(response, 413, code: 2024)
        }
    }

    @Test(arguments: [
        "nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "POST /push HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ])
    func `input that is not HTTP gets a problem document`(text: String) async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(text)
                return try client.readResponse()
            }
            expectProblem(response, 400, code: 2006)
        }
    }

    @Test func `a header that is too large is refused`() async throws {
        try await TestGateway.run(configuration: .with(\.headerBytesMax, 2000)) { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send("GET / HTTP/1.1\r\nX: \(String(repeating: "x", count: 4000))\r\n\r\n")
                return try client.readResponse()
            }
            expectProblem(response, 431)
        }
    }

    @Test(arguments: [0, 1, 3])
    func `a header that does not arrive is refused with 408`(requestsBefore: Int) async throws {
        try await TestGateway.run(configuration: .with(\.headerTimeout, .milliseconds(300))) { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                for _ in 0..<requestsBefore {
                    try client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    _ = try client.read(until: "ok\n")
                }
                try client.send("GET / HTTP/1.1\r\nX-Slow: ")
                return try client.readResponse()
            }
            expectProblem(response, 408, code: 2025)
            #expect(response.headers["connection"] == "close")
        }
    }

    @Test func `a connection without a request ends after the time for a header`() async throws {
        try await TestGateway.run(configuration: .with(\.headerTimeout, .milliseconds(50))) { gateway in
            let port = gateway.port
            let rest = try await onThread { try WireClient(port: port).read() }
            #expect(rest.isEmpty)
        }
    }

    @Test func `a body that arrives too slowly is refused with 408`() async throws {
        try await TestGateway.run(configuration: .with(\.bodyTimeout, .milliseconds(200))) { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send("POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
                return try client.readResponse()
            }
            expectProblem(response, 408, code: 2025)
            #expect(response.headers["connection"] == "close")
        }
    }

    @Test(arguments: [
        ("/api/v1/messages/query", "Content-Type: application/json"),
        ("/push/batch", "Content-Type: application/json\r\nIdempotency-Key: k"),
    ])
    func `a buffered body has a time limit on streaming routes also`(path: String, fields: String)
        async throws
    {
        try await TestGateway.run(configuration: .with(\.bodyTimeout, .milliseconds(300))) { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send("POST \(path) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\nContent-Length: 100\r\n\r\n{")
                return try client.readResponse()
            }
            expectProblem(response, 408, code: 2025)
        }
    }

    @Test func `a compressed body is refused with advice`() async throws {
        try await TestGateway.run { gateway in
            for path in ["/push", "/push/batch", "/api/v1/messages/query", "/api/v1/messages/cancel"] {
                let response = try await gateway.post(path, "x", headers: ["Content-Encoding: gzip"])
                expectProblem(response, 415)
                #expect((response.json["detail"] as? String)?.contains("without Content-Encoding") == true)
                #expect(response.headers["accept-encoding"] == "identity")
            }
            #expect(
                try await gateway.post("/push", pushLine(1), headers: ["Content-Encoding: identity"]).status == 200
            )
        }
    }

    @Test func `a stream has no time limit`() async throws {
        try await TestGateway.run(configuration: .with(\.bodyTimeout, .milliseconds(1))) { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
                        + "Transfer-Encoding: chunked\r\n\r\n"
                )
                try client.sendChunk(pushLine(0) + "\n")
                _ = try client.read(until: "\"index\":0")
                try client.sendChunk(pushLine(1) + "\n")
                _ = try client.read(until: "\"index\":1")
                try client.send("0\r\n\r\n")
                return try client.read(until: "0\r\n\r\n")
            }
            #expect(response.contains("0\r\n\r\n"))
        }
    }

    @Test func `an idle connection is closed`() async throws {
        try await TestGateway.run(configuration: .with(\.idleTimeout, .milliseconds(50))) { gateway in
            let port = gateway.port
            let rest = try await onThread { try WireClient(port: port).read() }
            #expect(rest.isEmpty)
        }
    }

    @Test func `a request with Expect gets 100 Continue`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                let body = pushLine(1)
                try client.send(
                    "POST /push HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
                        + "Content-Length: \(body.utf8.count)\r\n\r\n"
                )
                #expect(try client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100 "))
                try client.send(body)
                return try client.readResponse()
            }
            #expect(response.status == 200)
        }
    }

    @Test func `a connection serves several requests`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            try await onThread {
                let client = try WireClient(port: port)
                for number in 0..<3 {
                    let body = pushLine(number)
                    try client.send(
                        "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                    #expect(try client.read(until: "}\n").contains("accepted"))
                    try client.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    #expect(try client.read(until: "}\n").contains("404"))
                }
            }
            #expect(gateway.queue.pushCount == 3)
        }
    }

    @Test func `the caller's request id is kept if it is safe to log`() async throws {
        try await TestGateway.run { gateway in
            let kept = try await gateway.send("GET", "/healthz", headers: ["X-Request-Id: abc-1.2_3"])
            #expect(kept.headers["x-request-id"] == "abc-1.2_3")
            let odd = try await gateway.send("GET", "/healthz", headers: ["X-Request-Id: a b\"c"])
            #expect(odd.headers["x-request-id"]?.contains("b") == true || odd.headers["x-request-id"]?.isEmpty == false)
            #expect(odd.headers["x-request-id"] != "a b\"c")
        }
    }

    @Test func `the instance is ready although APNs is away, and says so`() async throws {
        let notices = ["APNs cannot be reached since 2026-11-29T12:00:00.000Z: connect: EACCES (demo)", "another"]
        try await TestGateway.run(notices: notices) { gateway async throws in
            let response = try await gateway.send("GET", "/readyz")
            #expect(response.status == 200)
            #expect(response.body == "ready\n\(notices[0])\nanother\n")
        }
    }

    @Test func `probes, index, codes and metrics are served`() async throws {
        try await TestGateway.run { gateway in
            #expect(try await gateway.send("GET", "/healthz").body == "ok\n")
            #expect(try await gateway.send("GET", "/readyz").body == "ready\n")
            #expect(try await gateway.send("HEAD", "/healthz").status == 200)
            let index = try await gateway.send("GET", "/").body
            #expect(index.contains("POST /push/batch") && index.contains("GET /api/v1/messages/{msg_id}"))
            let codes = try #require(try await gateway.send("GET", "/api/v1/codes").json["codes"] as? [[String: Any]])
            #expect(codes.count == ErrorCode.allCases.count)
            #expect(codes.contains { $0["code"] as? Int == 1001 && $0["name"] as? String == "connection_timed_out" })
            _ = try await gateway.post("/push", "{}")
            let metrics = try await gateway.send("GET", "/metrics")
            #expect(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(metrics.body.contains("godwit_accept_requests_total{route=\"push\",status=\"4xx\"} 1\n"))
            #expect(metrics.body.contains("godwit_accept_refused_total{code=\"2022\"} 1\n"))
        }
    }

    @Test func `a gateway that is not ready gives the reasons`() async throws {
        try await TestGateway.run(reasons: ["the store is being opened", "APNs cannot be reached"]) { gateway in
            let response = try await gateway.send("GET", "/readyz")
            expectProblem(response, 503)
            #expect(response.json["detail"] as? String == "the store is being opened; APNs cannot be reached")
            #expect(response.headers["retry-after"] == "1")
        }
    }

    @Test func `a configuration reports all problems`() {
        #expect(AcceptConfiguration().problems().isEmpty)
        var configuration = AcceptConfiguration()
        configuration.port = 70_000
        configuration.idleTimeout = .zero
        configuration.batchPushesMax = 1001
        #expect(configuration.problems().count == 3)
    }
}
