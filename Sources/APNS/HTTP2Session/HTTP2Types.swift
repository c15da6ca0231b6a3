import CNGHTTP2

/// Receives the events of a session. `tag` is the tag passed to `submitRequest` or `setTag`, otherwise 0.
///
/// Byte buffers are valid during the call only.
package protocol HTTP2SessionDelegate: AnyObject {
    /// A header block begins: a new request on the server, a response on the client.
    func headersBegan(stream: Int32, tag: UInt32)
    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32)
    func headersEnded(stream: Int32, tag: UInt32)
    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32)
    /// The peer has ended its side of the stream.
    func messageEnded(stream: Int32, tag: UInt32)
    /// The stream closed: both sides ended it (`noError`), one side reset it, or, on the client, a GOAWAY reported that
    /// it was not processed (`refusedStream`).
    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode)
    /// Client: `serialize` has output the request's header block.
    func requestWritten(stream: Int32, tag: UInt32)
    /// Client: `serialize` has output the complete request including its body. Before this, the server cannot have
    /// processed it.
    func requestEnded(stream: Int32, tag: UInt32)
    /// Client: the request was dropped before any byte of it was output. No `streamClosed` follows.
    func requestNotSent(stream: Int32, tag: UInt32)
    /// The peer sent SETTINGS; `remoteStreamsMax` may have changed.
    func settingsReceived()
    /// The peer has acknowledged the oldest unacknowledged SETTINGS.
    func settingsAcknowledged()
    func goAwayReceived(_ goAway: HTTP2GoAway)
    func pingAcknowledged(_ number: UInt64)
}

/// By default, optional events are ignored.
extension HTTP2SessionDelegate {
    package func headersBegan(stream: Int32, tag: UInt32) {}
    package func headersEnded(stream: Int32, tag: UInt32) {}
    package func requestWritten(stream: Int32, tag: UInt32) {}
    package func requestEnded(stream: Int32, tag: UInt32) {}
    package func requestNotSent(stream: Int32, tag: UInt32) {}
    package func settingsReceived() {}
    package func settingsAcknowledged() {}
    package func goAwayReceived(_ goAway: HTTP2GoAway) {}
    package func pingAcknowledged(_ number: UInt64) {}
}

/// A GOAWAY frame: streams above `lastStream` were not processed and may be sent again on another connection.
package struct HTTP2GoAway: Sendable, Equatable {
    package var lastStream: Int32
    package var code: HTTP2ErrorCode
    /// JSON, plain text or nothing; cut off at `HTTP2Limits.debugDataBytesMax`.
    package var debugData: [UInt8]

    package init(lastStream: Int32, code: HTTP2ErrorCode, debugData: [UInt8]) {
        self.lastStream = lastStream
        self.code = code
        self.debugData = debugData
    }
}

/// An error code of RFC 9113, section 7. An open set: a peer may send numbers without a name.
package struct HTTP2ErrorCode: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let noError = HTTP2ErrorCode(rawValue: 0)
    package static let protocolError = HTTP2ErrorCode(rawValue: 1)
    package static let internalError = HTTP2ErrorCode(rawValue: 2)
    package static let flowControlError = HTTP2ErrorCode(rawValue: 3)
    package static let settingsTimeout = HTTP2ErrorCode(rawValue: 4)
    package static let streamClosed = HTTP2ErrorCode(rawValue: 5)
    package static let frameSizeError = HTTP2ErrorCode(rawValue: 6)
    package static let refusedStream = HTTP2ErrorCode(rawValue: 7)
    package static let cancel = HTTP2ErrorCode(rawValue: 8)
    package static let compressionError = HTTP2ErrorCode(rawValue: 9)
    package static let enhanceYourCalm = HTTP2ErrorCode(rawValue: 11)

    package var description: String {
        switch self {
        case .noError: "NO_ERROR"
        case .protocolError: "PROTOCOL_ERROR"
        case .internalError: "INTERNAL_ERROR"
        case .flowControlError: "FLOW_CONTROL_ERROR"
        case .settingsTimeout: "SETTINGS_TIMEOUT"
        case .streamClosed: "STREAM_CLOSED"
        case .frameSizeError: "FRAME_SIZE_ERROR"
        case .refusedStream: "REFUSED_STREAM"
        case .cancel: "CANCEL"
        case .compressionError: "COMPRESSION_ERROR"
        case .enhanceYourCalm: "ENHANCE_YOUR_CALM"
        default: "code \(rawValue)"
        }
    }
}

/// The settings that one side announces; nil keeps the default of RFC 9113.
package struct HTTP2Settings: Sendable, Equatable {
    package var streamsMax: UInt32?
    package var initialWindowBytes: UInt32?
    package var headerTableBytes: UInt32?
    package var headerListBytesMax: UInt32?
    /// Server push; a client should turn it off.
    package var isPushEnabled: Bool?

    package init(
        streamsMax: UInt32? = nil, initialWindowBytes: UInt32? = nil, headerTableBytes: UInt32? = nil,
        headerListBytesMax: UInt32? = nil, isPushEnabled: Bool? = nil
    ) {
        self.streamsMax = streamsMax
        self.initialWindowBytes = initialWindowBytes
        self.headerTableBytes = headerTableBytes
        self.headerListBytesMax = headerListBytesMax
        self.isPushEnabled = isPushEnabled
    }

    var entries: [nghttp2_settings_entry] {
        let pairs: [(nghttp2_settings_id, UInt32?)] = [
            (NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, headerTableBytes),
            (NGHTTP2_SETTINGS_ENABLE_PUSH, isPushEnabled.map { $0 ? 1 : 0 }),
            (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streamsMax),
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, initialWindowBytes),
            (NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, headerListBytesMax),
        ]
        return pairs.compactMap { id, value in
            value.map { nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: $0) }
        }
    }
}

/// Limits for a hostile or faulty peer.
package struct HTTP2Limits: Sendable {
    /// Streams a client may open before the peer's first SETTINGS frame has been read.
    package var streamsBeforeSettings: UInt32 = 1
    /// A header block larger than this, counted as RFC 9113 section 6.5.2 does, resets its stream.
    package var headerListBytesMax = 16_384
    /// PING and SETTINGS acknowledgements that may be pending before the session ends because of a flood.
    package var outboundAcknowledgementsMax = 1_000
    /// Entries in one SETTINGS frame.
    package var settingsEntriesMax = 32
    /// GOAWAY debug data is cut off at this length.
    package var debugDataBytesMax = 1_024
    /// Whether the peer's flow-control windows are enlarged as its data is received. False imitates a faulty peer.
    package var enlargesWindows = true

    package init() {}
}

/// Bytes to send: a range of a shared array, which is not copied, sent once or repeatedly.
package struct HTTP2Body: Sendable {
    package let bytes: [UInt8]
    package let range: Range<Int>
    /// The total number of bytes to send.
    package private(set) var count: Int

    package init(_ bytes: [UInt8]) {
        self.init(bytes, range: 0..<bytes.count)
    }

    package init(_ bytes: [UInt8], range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "the range exceeds the array")
        self.bytes = bytes
        self.range = range
        count = range.count
    }

    /// Repeats `pattern` until `count` bytes have been sent: a large body that needs little memory.
    package init(repeating pattern: [UInt8], count: Int) {
        precondition(!pattern.isEmpty && count >= 0, "the pattern is empty or the count is negative")
        self.init(pattern)
        self.count = count
    }
}

/// The session cannot continue, or a submission was rejected.
package struct HTTP2SessionError: Error, Equatable, CustomStringConvertible {
    /// libnghttp2's code, `NGHTTP2_ERR_…`.
    package let libraryCode: Int32

    package var description: String { "HTTP/2: \(String(cString: nghttp2_strerror(libraryCode)))" }
}
