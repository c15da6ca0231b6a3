/// Why newly accepted pushes of an app wait, with an estimate of how long.
package struct DeliveryDelay: Sendable, Equatable {
    package enum Reason: UInt8, Sendable, CaseIterable {
        case apnsUnreachable
        case credentialRefused
        case paused
        case rateLimited
        case backlog

        package var label: String {
            switch self {
            case .apnsUnreachable: "apns_unreachable"
            case .credentialRefused: "credential_refused"
            case .paused: "paused"
            case .rateLimited: "rate_limited"
            case .backlog: "backlog"
            }
        }

        /// Whether the age of waiting pushes indicates overload. It does not if the app is paused or APNs refuses its
        /// credential.
        package var indicatesLoad: Bool {
            switch self {
            case .paused, .credentialRefused: false
            case .apnsUnreachable, .rateLimited, .backlog: true
            }
        }
    }

    package var reason: Reason
    /// How long pushes will wait, as an estimate; nil if there is none: the ends of a pause, of an outage and of the refusal of
    /// a credential are not known.
    package var estimate: Duration?
    /// The cause in detail, for operators: one phrase without secrets; nil if it is not known.
    package var detail: String?

    package init(reason: Reason, estimate: Duration?, detail: String? = nil) {
        self.reason = reason
        self.estimate = estimate
        self.detail = detail
    }
}
