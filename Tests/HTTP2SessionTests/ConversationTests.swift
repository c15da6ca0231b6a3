import HTTP2Session
import Testing

@Suite struct `Two connected sessions` {
    @Test func `a request gets its response`() throws {
        let (client, server) = try connectedPeers(responseBody: Array("answer".utf8))
        server.onMessage = { peer, stream in
            peer.session.setTag(77, of: stream)
            try? peer.session.respond(.response(), body: HTTP2Body(Array("answer".utf8)), to: stream)
        }
        let stream = try client.session.submitRequest(
            .request("/3/device/00", more: [("apns-topic", "com.example", true)]),
            body: HTTP2Body(Array("..body..".utf8), range: 2..<6), tag: 42
        )
        try Peer.exchange(client, server)
        #expect(
            server.events == [
                .headersBegan(stream), .header(stream, ":method", "POST"), .header(stream, ":scheme", "https"),
                .header(stream, ":authority", "localhost"), .header(stream, ":path", "/3/device/00"),
                .header(stream, "apns-topic", "com.example"), .headersEnded(stream), .data(stream, Array("body".utf8)),
                .messageEnded(stream), .closed(stream, .noError),
            ]
        )
        #expect(server.tags[stream] == 77)
        #expect(
            client.events == [
                .written(stream), .headersBegan(stream), .header(stream, ":status", "200"), .headersEnded(stream),
                .data(stream, Array("answer".utf8)), .messageEnded(stream), .closed(stream, .noError),
            ]
        )
        #expect(client.tags[stream] == 42)
    }

    @Test func `a body larger than the window is sent in parts`() throws {
        let (client, server) = try connectedPeers(server: HTTP2Settings(streamsMax: 100, initialWindowBytes: 100))
        let body = (0..<5120).map { UInt8(truncatingIfNeeded: $0) }
        let stream = try client.session.submitRequest(.request(), body: HTTP2Body(body), tag: 1)
        let first = try client.serialize()
        try server.receive(first)
        #expect(server.body(of: stream) == Array(body[..<100]))
        #expect(try client.serialize().isEmpty)
        try Peer.exchange(client, server)
        #expect(server.body(of: stream) == body)
        #expect(client.events.last == .closed(stream, .noError))
    }

    @Test func `many bodies share the connection's window`() throws {
        let (client, server) = try connectedPeers()
        let body = [UInt8](repeating: 7, count: 5000)
        let streams = try (0..<40).map {
            try client.session.submitRequest(.request(), body: HTTP2Body(body), tag: UInt32($0))
        }
        let first = try client.serialize()
        // RFC 9113, section 6.9.2: the initial window has 65,535 bytes.
        #expect(client.session.connectionSendWindow == 0)
        try server.receive(first)
        try Peer.exchange(client, server)
        for stream in streams {
            #expect(server.body(of: stream) == body)
            #expect(client.events.contains(.closed(stream, .noError)))
        }
    }

    @Test func `the server lowers its stream limit to one and raises it again`() throws {
        let (client, server) = try connectedPeers(server: HTTP2Settings(streamsMax: 3))
        server.onMessage = nil
        #expect(client.session.remoteStreamsMax == 3)
        server.session.submitSettings(HTTP2Settings(streamsMax: 1))
        try Peer.exchange(client, server)
        #expect(client.events == [.settings])
        #expect(client.session.remoteStreamsMax == 1)

        let streams = try (0..<3).map { try client.session.submitRequest(.request(), body: nil, tag: UInt32($0)) }
        try Peer.exchange(client, server)
        #expect(server.events.filter { $0.isMessageEnd } == [.messageEnded(streams[0])])

        server.session.submitSettings(HTTP2Settings(streamsMax: 3))
        try Peer.exchange(client, server)
        #expect(server.events.filter { $0.isMessageEnd } == streams.map { .messageEnded($0) })
    }

    @Test func `streams above the limit are refused to a client that did not wait for SETTINGS`() throws {
        var limits = HTTP2Limits()
        limits.streamsBeforeSettings = 100
        let client = Peer(.client, limits: limits)
        let server = Peer(.server, settings: HTTP2Settings(streamsMax: 1))
        for tag in 0..<3 { _ = try client.session.submitRequest(.request(), body: nil, tag: UInt32(tag)) }
        try server.receive(try client.serialize())
        #expect(server.events.filter(\.isMessageEnd) == [.messageEnded(1)])
        try Peer.exchange(client, server)
        #expect(client.events.contains(.closed(3, .refusedStream)))
        #expect(client.events.contains(.closed(5, .refusedStream)))
    }

    @Test func `before the server's settings only one stream is opened`() throws {
        let client = Peer(.client)
        for tag in 0..<3 { _ = try client.session.submitRequest(.request(), body: nil, tag: UInt32(tag)) }
        _ = try client.serialize()
        #expect(client.events == [.written(1)])
    }

    @Test func `a PING is acknowledged with its number`() throws {
        let (client, server) = try connectedPeers()
        client.session.ping(0x0102_0304_0506_0708)
        server.session.ping(.max)
        try Peer.exchange(client, server)
        #expect(client.events == [.ping(0x0102_0304_0506_0708)])
        #expect(server.events == [.ping(.max)])
    }

    @Test func `serialize stops at its limit and continues later`() throws {
        let (client, server) = try connectedPeers()
        let body = [UInt8](repeating: 1, count: 4000)
        for tag in 0..<10 { _ = try client.session.submitRequest(.request(), body: HTTP2Body(body), tag: UInt32(tag)) }
        let first = try client.serialize(limit: 8000)
        #expect((8000..<16_000).contains(first.count))
        try server.receive(first)
        try Peer.exchange(client, server)
        #expect(server.events.filter { $0.isMessageEnd }.count == 10)
    }
}

extension SessionEvent {
    var isMessageEnd: Bool { if case .messageEnded = self { true } else { false } }
}
