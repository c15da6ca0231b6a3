import APNSWire
package import Logging
import PushModel
package import PushStore
import Synchronization

/// Tells the log of pushes that were rejected, expired or given up: by app and reason, with their number, never which.
package final class FailureSummaryLogger: Sendable {
    private let digest = Mutex(FailureSummary())
    private let logger: Logger

    package init(logger: Logger) {
        self.logger = logger
    }

    /// To be called about once a second, and at the end with `isLast`.
    ///
    /// - Parameter now: by the monotonic clock.
    package func look(_ tally: OutcomeCounts, isLast: Bool = false, now: Duration) {
        for entry in digest.withLock({ $0.look(tally, isLast: isLast, now: now) }) { tell(entry) }
    }

    private func tell(_ entry: FailureSummary.Entry) {
        let (key, code) = (entry.key, entry.key.code)
        var metadata: Logger.Metadata = [
            "app": "\(key.app)", "pushes": "\(entry.pushes)", "code": "\(code.rawValue)", "error": "\(code.entry.name)",
        ]
        if key.reason != .none { metadata["reason"] = "\(key.reason.label)" }
        switch key.verdict {
        case .givenUp: logger.error("pushes were given up and are dead letters now", metadata: metadata)
        case .expired: logger.warning("pushes expired before they could be sent", metadata: metadata)
        // Devices come and go: that tokens die is every day's business.
        case .rejected where code == .notSubscribed || code == .tokenExpired:
            logger.info("APNs rejected pushes: their tokens are dead", metadata: metadata)
        case .rejected: logger.warning("APNs rejected pushes", metadata: metadata)
        case .delivered, .cancelled, .suppressed: preconditionFailure("nothing to tell of \(key.verdict.label)")
        }
    }
}
