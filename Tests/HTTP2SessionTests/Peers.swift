import HTTP2Session

/// An event of a session; consecutive DATA of one stream is one event.
enum SessionEvent: Equatable {
    case headersBegan(Int32)
    case header(Int32, String, String)
    case headersEnded(Int32)
    case data(Int32, [UInt8])
    case messageEnded(Int32)
    case closed(Int32, HTTP2ErrorCode)
    case written(Int32)
    case notSent(Int32)
    case settings
    case goAway(HTTP2GoAway)
    case ping(UInt64)
}

/// One side of an in-memory connection: a session, its events, and a hook for complete messages.
final class Peer: HTTP2SessionDelegate {
    let session: HTTP2Session
    private(set) var events: [SessionEvent] = []
    /// The tag passed with the events of each stream.
    private(set) var tags: [Int32: UInt32] = [:]
    var onMessage: ((Peer, Int32) -> Void)?

    init(_ role: HTTP2Session.Role, settings: HTTP2Settings = HTTP2Settings(), limits: HTTP2Limits = HTTP2Limits()) {
        session = HTTP2Session(role: role, settings: settings, limits: limits)
    }

    func clear() { events.removeAll() }

    func receive(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try session.receive($0, delegate: self) }
    }

    func serialize(limit: Int = .max) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try session.serialize(limit: limit, delegate: self) { bytes.append(contentsOf: $0) }
        return bytes
    }

    /// Passes bytes in both directions until neither side has output.
    static func exchange(_ a: Peer, _ b: Peer) throws {
        while true {
            let fromA = try a.serialize()
            if !fromA.isEmpty { try b.receive(fromA) }
            let fromB = try b.serialize()
            if !fromB.isEmpty { try a.receive(fromB) }
            if fromA.isEmpty, fromB.isEmpty { return }
        }
    }

    func body(of stream: Int32) -> [UInt8] {
        events.flatMap { event -> [UInt8] in
            if case .data(stream, let bytes) = event { bytes } else { [] }
        }
    }

    func headers(of stream: Int32) -> [String: String] {
        var headers: [String: String] = [:]
        for case .header(stream, let name, let value) in events { headers[name] = value }
        return headers
    }

    private func record(_ event: SessionEvent, _ stream: Int32, _ tag: UInt32) {
        events.append(event)
        tags[stream] = tag
    }

    func headersBegan(stream: Int32, tag: UInt32) { record(.headersBegan(stream), stream, tag) }

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        record(
            .header(stream, String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)), stream, tag)
    }

    func headersEnded(stream: Int32, tag: UInt32) { record(.headersEnded(stream), stream, tag) }

    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        if case .data(stream, let before) = events.last {
            events[events.count - 1] = .data(stream, before + bytes)
        } else {
            record(.data(stream, Array(bytes)), stream, tag)
        }
    }

    func messageEnded(stream: Int32, tag: UInt32) {
        record(.messageEnded(stream), stream, tag)
        onMessage?(self, stream)
    }

    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) { record(.closed(stream, code), stream, tag) }
    func requestWritten(stream: Int32, tag: UInt32) { record(.written(stream), stream, tag) }
    func requestNotSent(stream: Int32, tag: UInt32) { record(.notSent(stream), stream, tag) }
    func settingsReceived() { events.append(.settings) }
    func goAwayReceived(_ goAway: HTTP2GoAway) { events.append(.goAway(goAway)) }
    func pingAcknowledged(_ number: UInt64) { events.append(.ping(number)) }
}

extension HTTP2Headers {
    static func request(_ path: String = "/", more: [(StaticString, String, Bool)] = []) -> HTTP2Headers {
        var headers = HTTP2Headers()
        headers.append(":method", "POST" as StaticString)
        headers.append(":scheme", "https" as StaticString)
        headers.append(":authority", "localhost" as StaticString)
        headers.append(":path", path, isIndexed: false)
        for (name, value, isIndexed) in more { headers.append(name, value, isIndexed: isIndexed) }
        return headers
    }

    static func response(_ status: Int = 200) -> HTTP2Headers {
        var headers = HTTP2Headers()
        headers.append(":status", "\(status)")
        return headers
    }
}

/// A connected pair whose server responds to every request with 200 and the given body, if any.
func connectedPeers(
    client: HTTP2Settings = HTTP2Settings(isPushEnabled: false), server: HTTP2Settings = HTTP2Settings(streamsMax: 100),
    clientLimits: HTTP2Limits = HTTP2Limits(), serverLimits: HTTP2Limits = HTTP2Limits(), responseBody: [UInt8]? = nil
) throws -> (client: Peer, server: Peer) {
    let clientPeer = Peer(.client, settings: client, limits: clientLimits)
    let serverPeer = Peer(.server, settings: server, limits: serverLimits)
    serverPeer.onMessage = { peer, stream in
        try? peer.session.respond(.response(), body: responseBody.map { HTTP2Body($0) }, to: stream)
    }
    try Peer.exchange(clientPeer, serverPeer)
    clientPeer.clear()
    serverPeer.clear()
    return (clientPeer, serverPeer)
}
