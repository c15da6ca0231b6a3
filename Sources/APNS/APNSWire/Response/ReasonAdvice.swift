/// What a refusal means and how to react to it.
///
/// Meanings and Apple's retry rules: Apple, "Handling notification responses from APNs" and "Handling error responses
/// from APNs", read 2026-11-23; fault and action also follow the practice of open-source providers.
/// `docs/reference/apns-reasons.md` is generated from this table.
public struct ReasonAdvice: Sendable, Equatable {
    /// When the same push can be sent again.
    public enum Retry: String, Sendable, CaseIterable, Hashable {
        /// The push was accepted.
        case notNeeded = "not needed"
        case never
        /// After the named cause has been corrected.
        case afterFix = "after a fix"
        /// Unchanged, after a delay.
        case later
        /// After a delay, with the provider token that was refused.
        case laterWithSameProviderToken = "later, with the same provider token"
        /// Immediately, on a new connection.
        case newConnection = "immediately, on a new connection"
        /// Immediately, on a new connection and with a new provider token.
        case newConnectionAndProviderToken = "immediately, on a new connection with a new provider token"
    }

    /// The cause of a refusal.
    public enum Fault: String, Sendable, CaseIterable, Hashable {
        case none
        case deviceToken = "device token"
        /// Key, certificate, topic or environment.
        case configuration = "sender's configuration"
        /// This request or its payload.
        case request = "this request"
        /// Apple's servers, or too much load.
        case apple = "Apple or load"
    }

    /// What the answer means: a phrase in lower case without a full stop.
    public var meaning: String
    public var retry: Retry
    public var fault: Fault
    /// Whether the token is no longer valid for this topic and environment. Remove it, unless the app has registered it
    /// again since.
    public var isTokenInvalid: Bool
    /// What to do: one sentence.
    public var action: String
    /// The minimum delay before a retry: 15 minutes after a 5xx by Apple's rule, zero if none is documented.
    public var retryDelayMin: Duration

    init(
        _ meaning: String, _ retry: Retry, _ fault: Fault, isTokenInvalid: Bool = false,
        retryDelayMin: Duration = .zero, _ action: String
    ) {
        self.meaning = meaning
        self.retry = retry
        self.fault = fault
        self.isTokenInvalid = isTokenInvalid
        self.action = action
        self.retryDelayMin = retryDelayMin
    }

    /// The advice for an answer: by its reason or, without a known reason, by its status.
    public static func advice(status: UInt16, reason: APNSReason) -> ReasonAdvice {
        if (200...299).contains(status) { return .accepted }
        return reason.advice ?? byStatus(status)
    }

    static let accepted = ReasonAdvice(
        "accepted", .notNeeded, .none, "Nothing; APNs does not report whether and when the device shows the push.")

    fileprivate static func byStatus(_ status: UInt16) -> ReasonAdvice {
        switch status {
        case 403:
            ReasonAdvice(
                "APNs refused the credential for an unknown reason", .afterFix, .configuration,
                "Check key, certificate, team and environment, and see Apple's documentation for the reason.")
        case 410:
            ReasonAdvice(
                "the device token is no longer valid, for an unknown reason", .never, .deviceToken,
                isTokenInvalid: true,
                "Remove the token, unless the app has registered it again since the answer's timestamp.")
        case 413:
            ReasonAdvice("the body is too large", .never, .request, "Send a smaller payload.")
        case 429:
            ReasonAdvice(
                "too many requests", .later, .apple,
                "Send less to this token, and wait longer after each such answer.")
        case 400...499:
            ReasonAdvice(
                "APNs refused the request for an unknown reason", .afterFix, .request,
                "See Apple's documentation for the reason; APNs would refuse the same request again.")
        case 500...599:
            ReasonAdvice(
                "an unknown error at APNs", .later, .apple, retryDelayMin: .seconds(900),
                "Wait, longer each time, and use another connection.")
        default:
            ReasonAdvice(
                "an answer that APNs is not known to give", .never, .configuration,
                "Check that the host is APNs and that no proxy answers instead.")
        }
    }
}

extension APNSResponse {
    /// What the answer means and how to react to it.
    public var advice: ReasonAdvice { .advice(status: status, reason: reason) }
}

extension ChannelResponse {
    /// What a refusal means and how to react to it; nil for a success.
    public var advice: ReasonAdvice? {
        guard case .refused(let refusal) = disposition else { return nil }
        // A 200 after a deletion is a refusal, so `advice(status:reason:)`, which accepts every 2xx, does not apply.
        return refusal.reason.advice ?? .byStatus(status)
    }
}
