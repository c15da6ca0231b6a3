public import APNSWire
import NIOCore

/// Why a connection could not be opened, or was lost.
public struct APNSConnectionFailure: Sendable, Equatable {
    /// The cause, finer than `APNSAnswer.Failure`. The raw values are stable, for example as labels of metrics.
    public enum Cause: String, Sendable, CaseIterable {
        case nameNotResolved = "name_not_resolved"
        case timedOut = "timed_out"
        case refused = "connection_refused"
        case unreachable = "network_unreachable"
        case permissionDenied = "permission_denied"
        /// Another error of the operating system; `detail` names it.
        case systemError = "system_error"
        case proxyUnreachable = "proxy_unreachable"
        /// The proxy answered and opened no tunnel.
        case proxyRefused = "proxy_refused"
        case certificateUntrusted = "certificate_untrusted"
        case certificateForOtherName = "certificate_for_other_name"
        case certificateExpired = "certificate_expired"
        case certificateNotYetValid = "certificate_not_yet_valid"
        /// The server ended the TLS handshake with an alert.
        case tlsRefused = "tls_refused"
        case tlsFailed = "tls_failed"
        case goAway = "go_away"
        case protocolViolation = "protocol_violation"
        case connectionClosed = "connection_closed"
        case connectionReset = "connection_reset"
        /// The server did not acknowledge a PING: packets are lost, or the server is stuck.
        case pingTimeout = "ping_timeout"
        /// The server answers pushes, and not as APNs does.
        case notAPNs = "not_apns"
        /// APNs answers every push with a server error.
        case serverError = "server_error"
        /// Connections can be opened, and no push is answered.
        case unanswered = "unanswered"
        case other
    }

    /// The failure that answers to pushes report.
    public var failure: APNSAnswer.Failure
    public var cause: Cause
    /// What failed, with the name of the system's error, the address or the certificate: a phrase of at most 300 bytes
    /// that contains no key, token or password.
    public var detail: String

    package init(_ failure: APNSAnswer.Failure, _ cause: Cause, _ detail: String) {
        self.failure = failure
        self.cause = cause
        self.detail = detail
    }

    /// A failure without details.
    package init(_ failure: APNSAnswer.Failure) {
        self.init(failure, Cause(failure), failure.meaning)
    }

    /// No push was answered for `time`.
    static func unanswered(for time: TimeAmount) -> Self {
        let seconds = max(1, time.nanoseconds / 1_000_000_000)
        return Self(.deadlineExceeded, .unanswered, "no push was answered for \(seconds) s")
    }

    /// APNs answered a push with a server error.
    static func serverError(status: UInt16, reason: APNSReason) -> Self {
        Self(.none, .serverError, "APNs answers pushes with \(status)\(reason == .none ? "" : " \(reason)")")
    }
}

extension APNSConnectionFailure.Cause {
    /// Whether the server did not answer: packets are lost, or it is stuck.
    var isSilence: Bool { self == .pingTimeout || self == .timedOut }

    /// Whether the next attempt will fail in the same way, until an operator changes something.
    package var needsOperator: Bool {
        switch self {
        case .certificateUntrusted, .certificateForOtherName, .certificateExpired, .certificateNotYetValid, .tlsRefused:
            true
        default: false
        }
    }

    init(_ failure: APNSAnswer.Failure) {
        self =
            switch failure {
            case .connectTimeout: .timedOut
            case .connectRefused: .refused
            case .dns: .nameNotResolved
            case .tls: .tlsFailed
            case .connectionClosed: .connectionClosed
            case .connectionReset: .connectionReset
            case .goAway: .goAway
            case .pingTimeout: .pingTimeout
            case .protocolError: .protocolViolation
            case .proxy: .proxyRefused
            case .notAPNs: .notAPNs
            case .deadlineExceeded: .unanswered
            case .none, .streamRefused, .streamReset, .clientClosed, .credential, .overloaded,
                .expired, .cancelled:
                .other
            }
    }
}

/// Since when APNs cannot be reached, or answers no push, and why.
public struct APNSOutage: Sendable, Equatable {
    /// When the first failure was detected, or since when pushes have waited without an answer.
    public var since: UNIXTime
    /// The last failure.
    public var failure: APNSConnectionFailure

    package init(since: UNIXTime, failure: APNSConnectionFailure) {
        self.since = since
        self.failure = failure
    }
}
