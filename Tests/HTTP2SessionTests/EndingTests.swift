import HTTP2Session
import Testing

@Suite struct `Streams and connections that end early` {
    @Test func `GOAWAY refuses the streams above its last ID`() throws {
        let (client, server) = try connectedPeers()
        server.onMessage = nil
        let streams = try (0..<3).map { try client.session.submitRequest(.request(), body: nil, tag: UInt32($0)) }
        try Peer.exchange(client, server)
        client.clear()

        server.session.submitGoAway(lastStream: streams[0], code: .noError, debugData: Array("{}".utf8))
        try Peer.exchange(client, server)
        #expect(client.events.contains(.goAway(HTTP2GoAway(lastStream: 1, code: .noError, debugData: [123, 125]))))
        #expect(client.events.contains(.closed(streams[1], .refusedStream)))
        #expect(client.events.contains(.closed(streams[2], .refusedStream)))
        #expect(!client.events.contains(.closed(streams[0], .refusedStream)))

        try server.session.respond(.response(), to: streams[0])
        try Peer.exchange(client, server)
        #expect(client.events.last == .closed(streams[0], .noError))
        #expect(!client.session.wantsToRead && !client.session.wantsToWrite)
    }

    @Test func `submitted requests that are not serialized are not sent after a GOAWAY`() throws {
        let (client, server) = try connectedPeers()
        let body = HTTP2Body([1, 2, 3])
        let streams = try (0..<3).map { try client.session.submitRequest(.request(), body: body, tag: UInt32($0 + 10)) }
        server.session.submitGoAway(lastStream: 0, code: .noError)
        try client.receive(try server.serialize())
        try Peer.exchange(client, server)
        for stream in streams {
            #expect(client.events.filter { $0 == .notSent(stream) }.count == 1)
            #expect(client.tags[stream] == UInt32(10 + (stream - 1) / 2))
        }
        #expect(!client.events.contains { if case .closed = $0 { true } else { false } })
        #expect(server.events.isEmpty)
    }

    @Test func `a request submitted after a GOAWAY is not sent`() throws {
        let (client, server) = try connectedPeers()
        server.session.submitGoAway(lastStream: 0, code: .enhanceYourCalm)
        try Peer.exchange(client, server)
        let stream = try client.session.submitRequest(.request(), body: HTTP2Body([1]), tag: 1)
        try Peer.exchange(client, server)
        #expect(client.events.last == .notSent(stream))
        #expect(client.session.bodiesHeld.used == 0)
    }

    @Test func `debug data is cut off at its limit`() throws {
        var limits = HTTP2Limits()
        limits.debugDataBytesMax = 10
        let (client, server) = try connectedPeers(clientLimits: limits)
        server.session.submitGoAway(lastStream: 0, code: .noError, debugData: Array(repeating: 65, count: 5000))
        try Peer.exchange(client, server)
        #expect(
            client.events.contains(
                .goAway(HTTP2GoAway(lastStream: 0, code: .noError, debugData: Array(repeating: 65, count: 10)))))
    }

    @Test func `either side can reset a stream`() throws {
        let (client, server) = try connectedPeers()
        server.onMessage = nil
        let first = try client.session.submitRequest(.request(), body: nil, tag: 1)
        let second = try client.session.submitRequest(.request(), body: nil, tag: 2)
        try Peer.exchange(client, server)
        server.session.reset(first, code: .internalError)
        client.session.reset(second, code: .cancel)
        try Peer.exchange(client, server)
        for peer in [client, server] {
            #expect(peer.events.contains(.closed(first, .internalError)))
            #expect(peer.events.contains(.closed(second, .cancel)))
        }
        let third = try client.session.submitRequest(.request(), body: nil, tag: 3)
        try Peer.exchange(client, server)
        #expect(server.events.contains(.messageEnded(third)))
    }

    @Test func `a header block above the limit resets only its stream`() throws {
        var limits = HTTP2Limits()
        limits.headerListBytesMax = 1000
        let (client, server) = try connectedPeers(serverLimits: limits)
        let large = try client.session.submitRequest(
            .request(more: [("x", String(repeating: "a", count: 1000), true)]), body: nil, tag: 1
        )
        let small = try client.session.submitRequest(.request(more: [("y", "b", true)]), body: nil, tag: 2)
        try Peer.exchange(client, server)
        #expect(client.events.contains(.closed(large, .internalError)))
        #expect(!server.events.contains(.messageEnded(large)))
        #expect(client.headers(of: small) == [":status": "200"])
        // The compression state is intact: an indexed value from the large block is still decoded correctly.
        let again = try client.session.submitRequest(.request(more: [("y", "b", true)]), body: nil, tag: 3)
        try Peer.exchange(client, server)
        #expect(server.headers(of: again)["y"] == "b")
    }

    @Test func `ten thousand resets of requests with bodies leak no body`() throws {
        let (client, server) = try connectedPeers(server: HTTP2Settings(streamsMax: 100, initialWindowBytes: 10))
        server.onMessage = { peer, stream in try? peer.session.respond(.response(), to: stream) }
        // Larger than any window of this test.
        let body = HTTP2Body([UInt8](repeating: 9, count: 5000))
        for round in 0..<100 {
            let streams = try (0..<100).map {
                try client.session.submitRequest(.request(), body: body, tag: UInt32(round * 100 + $0))
            }
            // A third is reset before any output, a third with its body partly sent, a third by the server. The client
            // resets only in the first rounds: above a thousand, the library's guard against rapid resets
            // (CVE-2023-44487) ends the connection.
            let resetter = round < 25 ? client : server
            for stream in streams where stream / 2 % 3 == 0 { client.session.reset(stream, code: .cancel) }
            let bytes = try client.serialize()
            try server.receive(bytes)
            for stream in streams where stream / 2 % 3 == 1 { resetter.session.reset(stream, code: .cancel) }
            for stream in streams where stream / 2 % 3 == 2 { server.session.reset(stream, code: .refusedStream) }
            try Peer.exchange(client, server)
            let notSent = client.events.filter { if case .notSent = $0 { true } else { false } }
            let closed = client.events.filter { if case .closed = $0 { true } else { false } }
            #expect((33...34).contains(notSent.count))
            #expect(notSent.count + closed.count == 100)
            client.clear()
            server.clear()
        }
        #expect(client.session.bodiesHeld.used == 0)
        #expect(client.session.bodiesHeld.slots <= 100)
    }
}
