/// Why the pushes of an app that are accepted now will not be sent at once, and for about how long.
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

        /// Whether the age of what waits shows that more comes in than goes out. It does not where pushes wait because
        /// somebody said so, or APNs refuses the app.
        package var indicatesLoad: Bool {
            switch self {
            case .paused, .credentialRefused: false
            case .apnsUnreachable, .rateLimited, .backlog: true
            }
        }
    }

    package var reason: Reason
    /// A guess, not a promise; nil when nobody can tell, as for a paused app.
    package var estimate: Duration?

    package init(reason: Reason, estimate: Duration?) {
        self.reason = reason
        self.estimate = estimate
    }
}
