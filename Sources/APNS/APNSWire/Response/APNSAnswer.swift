/// The result of one attempt to send a push: APNs' answer, or why there is none.
///
/// A plain value of fixed size, so that the answers of a batch are one array. The text of a reason without a case in
/// `APNSReason` is in `APNSAnswers.unknownReasons`.
public struct APNSAnswer: Sendable, Equatable {
    /// How far the attempt got. After the first two APNs has certainly not processed the push, so a retry is safe.
    public enum Disposition: UInt8, Sendable, CaseIterable {
        /// The request was never written to the socket.
        case neverWritten
        /// The server reported that it did not process the request: REFUSED_STREAM, or an ID above GOAWAY's last one.
        case refused
        /// APNs answered completely; `status` is the HTTP status.
        case answered
        /// The request was written and not answered: APNs may have processed it.
        case ambiguous
    }

    /// Why there is no answer of APNs; `.none` if there is one.
    public enum Failure: UInt8, Sendable, CaseIterable {
        case none
        case connectTimeout, connectRefused, dns, tls
        case connectionClosed, connectionReset
        case goAway, streamRefused, streamReset
        case pingTimeout, deadlineExceeded
        case protocolError
        /// The client was closed, or its signing key cannot sign a provider token.
        case clientClosed, credential
        /// The client's queue was full.
        case overloaded
        /// The proxy did not open a tunnel to APNs.
        case proxy
        /// The server that answered is not APNs.
        case notAPNs
        /// The expiration of the push passed before it was sent.
        case expired
        /// The task that waited for the answer was cancelled.
        case cancelled
    }

    public var disposition: Disposition
    public var failure: Failure
    public var reason: APNSReason
    /// HTTP status; 0 without an answer.
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

    /// Whether APNs accepted the push.
    public var isAccepted: Bool { status == 200 && failure == .none }

    /// HTTP 200: APNs accepted the push.
    public static let accepted = APNSAnswer(disposition: .answered, status: 200)

    /// The result of an attempt without an answer.
    public static func failed(_ failure: Failure, _ disposition: Disposition) -> APNSAnswer {
        APNSAnswer(disposition: disposition, failure: failure)
    }
}

/// Answers to some or all pushes of one batch.
public struct APNSAnswers: Sendable, Equatable {
    /// The batch: the ticket that was passed to `APNSSender.send`.
    public var ticket: UInt64
    /// The indexes of the pushes in the batch, parallel to `answers`.
    public var indexes: [UInt16] = []
    public var answers: [APNSAnswer] = []
    /// Milliseconds from writing the request to its answer, parallel to `answers`.
    public var latencies: [UInt32] = []
    /// The verbatim text of reasons without a case in `APNSReason`, by push index; at most 128 bytes each.
    public var unknownReasons: [UInt16: String] = [:]
    /// `apns-unique-id` of the answers that have one, by push index; at most 64 bytes each. Only the development
    /// environment of APNs sends it: the key of the push in the delivery log of Apple's Push Notifications Console.
    public var uniqueIDs: [UInt16: String] = [:]
    /// Whether these are the last answers of the batch.
    public var isLast = false

    public init(ticket: UInt64) {
        self.ticket = ticket
    }

    /// Adds the answer to one push.
    ///
    /// - Parameter latency: milliseconds from writing the request to its answer.
    public mutating func append(_ answer: APNSAnswer, of index: UInt16, latency: UInt32) {
        indexes.append(index)
        answers.append(answer)
        latencies.append(latency)
    }
}

/// Receives answers from an `APNSSender`.
public protocol APNSAnswerReceiver: AnyObject, Sendable {
    /// Called on the sender's event loop with one or many answers. Must return quickly and must not block.
    func receive(_ answers: APNSAnswers)
    /// Whose pushes these are. Owners take turns in a sender's queue, and the pushes of one owner leave in order. The
    /// identified object must live as long as the receiver; by default it is the receiver itself.
    var owner: ObjectIdentifier { get }
}

extension APNSAnswerReceiver {
    public var owner: ObjectIdentifier { ObjectIdentifier(self) }
}

/// Sends batches to APNs.
public protocol APNSSender: Sendable {
    /// Sends the pushes of `batch` at `indexes` (nil: all of them) and reports exactly one answer for each.
    ///
    /// Answers arrive in groups: immediately when the last one is in, otherwise at least every 100 ms.
    ///
    /// - Parameters:
    ///   - ticket: returned with each group of answers.
    ///   - timeouts: how long a push may wait until it is written, from this call on, and then for its answer.
    ///   - receiver: retained until the last answer.
    func send(
        _ batch: NotificationBatch, indexes: [UInt16]?, ticket: UInt64, timeouts: APNSSendTimeouts,
        to receiver: any APNSAnswerReceiver
    )
}

extension APNSAnswer.Failure {
    /// What failed and what to check: a phrase in lower case without a full stop.
    public var meaning: String {
        switch self {
        case .none: "no failure"
        case .connectTimeout: "connect timeout (check the host and the firewall)"
        case .connectRefused: "connection refused: no server listens on the host and port"
        case .dns: "the host name cannot be resolved"
        case .tls: "TLS handshake failed (check the trust roots and the certificate)"
        case .connectionClosed: "the server closed the connection"
        case .connectionReset: "the connection was reset"
        case .goAway: "the server closed the connection with GOAWAY"
        case .streamRefused: "the server refused the request"
        case .streamReset: "the server reset the request"
        case .pingTimeout: "the server did not answer a PING"
        case .deadlineExceeded: "deadline exceeded"
        case .protocolError: "the server violated HTTP/2"
        case .clientClosed: "the client was closed"
        case .credential: "the signing key cannot sign a provider token"
        case .overloaded: "the client's queue is full"
        case .expired: "the push expired before it could be sent"
        case .cancelled: "the task that sent it was cancelled"
        case .notAPNs: "the server that answered is not APNs (check the host, proxies and captive portals)"
        case .proxy: "the proxy did not open a tunnel to APNs (check its credentials)"
        }
    }
}

extension APNSAnswer.Disposition {
    /// What it means for the push: a phrase in lower case without a full stop.
    public var meaning: String {
        switch self {
        case .neverWritten: "the push was not sent"
        case .refused: "APNs did not process the push"
        case .answered: "APNs answered"
        case .ambiguous: "APNs may have processed the push"
        }
    }
}
