import Foundation
import PushAccept
import Testing

/// Requests that a browser sends for a page of another site, or to another name.
@Suite(.bothServers) struct `Foreign requests` {
    @Test(arguments: [
        "http://evil.example", "https://localhost:3000", "null", "file://", "http://localhost.evil.example",
    ])
    func `a page of another origin is refused on every route`(origin: String) async throws {
        try await TestGateway.run { gateway async throws in
            for (method, path) in [("POST", "/push"), ("POST", "/push/batch"), ("GET", "/api/v1/apps"), ("GET", "/no")]
            {
                let response = try await gateway.send(
                    method, path, body: method == "POST" ? pushLine(1) : nil, headers: ["Origin: \(origin)"]
                )
                #expect(response.status == 403, "\(path)")
                #expect(response.headers["content-type"] == "application/problem+json")
            }
            #expect(gateway.queue.batches.isEmpty)
        }
    }

    @Test func `a page of this server is not refused`() async throws {
        var configuration = AcceptConfiguration()
        configuration.hosts = ["Push.example.com"]
        try await TestGateway.run(configuration: configuration) { gateway async throws in
            for (host, origin) in [
                ("localhost:8025", "http://localhost:8025"), ("push.example.com", "https://push.example.com"),
                // A proxy that rewrites the Host.
                ("127.0.0.1", "https://push.example.com:8443"),
            ] {
                let headers = ["Host: \(host)", "Origin: \(origin)", "Sec-Fetch-Site: same-origin"]
                #expect(try await gateway.post("/push", pushLine(1), headers: headers).status == 200, "\(host)")
            }
        }
    }

    @Test func `a cross-site request without an Origin is refused`() async throws {
        try await TestGateway.run { gateway async throws in
            let headers = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"]
            #expect(try await gateway.send("GET", "/metrics", headers: headers).status == 403)
            #expect(try await gateway.post("/push", pushLine(1), headers: headers).status == 403)
            #expect(try await gateway.send("GET", "/metrics", headers: ["Sec-Fetch-Site: none"]).status == 200)
        }
    }

    @Test(arguments: [
        ("evil.example", 421), ("evil.example:8025", 421), ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost", 200), ("LOCALHOST:1", 200), ("localhost.:1", 200), ("app.localhost", 200),
        ("127.0.0.1:8025", 200),
        ("[::1]:8025", 200), ("192.0.2.1", 200), ("", 200),
    ])
    func `a listener on loopback accepts only its own names`(host: String, status: Int) async throws {
        try await TestGateway.run { gateway async throws in
            #expect(try await gateway.send("GET", "/healthz", headers: ["Host: \(host)"]).status == status)
            #expect(try await gateway.post("/push", pushLine(1), headers: ["Host: \(host)"]).status == status)
        }
    }

    @Test func `configured names are accepted in addition`() async throws {
        try await TestGateway.run(configuration: .with(\.hosts, ["push.example.com"])) { gateway async throws in
            for (host, status) in [("push.example.com", 200), ("PUSH.example.com:443", 200), ("other.example", 421)] {
                #expect(
                    try await gateway.send("GET", "/healthz", headers: ["Host: \(host)"]).status == status, "\(host)")
            }
        }
    }

    @Test func `another listener accepts every name until names are configured`() async throws {
        var configuration = AcceptConfiguration.with(\.host, "0.0.0.0")
        for (hosts, status) in [([], 200), (["push.example.com"], 421)] {
            configuration.hosts = hosts
            try await TestGateway.run(configuration: configuration) { gateway async throws in
                let response = try await gateway.send("GET", "/healthz", headers: ["Host: gateway.internal"])
                #expect(response.status == status)
            }
        }
    }

    @Test(arguments: [
        "/api/v1/messages/cancel", "/api/v1/apps/demo/pause", "/api/v1/apps/demo/resume", "/api/v1/dead-letters/replay",
        "/api/v1/dead-letters/purge",
    ])
    func `a control request must declare its body as JSON`(path: String) async throws {
        try await TestGateway.run { gateway async throws in
            for type in [nil, "text/plain", "application/x-www-form-urlencoded", "application/x-ndjson"] {
                let response = try await gateway.send("POST", path, type: type, body: #"{"app":"demo"}"#)
                #expect(response.status == 415, "\(type ?? "none")")
                #expect(response.headers["content-type"] == "application/problem+json")
            }
            for type in ["application/json", "application/json; charset=utf-8"] {
                #expect(try await gateway.post(path, #"{"app":"demo"}"#, type: type).status == 200, "\(type)")
            }
        }
    }

    @Test func `a control request without a body needs no type`() async throws {
        try await TestGateway.run { gateway async throws in
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/pause").status == 200)
            #expect(try await gateway.send("POST", "/api/v1/apps/demo/resume", type: nil, body: "").status == 200)
        }
    }

    @Test func `text is no list of pushes or ids`() async throws {
        try await TestGateway.run { gateway async throws in
            for path in ["/push", "/push/batch", "/api/v1/messages/query"] {
                #expect(try await gateway.post(path, pushLine(1), type: "text/plain").status == 415, "\(path)")
            }
            #expect(gateway.queue.batches.isEmpty)
        }
    }
}
