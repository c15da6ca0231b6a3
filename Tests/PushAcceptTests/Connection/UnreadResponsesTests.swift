import Foundation
import PushModel
import Testing

@testable import PushAccept

/// Clients that do not read their responses, and clients that send more than is worked on.
@Suite struct `Clients that do not read` {
    private static let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    @Test func `the end of a header is found`() {
        func end(_ text: String) -> Int? {
            Array(text.utf8).withUnsafeBytes { RequestPacingHandler.endOfHeader($0) }
        }
        #expect(end("") == nil)
        #expect(end("\r\n\r") == nil)
        #expect(end("\r\n\r\n") == 4)
        #expect(end("GET / HTTP/1.1\r\nA: b\r\n\r\nGET") == 24)
        #expect(end("\r\r\n\r\r\n\r\n") == 8)
        #expect(end("{\"a\":1}\r\n{\"b\":2}\r\n") == nil)
    }

    @Test(arguments: [1, 7, 1000])
    func `pipelined requests get their responses in order`(bytesAtATime: Int) async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let count = 120
            let statuses = try await onThread {
                let client = try WireClient(port: port)
                var input: [UInt8] = []
                for index in 0..<count {
                    let body = index % 3 == 0 ? pushLine(index) : "{"
                    input += Array(
                        (index % 4 == 3
                            ? "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
                            : "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                            .utf8)
                }
                for start in stride(from: 0, to: input.count, by: bytesAtATime) {
                    try client.send(Array(input[start..<min(start + bytesAtATime, input.count)]))
                }
                client.closeOutput()
                var text = ""
                while case let bytes = try client.read(), !bytes.isEmpty {
                    text += String(decoding: bytes, as: UTF8.self)
                }
                return text.matches(of: /HTTP\/1.1 (\d+)/).map { Int($0.1)! }
            }
            #expect(statuses == (0..<count).map { $0 % 4 == 3 ? 404 : $0 % 3 == 0 ? 200 : 400 })
        }
    }

    @Test func `requests are not carried out while responses wait to be read`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let count = 60_000
            let client = try WireClient(port: port)
            async let writer: Void = onThread {
                try client.send(Array(String(repeating: Self.request, count: count).utf8))
            }
            let series = "godwit_accept_requests_total{route=\"probe\",status=\"2xx\"}"
            // The kernel takes some megabytes of responses; then the count stands still.
            var before = -1.0
            while case let now = gateway.metric(series) ?? 0, now != before || now == 0 {
                before = now
                try await Task.sleep(for: .milliseconds(300))
            }
            #expect(Int(before) < count, "all requests were carried out")
            let responses = try await onThread {
                var responses = 0
                var rest: [UInt8] = []
                while responses < count {
                    let bytes = try client.read()
                    if bytes.isEmpty { break }
                    rest += bytes
                    let lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
                    responses += lines.dropLast().filter { $0.elementsEqual("ok".utf8) }.count
                    rest = Array(lines.last ?? [])
                }
                return responses
            }
            #expect(responses == count, "no response is lost when the client reads")
            try await writer
        }
    }

    @Test func `a connection whose writes stand still is closed`() async throws {
        try await TestGateway.run(configuration: .with(\.writeTimeout, .milliseconds(200))) { gateway in
            let port = gateway.port
            let client = try await onThread {
                let client = try WireClient(port: port)
                let requests = Array(String(repeating: Self.request, count: 500).utf8)
                // Until the gateway closes the connection.
                while true {
                    do { try client.send(requests) } catch { return client }
                }
            }
            await gateway.waitUntil("godwit_accept_connections_closed_total{reason=\"write_timeout\"} 1")
            await gateway.waitUntil("godwit_accept_connections 0")
            await gateway.waitUntil("godwit_accept_held_bytes 0")
            client.close()
        }
    }
}

@Suite struct `Held bytes` {
    @Test func `new work is refused above the limit and health and control are served`() async throws {
        let log = LogRecorder()
        try await TestGateway.run(log: log.logger) { gateway in
            gateway.held.add(gateway.held.max)
            for (path, type) in [("/push", "application/json"), ("/push/batch", "application/x-ndjson")] {
                let response = try await gateway.post(path, pushLine(1), type: type)
                #expect(response.status == 503)
                #expect(response.json["code"] as? Int == 3028)
                #expect((response.json["detail"] as? String)?.contains("bytes of requests and responses") == true)
                #expect(response.headers["retry-after"] == "1")
            }
            #expect(try await gateway.post("/api/v1/messages/query", "{\"ids\":[]}").status == 503)
            for path in ["/healthz", "/readyz", "/metrics", "/api/v1/apps"] {
                #expect(try await gateway.send("GET", path).status == 200, "\(path)")
            }
            #expect(try await gateway.post("/api/v1/apps/demo/pause", "").status == 200)
            #expect(gateway.metric("godwit_accept_shed_total{reason=\"held\"}") == 3)
            #expect(gateway.queue.batches.isEmpty)
            gateway.held.add(-gateway.held.max)
            #expect(try await gateway.post("/push", pushLine(1)).status == 200)
            #expect(
                log.lines.map(\.message).filter { $0.contains("held") } == [
                    "new requests are refused: too many bytes are held", "held bytes are below the limit again",
                ])
        }
    }

    @Test func `a stream with unread results is stopped when half of the limit is used`() async throws {
        try await TestGateway.run { gateway in
            gateway.held.add(gateway.held.max * 3 / 4)
            let port = gateway.port
            let client = try WireClient(port: port)
            async let sender: Void? = try? onThread {
                try client.send(
                    "POST /push/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
                        + "Transfer-Encoding: chunked\r\n\r\n"
                )
                // Their results are far more than the kernel takes.
                let refused = String(repeating: "{}\n", count: 10_000)
                for _ in 0..<100 { try client.sendChunk(refused) }
                try client.send("0\r\n\r\n")
            }
            // The gateway stops reading, or has read all of it.
            var before = -1.0
            while case let now = gateway.metric("godwit_accept_held_bytes") ?? 0, now != before {
                before = now
                try await Task.sleep(for: .milliseconds(300))
            }
            let text = try await onThread { try client.readResponse().body }
            _ = await sender
            let lines = text.split(separator: "\n")
            let last = try JSONSerialization.jsonObject(with: Data((lines.last ?? "").utf8)) as? [String: Any]
            #expect(last?["code"] as? Int == 3019)
            #expect((last?["detail"] as? String)?.contains("the results are not read") == true)
            #expect(lines.count < 1_000_000)
            gateway.held.add(-gateway.held.max * 3 / 4)
            while gateway.held.bytes != 0 { await Task.yield() }
        }
    }

    @Test func `nothing is held when all requests are answered`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.blockAppends()
            let port = gateway.port
            let body = pushLine(1, #","collapse_id":"\#(String(repeating: "c", count: 60))""#)
            let client = try await onThread {
                let client = try WireClient(port: port)
                try client.send(
                    "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                return client
            }
            while gateway.held.bytes < body.utf8.count { await Task.yield() }
            gateway.queue.unblockAppends()
            _ = try await onThread { try client.read(until: "\r\n\r\n") }
            while gateway.held.bytes != 0 { await Task.yield() }
        }
    }
}
