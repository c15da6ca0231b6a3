/// What came of one attempt to send a push: APNs' answer, or the way in which there was none.
///
/// A plain value of fixed size, so that a thousand of them are one array. The text of a reason that
/// `APNSReason` does not know travels beside it, in `APNSAnswers.unknownReasons`.
public struct APNSAnswer: Sendable, Equatable {
    /// How far the attempt got. The first two are free: the push was certainly not processed.
    public enum Disposition: UInt8, Sendable, CaseIterable {
        /// The request did not leave: never handed to the socket.
        case neverWritten
        /// The server said that it did not process the request (REFUSED_STREAM, above GOAWAY's last id).
        case refused
        /// A complete answer; `status` is its HTTP status.
        case answered
        /// The request was written and no answer came: APNs may have it.
        case ambiguous
    }

    /// Why there is no answer; `.none` when there is one.
    public enum Failure: UInt8, Sendable, CaseIterable {
        case none
        case connectTimeout, connectRefused, dns, tls
        case connectionClosed, connectionReset
        case goAway, streamRefused, streamReset
        case pingTimeout, deadlineExceeded
        case protocolError
        /// The client was closed, or its credential cannot make a token.
        case clientClosed, credential
        /// The client's own queue was full.
        case overloaded
        /// The proxy made no tunnel to APNs.
        case proxy
        /// The push's own expiration passed before it was sent.
        case expired
    }

    public var disposition: Disposition
    public var failure: Failure
    public var reason: APNSReason
    /// HTTP status, 0 without an answer.
    public var status: UInt16
    /// The `timestamp` of a 410: since when APNs knows that the token is invalid, in milliseconds since 1970; 0 without
    /// one.
    public var tokenInvalidAtMilliseconds: Int64
    /// `Retry-After` in seconds, 0 without one. Apple documents none; proxies and simulators send it.
    public var retryAfterSeconds: UInt32

    public init(
        disposition: Disposition, status: UInt16 = 0, reason: APNSReason = .none, failure: Failure = .none,
        tokenInvalidAtMilliseconds: Int64 = 0, retryAfterSeconds: UInt32 = 0
    ) {
        self.disposition = disposition
        self.status = status
        self.reason = reason
        self.failure = failure
        self.tokenInvalidAtMilliseconds = tokenInvalidAtMilliseconds
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// HTTP 200: APNs took the push.
    public static let accepted = APNSAnswer(disposition: .answered, status: 200)

    /// No answer, and why.
    public static func failed(_ failure: Failure, _ disposition: Disposition) -> APNSAnswer {
        APNSAnswer(disposition: disposition, failure: failure)
    }
}

/// Some answers to the pushes of one batch.
public struct APNSAnswers: Sendable, Equatable {
    /// Names the batch: the number that `APNSSender.send` was given.
    public var ticket: UInt64
    /// Which pushes of the batch, parallel to `answers`.
    public var indexes: [UInt16] = []
    public var answers: [APNSAnswer] = []
    /// Milliseconds from the write of the request to its answer, parallel to `answers`.
    public var latencies: [UInt32] = []
    /// Verbatim reasons that `APNSReason` has no case for, by push index; at most 128 bytes each.
    public var unknownReasons: [UInt16: String] = [:]
    /// True when no further answers of this batch follow.
    public var isLast = false

    public init(ticket: UInt64) {
        self.ticket = ticket
    }

    /// Adds the answer to one push.
    ///
    /// - Parameter latency: milliseconds from the write of the request.
    public mutating func append(_ answer: APNSAnswer, of index: UInt16, latency: UInt32) {
        indexes.append(index)
        answers.append(answer)
        latencies.append(latency)
    }
}

/// Takes answers from an `APNSSender`.
public protocol APNSAnswerReceiver: AnyObject, Sendable {
    /// Called on the sender's event loop, once for many answers. Must return quickly and must not block.
    func receive(_ answers: APNSAnswers)
}

/// Sends batches to APNs: what dispatch knows of the APNs client.
public protocol APNSSender: Sendable {
    /// Sends the pushes of `batch` that `indexes` names (nil: all of them) and reports each exactly once.
    ///
    /// Answers arrive in several pieces: as soon as all are in, and otherwise at least every 100 ms.
    ///
    /// - Parameters:
    ///   - ticket: comes back with each piece of answers.
    ///   - deadline: seconds that a push may wait for its answer, from this call on; what is unanswered then is
    ///     reported as `neverWritten` or `ambiguous`.
    ///   - receiver: kept until the last answer.
    func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, deadline: Duration,
        to receiver: any APNSAnswerReceiver
    )
}

extension APNSAnswer.Failure {
    /// What happened, and what to look at: a part of a sentence.
    public var meaning: String {
        switch self {
        case .none: "nothing failed"
        case .connectTimeout: "no connection in time (is the host right? does a firewall let it through?)"
        case .connectRefused: "nobody listens at the host and port"
        case .dns: "the host's name cannot be looked up"
        case .tls: "TLS failed (do the trust roots hold the server's authority? is the certificate good?)"
        case .connectionClosed: "the server closed the connection"
        case .connectionReset: "the connection was reset"
        case .goAway: "the server ended the connection (GOAWAY)"
        case .streamRefused: "the server refused the request"
        case .streamReset: "the server reset the request"
        case .pingTimeout: "the server fell silent"
        case .deadlineExceeded: "the deadline has passed"
        case .protocolError: "the server broke HTTP/2"
        case .clientClosed: "the client was closed"
        case .credential: "no provider token can be made with the signing key"
        case .overloaded: "the client's queue is full"
        case .expired: "the push expired before it could be sent"
        case .proxy: "the proxy made no tunnel to APNs (does it ask for a password?)"
        }
    }
}

extension APNSAnswer.Disposition {
    /// What it means for the push: a part of a sentence.
    public var meaning: String {
        switch self {
        case .neverWritten: "the push was not sent"
        case .refused: "APNs did not process the push"
        case .answered: "APNs answered"
        case .ambiguous: "APNs may have the push"
        }
    }
}
