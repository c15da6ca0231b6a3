import HTTP2Session
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
            let bytes = try client.drain()
            try server.receive(bytes)
            try client.receive(try server.drain())
            return bytes.count
        }
    }

    @Test func `a value that is not to be indexed is spelt out every time`() throws {
        let plain = try sizes(isIndexed: false)
        #expect(plain[1] == plain[2])
        // The id takes 27 bytes or so in Huffman code: far more than an index of one byte.
        #expect(plain[1] > 27)
        let indexed = try sizes(isIndexed: true)
        #expect(indexed[1] < indexed[0] - 20)
        #expect(indexed[1] < plain[1] - 20)
    }

    @Test func `the fields that stay are kept by truncate`() throws {
        let (client, server) = try connectedPeers()
        var headers = HTTP2Headers.request("/a")
        let shared = headers.count
        headers.append("apns-id", "one", isIndexed: false)
        let first = try client.session.submitRequest(headers, body: nil, tag: 1)
        headers.truncate(to: shared)
        headers.append("apns-id", isIndexed: false) { $0.append(contentsOf: "two".utf8) }
        let second = try client.session.submitRequest(headers, body: nil, tag: 2)
        try Peer.talk(client, server)
        #expect(server.headers(of: first)["apns-id"] == "one")
        #expect(server.headers(of: second)["apns-id"] == "two")
        #expect(server.headers(of: second)[":path"] == "/a")
    }

    /// The bytes of a conversation as the server of it received them.
    private func recordedConversation() throws -> [UInt8] {
        let client = Peer(.client, settings: HTTP2Settings(initialWindowBytes: 70_000, isPushEnabled: false))
        let server = Peer(.server, settings: HTTP2Settings(streamsMax: 10))
        server.onMessage = { peer, stream in try? peer.session.respond(.response(), to: stream) }
        var recorded: [UInt8] = []
        func exchange() throws {
            while true {
                let bytes = try client.drain()
                recorded += bytes
                try server.receive(bytes)
                let answer = try server.drain()
                try client.receive(answer)
                if bytes.isEmpty, answer.isEmpty { return }
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

    private func events(of pieces: [ArraySlice<UInt8>]) throws -> [SessionEvent] {
        let server = Peer(.server, settings: HTTP2Settings(streamsMax: 10))
        server.onMessage = { peer, stream in try? peer.session.respond(.response(), to: stream) }
        for piece in pieces {
            try server.receive(Array(piece))
            _ = try server.drain()
        }
        return server.events
    }

    @Test func `any way of cutting the stream gives the same events`() throws {
        let bytes = try recordedConversation()
        // Answers go out after each piece, so closings move; what was received does not.
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
            var pieces: [ArraySlice<UInt8>] = []
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + Int.random(in: 1...300, using: &random))
                pieces.append(bytes[start..<end])
                start = end
            }
            #expect(received(try events(of: pieces)) == whole)
        }
    }

    @Test func `garbage ends the session and not the process`() throws {
        let server = Peer(.server)
        #expect(throws: HTTP2SessionError.self) { try server.receive(Array("GET / HTTP/1.1\r\n\r\n padding".utf8)) }

        var random = SplitMix(state: 7)
        let bytes = try recordedConversation()
        for _ in 0..<2000 {
            var broken = bytes
            for _ in 0..<8 {
                broken[24 + Int(random.next() % UInt64(broken.count - 24))] = UInt8(truncatingIfNeeded: random.next())
            }
            let victim = Peer(.server, settings: HTTP2Settings(streamsMax: 10))
            victim.onMessage = { peer, stream in try? peer.session.respond(.response(), to: stream) }
            // Either verdict is right, as long as there is one.
            try? victim.receive(broken)
            _ = try? victim.drain()
        }
    }

    @Test func `a client survives random bytes`() {
        var random = SplitMix(state: 11)
        for length in [1, 9, 100, 5000] {
            for _ in 0..<200 {
                let client = Peer(.client)
                _ = try? client.drain()
                try? client.receive((0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) })
                _ = try? client.drain()
            }
        }
    }
}

/// Repeatable noise.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
