import PushAccept
import PushModel
import Testing

@Suite struct `Too many connections` {
    private static func limits(max: Int, perClient: Int, reserve: Int) -> AcceptConfiguration {
        var limits = ConnectionLimits()
        (limits.max, limits.perClient, limits.reserve) = (max, perClient, reserve)
        return .with(\.connections, limits)
    }

    private static func post(_ client: WireClient, _ number: Int) throws -> WireResponse? {
        let body = pushLine(number)
        try client.send("POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        return WireResponse(Array(try client.read(until: "}\n").utf8))
    }

    @Test func `a connection beyond the share serves health and control, and refuses pushes`() async throws {
        try await TestGateway.run(configuration: Self.limits(max: 20, perClient: 2, reserve: 4)) { gateway in
            let port = gateway.port
            // Their requests are not complete, so they are not idle.
            let busy = try await onThread {
                try (0..<2).map { _ in
                    let client = try WireClient(port: port)
                    try client.send("POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
                    return client
                }
            }
            await gateway.waitUntil("godwit_accept_connections 2")
            let refused = try await gateway.post("/push", pushLine(1))
            #expect(refused.status == 503)
            #expect(refused.json["code"] as? Int == 3028)
            #expect((refused.json["detail"] as? String)?.contains("too many open connections") == true)
            #expect(refused.headers["connection"] == "close")
            #expect(refused.headers["retry-after"] == "1")
            for path in ["/healthz", "/metrics", "/api/v1/apps"] {
                let port = gateway.port
                // It does not ask for the end of the connection.
                let response = try await onThread {
                    let client = try WireClient(port: port)
                    try client.send("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    return try client.readResponse()
                }
                #expect(response.status == 200, "\(path)")
                #expect(response.headers["connection"] == "close", "\(path)")
            }
            #expect(gateway.metric("godwit_accept_connections_closed_total{reason=\"client\"}") ?? 0 >= 4)
            for client in busy { client.close() }
            await gateway.waitUntil("godwit_accept_connections 0")
            #expect(try await gateway.post("/push", pushLine(2)).status == 200)
        }
    }

    @Test func `idle connections do not keep a new client out`() async throws {
        try await TestGateway.run(configuration: Self.limits(max: 60, perClient: 40, reserve: 10)) { gateway in
            let port = gateway.port
            let idle = try await onThread { try (0..<70).map { _ in try WireClient(port: port) } }
            let (first, second) = try await onThread {
                var client = try WireClient(port: port)
                // The idle connections must be a tenth of a second old.
                while try Self.post(client, 1)?.status != 200 { client = try WireClient(port: port) }
                return (client, try Self.post(client, 2))
            }
            #expect(second?.status == 200, "the connection is kept")
            #expect(gateway.queue.pushCount == 2)
            #expect(gateway.metric("godwit_accept_connections") ?? 99 <= 60)
            for client in idle + [first] { client.close() }
        }
    }
}

@Suite struct `A gateway that is about to stop` {
    @Test func `asks clients to close and carries out every request`() async throws {
        try await TestGateway.run { gateway in
            let port = gateway.port
            let client = try await onThread {
                let client = try WireClient(port: port)
                try client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                #expect(try !client.read(until: "ok\n").lowercased().contains("connection: close"))
                return client
            }
            gateway.drainConnections()
            let response = try await onThread {
                let body = pushLine(1)
                try client.send(
                    "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                return try client.readResponse()
            }
            #expect(response.status == 200)
            #expect(response.headers["connection"] == "close")
            #expect(gateway.queue.pushCount == 1)
            #expect(try await gateway.send("GET", "/healthz").status == 200, "new connections are served")
        }
    }

    @Test func `responds to pipelined requests before it closes`() async throws {
        try await TestGateway.run { gateway in
            gateway.queue.blockAppends()
            let port = gateway.port
            let client = try await onThread {
                let client = try WireClient(port: port)
                for number in 1...2 {
                    let body = pushLine(number)
                    try client.send(
                        "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                }
                return client
            }
            await gateway.queue.waitForBlockedAppend()
            gateway.drainConnections()
            gateway.queue.unblockAppends()
            let text = try await onThread {
                var text = ""
                while case let bytes = try client.read(), !bytes.isEmpty {
                    text += String(decoding: bytes, as: UTF8.self)
                }
                return text
            }
            let accepted = text.matches(of: /"msg_id"/).count
            #expect(accepted == gateway.queue.pushCount, "every push that was accepted is acknowledged")
            #expect(text.lowercased().matches(of: /connection: close/).count == 1)
        }
    }
}
