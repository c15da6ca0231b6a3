package import PushModel

/// Decides when the log names the end of a certificate: when it is loaded, when 30, 7 and 1 days are left, and when it has
/// expired, each once. Pure.
package struct CertificateExpiryPolicy {
    package enum Notice: Sendable, Equatable {
        case loaded, expiresSoon, expired
    }

    /// Days left at which a warning is due.
    package static let thresholds = [30, 7, 1]

    private struct Logged {
        var end: WallTime
        /// The lowest threshold that was reached; 0 after the end.
        var days: Int
    }

    private var logged: [AppEnvironment: Logged] = [:]

    package init() {}

    /// - Parameters:
    ///   - app: the first of the apps that share the certificate.
    ///   - end: when the certificate ends. Another end is that of another certificate.
    /// - Returns: nil if nothing new is to be logged.
    package mutating func update(_ app: AppEnvironment, end: WallTime, now: WallTime) -> Notice? {
        let days = Self.daysLeft(end: end, now: now)
        let reached = end <= now ? 0 : Self.thresholds.last { days < $0 } ?? .max
        if let before = logged[app], before.end == end, before.days <= reached { return nil }
        logged[app] = Logged(end: end, days: reached)
        switch reached {
        case 0: return .expired
        case .max: return .loaded
        default: return .expiresSoon
        }
    }

    /// Whole days left; negative after the end.
    package static func daysLeft(end: WallTime, now: WallTime) -> Int {
        Int((Double(end.milliseconds - now.milliseconds) / 86_400_000).rounded(.down))
    }
}
