/// What a refusal means and what to do about it.
///
/// Meanings and Apple's retry rules: Apple, "Handling notification responses from APNs" and "Handling error responses from
/// APNs", read 2026-11-23; blame and advice also by the practice of open-source providers. `docs/reasons.md` is made of
/// this table.
public struct ReasonAdvice: Sendable, Equatable {
    /// When the same push can be sent again.
    public enum Retry: String, Sendable, CaseIterable, Hashable {
        /// There is nothing to send again.
        case notNeeded = "not needed"
        case never
        /// Not before what the reason names is put right.
        case afterFix = "after a fix"
        /// As it is, after a while.
        case later
        /// After a while, with the very provider token that was refused.
        case laterWithSameProviderToken = "later, with the same provider token"
        /// At once, on a new connection.
        case newConnection = "at once, on a new connection"
        /// At once, on a new connection and with a new provider token.
        case newConnectionAndProviderToken = "at once, on a new connection with a new provider token"
    }

    /// Whose fault it is.
    public enum Fault: String, Sendable, CaseIterable, Hashable {
        case none = "nobody's"
        case deviceToken = "device token"
        /// Key, certificate, topic or environment.
        case configuration = "sender's configuration"
        /// This request or its payload.
        case request = "this request"
        /// Apple's servers, or too much load.
        case apple = "Apple or load"
    }

    /// One phrase.
    public var meaning: String
    public var retry: Retry
    public var fault: Fault
    /// Whether the token is of no more use for this topic and environment, and should be removed, unless the app has
    /// registered it again since.
    public var isTokenDead: Bool
    /// One sentence.
    public var action: String
    /// How long to wait at least before a retry: 15 minutes after a 5xx by Apple's rule, zero where none is documented.
    public var retryDelayMin: Duration

    init(
        _ meaning: String, _ retry: Retry, _ fault: Fault, isTokenDead: Bool = false, retryDelayMin: Duration = .zero,
        _ action: String
    ) {
        self.meaning = meaning
        self.retry = retry
        self.fault = fault
        self.isTokenDead = isTokenDead
        self.action = action
        self.retryDelayMin = retryDelayMin
    }

    /// Advice on an answer: by its reason, and without a known one by the class of its status.
    public static func advice(status: UInt16, reason: APNSReason) -> ReasonAdvice {
        if (200...299).contains(status) { return .accepted }
        return reason.advice ?? byStatus(status)
    }

    static let accepted = ReasonAdvice(
        "accepted", .notNeeded, .none, "Nothing; whether and when the device shows it is not told.")

    fileprivate static func byStatus(_ status: UInt16) -> ReasonAdvice {
        switch status {
        case 403:
            ReasonAdvice(
                "the credential is refused, for a reason unknown", .afterFix, .configuration,
                "Check key, certificate, team and environment, and look the reason up at Apple's.")
        case 410:
            ReasonAdvice(
                "the device token is dead, for a reason unknown", .never, .deviceToken, isTokenDead: true,
                "Remove the token, unless the app has registered it again since the answer's timestamp.")
        case 413:
            ReasonAdvice("the body is too large", .never, .request, "Send a smaller payload.")
        case 429:
            ReasonAdvice(
                "too many requests", .later, .apple, "Send less to it, and wait longer after each such answer.")
        case 400...499:
            ReasonAdvice(
                "the request is refused, for a reason unknown", .afterFix, .request,
                "Look the reason up at Apple's; the same request would be refused again.")
        case 500...599:
            ReasonAdvice(
                "trouble at APNs, of a kind unknown", .later, .apple, retryDelayMin: .seconds(900),
                "Wait, longer each time, and use another connection.")
        default:
            ReasonAdvice(
                "no answer that APNs is known to give", .never, .configuration,
                "Check that the host is APNs and that no proxy answers in its place.")
        }
    }
}

extension APNSResponse {
    /// What the answer means and what to do about it.
    public var advice: ReasonAdvice { .advice(status: status, reason: reason) }
}

extension ChannelResponse {
    /// What a refusal means and what to do about it; nil for a success.
    public var advice: ReasonAdvice? {
        guard case .refused(let refusal) = disposition else { return nil }
        // A 200 that answers a deletion is no success, so the status alone must not make it one.
        return refusal.reason.advice ?? .byStatus(status)
    }
}
