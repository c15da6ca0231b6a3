import HTTP2Session
import PushModel
import Testing

@Suite struct `Bytes on the wire` {
    /// Sizes of the header blocks of the same request sent three times.
    private func sizes(isIndexed: Bool) throws -> [Int] {
        let (client, server) = try connectedPeers()
        return try (0..<3).map { tag in
            let value = "0a1b2c3d-0000-4000-8000-000000000001"
            _ = try client.session.submitRequest(
                .request(more: [(StaticString("apns-id"), value, isIndexed)]), body: nil, tag: UInt32(tag)
            )
            let bytes = try client.serialize()
            try server.receive(bytes)
            try client.receive(try server.serialize())
            return bytes.count
        }
    }

    @Test func `a value that is not indexed is sent literally every time`() throws {
        let plain = try sizes(isIndexed: false)
        #expect(plain[1] == plain[2])
        // The ID has about 27 bytes in Huffman code; an index has one.
        #expect(plain[1] > 27)
        let indexed = try sizes(isIndexed: true)
        #expect(indexed[1] < indexed[0] - 20)
        #expect(indexed[1] < plain[1] - 20)
    }

    @Test func `truncate keeps the first fields`() throws {
        let (client, server) = try connectedPeers()
        var headers = HTTP2Headers.request("/a")
        let shared = headers.count
        headers.append("apns-id", "one", isIndexed: false)
        let first = try client.session.submitRequest(headers, body: nil, tag: 1)
        headers.truncate(to: shared)
        headers.append("apns-id", isIndexed: false) { $0.append(contentsOf: "two".utf8) }
        let second = try client.session.submitRequest(headers, body: nil, tag: 2)
        try Peer.exchange(client, server)
        #expect(server.headers(of: first)["apns-id"] == "one")
        #expect(server.headers(of: second)["apns-id"] == "two")
        #expect(server.headers(of: second)[":path"] == "/a")
    }

    /// The bytes that the server of a connection received.
    private func recordedBytes() throws -> [UInt8] {
        let client = Peer(.client, settings: HTTP2Settings(initialWindowBytes: 70_000, isPushEnabled: false))
        let server = Peer(.server, settings: HTTP2Settings(streamsMax: 10))
        server.onMessage = { peer, stream in try? peer.session.respond(.response(), to: stream) }
        var recorded: [UInt8] = []
        func exchange() throws {
            while true {
                let bytes = try client.serialize()
                recorded += bytes
                try server.receive(bytes)
                let response = try server.serialize()
                try client.receive(response)
                if bytes.isEmpty, response.isEmpty { return }
            }
        }
        try exchange()
        for size in [0, 1, 100, 4096] {
            let body = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
            _ = try client.session.submitRequest(.request("/\(size)"), body: HTTP2Body(body), tag: 1)
        }
        try exchange()
        client.session.ping(5)
        _ = try client.session.submitRequest(.request("/last"), body: HTTP2Body([1]), tag: 1)
        try exchange()
        client.session.submitGoAway(lastStream: 0, code: .noError, debugData: [1, 2, 3])
        try exchange()
        return recorded
    }

    private func events(of chunks: [ArraySlice<UInt8>]) throws -> [SessionEvent] {
        let server = Peer(.server, settings: HTTP2Settings(streamsMax: 10))
        server.onMessage = { peer, stream in try? peer.session.respond(.response(), to: stream) }
        for chunk in chunks {
            try server.receive(Array(chunk))
            _ = try server.serialize()
        }
        return server.events
    }

    @Test func `the events do not depend on how bytes are split`() throws {
        let bytes = try recordedBytes()
        // Responses are sent after each chunk, so only the order of closed streams depends on the split.
        func received(_ events: [SessionEvent]) -> [SessionEvent] {
            events.filter { if case .closed = $0 { false } else { true } }.reduce(into: []) { merged, event in
                if case .data(let stream, let more) = event, case .data(stream, let before)? = merged.last {
                    merged[merged.count - 1] = .data(stream, before + more)
                } else {
                    merged.append(event)
                }
            }
        }
        let whole = received(try events(of: [bytes[...]]))
        #expect(whole.filter(\.isMessageEnd).count == 5)
        #expect(received(try events(of: bytes.indices.map { bytes[$0...$0] })) == whole)
        var random = SystemRandomNumberGenerator()
        for _ in 0..<50 {
            var chunks: [ArraySlice<UInt8>] = []
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + Int.random(in: 1...300, using: &random))
                chunks.append(bytes[start..<end])
                start = end
            }
            #expect(received(try events(of: chunks)) == whole)
        }
    }

    @Test func `invalid bytes end the session and not the process`() throws {
        let server = Peer(.server)
        #expect(throws: HTTP2SessionError.self) { try server.receive(Array("GET / HTTP/1.1\r\n\r\n padding".utf8)) }

        var random = SeededGenerator(seed: 7)
        let bytes = try recordedBytes()
        for _ in 0..<2000 {
            var broken = bytes
            for _ in 0..<8 {
                broken[24 + Int(random.next() % UInt64(broken.count - 24))] = UInt8(truncatingIfNeeded: random.next())
            }
            let victim = Peer(.server, settings: HTTP2Settings(streamsMax: 10))
            victim.onMessage = { peer, stream in try? peer.session.respond(.response(), to: stream) }
            // The session may accept or reject the bytes; it must not crash.
            try? victim.receive(broken)
            _ = try? victim.serialize()
        }
    }

    @Test func `random bytes do not crash a client`() {
        var random = SeededGenerator(seed: 11)
        for length in [1, 9, 100, 5000] {
            for _ in 0..<200 {
                let client = Peer(.client)
                _ = try? client.serialize()
                try? client.receive((0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) })
                _ = try? client.serialize()
            }
        }
    }
}
