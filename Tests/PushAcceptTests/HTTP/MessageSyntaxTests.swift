import Foundation
import PushAccept
import Synchronization
import Testing

/// RFC 9112 and RFC 9110: what is not a valid request, and how a valid one may look.
@Suite(.bothServers) struct `HTTP messages` {
    /// Sends `text` and reads to the end of the connection.
    private func exchange(
        _ text: String, isHead: Bool = false, configuration: AcceptConfiguration = AcceptConfiguration()
    ) async throws -> WireResponse {
        let result = Mutex<WireResponse?>(nil)
        try await TestGateway.run(configuration: configuration) { gateway async throws in
            let port = gateway.port
            let response = try await onThread {
                let client = try WireClient(port: port)
                try client.send(text)
                return try client.readResponse(isHead: isHead)
            }
            result.withLock { $0 = response }
        }
        return try #require(result.withLock { $0 })
    }

    private static let body = pushLine(1)

    @Test(arguments: [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400), ("POST /push HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: local host\r\n\r\n", 400), ("GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: user@localhost\r\n\r\n", 400),
        ("POST /push HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("POST /push/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 501),
        ("POST /push HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (
            "POST /push HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
            400
        ),
        ("POST /push HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}", 400),
    ])
    func `a request that violates RFC 9112 gets a problem document`(text: String, status: Int) async throws {
        let response = try await exchange(text)
        #expect(response.status == status)
        #expect(response.headers["content-type"] == "application/problem+json")
        #expect(response.headers["connection"] == "close")
        #expect(response.json["status"] as? Int == status)
    }

    @Test(arguments: [
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET /healthz?x=1 HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHOST: LOCALHOST\r\nCONNECTION: close\r\n\r\n",
    ])
    func `an unusual but valid request is served`(text: String) async throws {
        let response = try await exchange(text)
        #expect(response.status == 200)
        #expect(response.body == "ok\n")
    }

    @Test func `an absolute URI must name this server`() async throws {
        let response = try await exchange(
            "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        #expect(response.status == 421)
    }

    @Test func `HTTP/1.0 closes the connection after the response`() async throws {
        let response = try await exchange(
            "POST /push HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: \(Self.body.utf8.count)\r\n\r\n"
                + Self.body
        )
        #expect(response.status == 200)
    }

    @Test(arguments: [
        "HEAD /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "HEAD /push HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "HEAD /api/v1/messages/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "HEAD /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "HEAD /healthz HTTP/1.1\r\n\r\n",
    ])
    func `the response to HEAD has no body, also of an error`(text: String) async throws {
        let response = try await exchange(text, isHead: true)
        #expect(response.status >= 400)
        #expect(response.body.isEmpty)
        #expect(Int(response.headers["content-length"] ?? "") ?? 0 > 0)
    }

    @Test(arguments: [
        ("nonsense\r\n\r\n", 400), ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: \(String(repeating: "x", count: 20_000))\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\(String(repeating: "X: y\r\n", count: 200))\r\n", 431),
    ])
    func `a broken second request gets a problem document after the first response`(
        text: String, status: Int
    ) async throws {
        for path in ["/healthz", "/push"] {
            let body = path == "/push" ? Self.body : ""
            let first =
                "\(path == "/push" ? "POST" : "GET") \(path) HTTP/1.1\r\nHost: localhost\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
            try await TestGateway.run { gateway async throws in
                let port = gateway.port
                let all = try await onThread {
                    let client = try WireClient(port: port)
                    try client.send(first + text)
                    return try client.read(until: "request_id")
                }
                let second = try #require(all.range(of: "HTTP/1.1 \(status) "))
                #expect(all.hasPrefix("HTTP/1.1 200 "))
                #expect(all[second.lowerBound...].contains("application/problem+json"))
            }
        }
    }

    /// Hummingbird responds again when the rest of the body is malformed.
    @Test func `a body that is refused early and then cut off gets one response`() async throws {
        for path in ["/push", "/api/v1/messages/search", "/api/v1/messages/cancel"] {
            try await TestGateway.run { gateway async throws in
                let port = gateway.port
                let text = try await onThread {
                    let client = try WireClient(port: port)
                    try client.send(
                        "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                            + "Content-Length: 10000000\r\n\r\n{")
                    client.closeOutput()
                    var text = ""
                    while case let bytes = try client.read(), !bytes.isEmpty {
                        text += String(decoding: bytes, as: UTF8.self)
                    }
                    return text
                }
                #expect(text.hasPrefix("HTTP/1.1 413 "), "\(path)")
                #expect(text.components(separatedBy: "HTTP/1.1 ").count == 2, "\(path)")
            }
        }
    }

    @Test(arguments: ["/push", "/push/batch"])
    func `extensions of chunks are bounded`(path: String) async throws {
        try await TestGateway.run(configuration: .with(\.headerBytesMax, 4096)) { gateway async throws in
            let port = gateway.port
            let isEnded = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        + "Transfer-Encoding: chunked\r\n\r\n1;"
                )
                for _ in 0..<200 where (try? client.send(String(repeating: "x", count: 1000))) == nil { return true }
                // The end of the connection, perhaps after a response.
                while let bytes = try? client.read() { if bytes.isEmpty { return true } }
                return false
            }
            #expect(isEnded)
            #expect(gateway.queue.batches.isEmpty)
        }
    }

    @Test func `a body of many small chunks is read`() async throws {
        let chunks = Self.body.utf8.map { "1;a=b\r\n\(String(UnicodeScalar($0)))\r\n" }.joined()
        let response = try await exchange(
            "POST /push HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                + "Transfer-Encoding: chunked\r\n\r\n\(chunks)0\r\n\r\n",
            configuration: .with(\.headerBytesMax, 1024)
        )
        #expect(response.status == 200)
    }
}
