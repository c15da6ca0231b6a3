import APNSWire
import HTTP2Session

/// An injected fault: what happens to a push or its connection instead of a plain 200.
///
/// Names of kinds are those of the actions in documents, listed in `docs/simulator/README.md`.
public struct Fault: Sendable, Equatable {
    /// The effect of a fault.
    public enum Kind: Sendable, Equatable {
        /// A 200, after the delay.
        case accept
        /// A custom response.
        case answer(FaultResponse)
        /// A custom response, then GOAWAY with this push's stream as the last one, as when Apple's servers shut down.
        case answerAndGoAway(FaultResponse, code: FaultErrorCode, debugData: [UInt8])
        /// No response; the stream stays open.
        case stall
        /// RST_STREAM without a response.
        case reset(FaultErrorCode)
        /// The header block of a 200 without END_STREAM, then RST_STREAM.
        case resetAfterHeaders(FaultErrorCode)
        /// The TCP connection is closed without a GOAWAY or TLS `close_notify`.
        case close
        /// The TCP connection is reset (`SO_LINGER` 0).
        case tcpReset
        /// GOAWAY; streams up to `lastStream` get responses, then the connection ends. nil means this push's stream if
        /// `isTaken` is set, and otherwise the one before it.
        case goAway(lastStream: Int32?, code: FaultErrorCode, debugData: [UInt8])
        /// The same GOAWAY frame twice (observed in 2016).
        case goAwayTwice(lastStream: Int32?, code: FaultErrorCode, debugData: [UInt8])
        /// GOAWAY with the highest possible stream ID, and `interval` later one with the real ID (RFC 9113, section
        /// 6.8). Pushes in between are accepted. This push gets a 200.
        case goAwayInTwoSteps(interval: Duration, code: FaultErrorCode, debugData: [UInt8])
        /// GOAWAY, and the 200 for this push `answerDelay` later.
        case goAwayBeforeAnswer(answerDelay: Duration, code: FaultErrorCode, debugData: [UInt8])
        /// New SETTINGS on the open connection. The push gets a 200.
        case settings(FaultSettings)
        /// The connection stays open but stops working.
        case blackHole(BlackHole)
        /// Later PINGs are not acknowledged. The push gets a 200.
        case ignorePings
        /// This push and all later ones on the connection get this response.
        case wedge(FaultResponse)
    }

    /// The behaviour of a dead connection.
    public enum BlackHole: String, Sendable, CaseIterable {
        /// The server stops reading, so the client's buffers fill up.
        case readsNothing = "reads-nothing"
        /// The server reads everything and sends nothing, not even PING acknowledgements.
        case answersNothing = "answers-nothing"
    }

    public var kind: Kind
    /// The delay before the fault takes effect.
    public var delay: Duration = .zero
    /// Whether the push counts as accepted for delivery although the client gets an error or no response. Always true
    /// for kinds that end in a 200.
    public var isTaken = false

    public init(_ kind: Kind, delay: Duration = .zero, isTaken: Bool = false) {
        self.kind = kind
        self.delay = delay
        self.isTaken = kind.endsInSuccess || isTaken
    }
}

extension Fault.Kind {
    /// The name of the action in counters and documents.
    public var name: String {
        switch self {
        case .accept: "accept"
        case .answer, .answerAndGoAway: "answer"
        case .stall: "stall"
        case .reset, .resetAfterHeaders: "reset"
        case .close: "close"
        case .tcpReset: "tcp-reset"
        case .goAway, .goAwayTwice, .goAwayInTwoSteps, .goAwayBeforeAnswer: "goaway"
        case .settings: "settings"
        case .blackHole: "black-hole"
        case .ignorePings: "ignore-pings"
        case .wedge: "wedge"
        }
    }

    var endsInSuccess: Bool {
        switch self {
        case .accept, .goAwayInTwoSteps, .goAwayBeforeAnswer, .settings, .ignorePings: true
        default: false
        }
    }

    /// Whether a rule with this trigger may have this effect. For example, a connection has no push to respond to.
    func isPossible(at trigger: FaultTrigger) -> Bool {
        switch (trigger, self) {
        case (.push, _): true
        case (.headers, .accept), (.headers, .goAwayInTwoSteps), (.headers, .goAwayBeforeAnswer),
            (.headers, .settings), (.headers, .ignorePings), (.headers, .wedge):
            false
        case (.headers, _): true
        case (.connection, .close), (.connection, .tcpReset), (.connection, .goAway), (.connection, .goAwayTwice),
            (.connection, .blackHole), (.connection, .ignorePings), (.connection, .wedge):
            true
        case (.connection, _): false
        }
    }
}

/// A custom response.
public struct FaultResponse: Sendable, Equatable {
    public var status: UInt16
    /// Any text; empty for a response without a JSON body.
    public var reason: String
    /// Seconds.
    public var retryAfter: UInt32?
    /// UNIX milliseconds, sent next to the reason.
    public var timestamp: Int64?
    /// Sent instead of the JSON body.
    public var body: [UInt8]?
    /// The body is repeated to this length in bytes. It is generated while it is sent and is never held in memory.
    public var bodyBytes: Int?
    /// The type of the body; nil for `application/json`.
    public var contentType: String?

    public init(
        status: UInt16, reason: String = "", retryAfter: UInt32? = nil, timestamp: Int64? = nil, body: [UInt8]? = nil,
        bodyBytes: Int? = nil, contentType: String? = nil
    ) {
        self.status = status
        self.reason = reason
        self.retryAfter = retryAfter
        self.timestamp = timestamp
        self.body = body
        self.bodyBytes = bodyBytes
        self.contentType = contentType
    }

    var simulatedResponse: SimulatedResponse {
        var response = SimulatedResponse(status: status, reason: reason, timestamp: timestamp, retryAfter: retryAfter)
        if let body { response.body = body.isEmpty ? nil : HTTP2Body(body) }
        if let bodyBytes {
            let pattern = body.flatMap { $0.isEmpty ? nil : $0 } ?? Array(repeating: UInt8(ascii: "x"), count: 4096)
            response.body = HTTP2Body(repeating: pattern, count: bodyBytes)
        }
        response.contentType = contentType
        return response
    }
}

/// The SETTINGS that a `settings` fault announces; nil leaves a value unchanged.
public struct FaultSettings: Sendable, Equatable {
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    public var streamsMax: UInt32?
    /// SETTINGS_INITIAL_WINDOW_SIZE, in bytes.
    public var initialWindowBytes: UInt32?
    /// SETTINGS_HEADER_TABLE_SIZE, in bytes.
    public var headerTableBytes: UInt32?

    public init(streamsMax: UInt32? = nil, initialWindowBytes: UInt32? = nil, headerTableBytes: UInt32? = nil) {
        self.streamsMax = streamsMax
        self.initialWindowBytes = initialWindowBytes
        self.headerTableBytes = headerTableBytes
    }
}
