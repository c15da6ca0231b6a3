import APNSWire
import HTTP2Session

/// Something that happens to a push, or to the connection it comes on, in place of a plain 200.
public struct Fault: Sendable, Equatable {
    /// What happens.
    public enum Kind: Sendable, Equatable {
        /// Nothing but the delay.
        case accept
        case answer(FaultAnswer)
        /// The answer, and after it GOAWAY: this push's stream is the last one. So Apple's servers shut down.
        case answerAndGoAway(FaultAnswer, code: FaultErrorCode, debugData: [UInt8])
        /// Never answered; the stream stays open.
        case stall
        /// RST_STREAM before any answer.
        case reset(FaultErrorCode)
        /// The header block of a 200 without its end, then RST_STREAM.
        case resetAfterHeaders(FaultErrorCode)
        /// The TCP connection ends without a word.
        case close
        /// The TCP connection is reset (`SO_LINGER` 0).
        case tcpReset
        /// GOAWAY; streams up to its last one are answered, then the connection ends. nil: the last one is this
        /// push's stream when it is taken, else the one before.
        case goAway(lastStream: Int32?, code: FaultErrorCode, debugData: [UInt8])
        /// The same frame twice (seen in 2016).
        case goAwayTwice(lastStream: Int32?, code: FaultErrorCode, debugData: [UInt8])
        /// GOAWAY with the highest stream id there is, pushes go on, and `interval` later the true one (RFC 9113,
        /// section 6.8). This push is answered with 200.
        case goAwayInTwoSteps(interval: Duration, code: FaultErrorCode, debugData: [UInt8])
        /// GOAWAY first, the 200 for this push `answerDelay` later.
        case goAwayBeforeAnswer(answerDelay: Duration, code: FaultErrorCode, debugData: [UInt8])
        /// New SETTINGS in mid-connection; the push is answered with 200.
        case settings(FaultSettings)
        /// The connection stays open, and no more comes of it.
        case blackHole(BlackHole)
        /// PINGs are not answered any more; the push is answered with 200.
        case ignorePings
        /// This push and all later ones of the connection get this answer.
        case wedge(FaultAnswer)
    }

    /// Which way a dead connection is dead.
    public enum BlackHole: String, Sendable, CaseIterable {
        /// Nothing is read, so that the client's own buffers fill.
        case readsNothing = "reads-nothing"
        /// Everything is read and nothing is said, PING included.
        case answersNothing = "answers-nothing"
    }

    public var kind: Kind
    /// Before any of it happens.
    public var delay: Duration = .zero
    /// Whether APNs has taken the push all the same: an answer that is lost, not a push. Always true for kinds that end
    /// in a 200.
    public var isTaken = false

    public init(_ kind: Kind, delay: Duration = .zero, isTaken: Bool = false) {
        self.kind = kind
        self.delay = delay
        self.isTaken = kind.endsInSuccess || isTaken
    }
}

extension Fault.Kind {
    /// What counters and documents call it.
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

    /// What a rule may do at `moment`: there must be something to answer, to reset or to take.
    func isPossible(at moment: FaultMoment) -> Bool {
        switch (moment, self) {
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

/// An answer of one's own making.
public struct FaultAnswer: Sendable, Equatable {
    public var status: UInt16
    /// Any text; empty for no JSON body.
    public var reason: String
    /// Seconds.
    public var retryAfter: UInt32?
    /// UNIX milliseconds, put beside the reason.
    public var timestamp: Int64?
    /// Sent in place of the JSON.
    public var body: [UInt8]?
    /// The body is repeated until it has this many bytes. It is made while it is sent and is never whole in memory.
    public var bodyBytes: Int?
    /// Of the body; nil for `application/json`.
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

    var answer: SimulatedResponse {
        var answer = SimulatedResponse(status: status, reason: reason, timestamp: timestamp, retryAfter: retryAfter)
        if let body { answer.body = body.isEmpty ? nil : HTTP2Body(body) }
        if let bodyBytes {
            let pattern = body.flatMap { $0.isEmpty ? nil : $0 } ?? Array(repeating: UInt8(ascii: "x"), count: 4096)
            answer.body = HTTP2Body(repeating: pattern, count: bodyBytes)
        }
        answer.contentType = contentType
        return answer
    }
}

/// What a `settings` fault announces; nil leaves a setting as it is.
public struct FaultSettings: Sendable, Equatable {
    public var streamsMax: UInt32?
    /// Of streams, in bytes.
    public var initialWindowBytes: UInt32?
    /// Of HPACK, in bytes.
    public var headerTableBytes: UInt32?

    public init(streamsMax: UInt32? = nil, initialWindowBytes: UInt32? = nil, headerTableBytes: UInt32? = nil) {
        self.streamsMax = streamsMax
        self.initialWindowBytes = initialWindowBytes
        self.headerTableBytes = headerTableBytes
    }
}
