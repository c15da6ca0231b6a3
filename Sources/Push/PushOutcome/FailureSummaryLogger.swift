import APNSWire
package import Logging
import PushModel
package import PushStore
import Synchronization

/// Logs how many pushes were rejected, expired or given up, by app and reason. It never names a push.
package final class FailureSummaryLogger: Sendable {
    private let summary = Mutex(FailureSummary())
    private let logger: Logger

    package init(logger: Logger) {
        self.logger = logger
    }

    /// Logs the failures that are due. The gateway calls it about once per second, and at the end with `isFinal`.
    ///
    /// - Parameters:
    ///   - counts: all settled pushes since the start.
    ///   - isFinal: logs all failures that have not been logged yet.
    ///   - now: monotonic time.
    package func log(_ counts: OutcomeCounts, isFinal: Bool = false, now: Duration) {
        for entry in summary.withLock({ $0.update(counts, isFinal: isFinal, now: now) }) { log(entry) }
    }

    private func log(_ entry: FailureSummary.Entry) {
        let (key, code) = (entry.key, entry.key.code)
        var metadata: Logger.Metadata = [
            "app": "\(key.app)", "pushes": .stringConvertible(entry.pushes),
            "code": .stringConvertible(code.rawValue), "error": "\(code.entry.name)",
        ]
        if key.reason != .none { metadata["reason"] = "\(key.reason.label)" }
        switch key.verdict {
        case .givenUp: logger.error("pushes given up, kept as dead letters", metadata: metadata)
        case .expired: logger.warning("pushes expired before they were sent", metadata: metadata)
        // Tokens become invalid all the time, as users delete apps.
        case .rejected where code == .notSubscribed || code == .tokenExpired:
            logger.info("APNs rejected pushes: device tokens no longer valid", metadata: metadata)
        case .rejected: logger.warning("APNs rejected pushes", metadata: metadata)
        case .delivered, .cancelled, .suppressed: preconditionFailure("\(key.verdict.label) is no failure")
        }
    }
}

/// Decides which failures are logged now: for each app and reason the first one immediately, later ones together and at
/// most once per `interval`. Pure.
package struct FailureSummary: Sendable {
    /// One line of the log.
    package struct Entry: Sendable, Equatable {
        package var key: OutcomeCounts.Key
        /// The number since the previous entry of this key.
        package var pushes: Int

        package init(key: OutcomeCounts.Key, pushes: Int) {
            self.key = key
            self.pushes = pushes
        }
    }

    private struct Reported: Sendable {
        var pushes = 0
        var at: Duration?
    }

    package static let interval: Duration = .seconds(60)

    private var reported: [OutcomeCounts.Key: Reported] = [:]

    package init() {}

    /// Compares `counts` with what was reported.
    ///
    /// - Parameters:
    ///   - counts: all settled pushes since the start.
    ///   - isFinal: returns all failures that have not been reported, whatever the interval.
    ///   - now: monotonic time.
    /// - Returns: the entries to log now, sorted by app, code and reason. They count as reported.
    package mutating func update(_ counts: OutcomeCounts, isFinal: Bool = false, now: Duration) -> [Entry] {
        var entries: [Entry] = []
        for (key, pushes) in counts.counts where key.verdict.isFailure {
            let previous = reported[key] ?? Reported()
            guard pushes > previous.pushes, isFinal || previous.at.map({ now - $0 >= Self.interval }) ?? true else {
                continue
            }
            entries.append(Entry(key: key, pushes: pushes - previous.pushes))
            reported[key] = Reported(pushes: pushes, at: now)
        }
        return entries.sorted {
            ($0.key.app, $0.key.code.rawValue, $0.key.reason.rawValue)
                < ($1.key.app, $1.key.code.rawValue, $1.key.reason.rawValue)
        }
    }
}

extension Verdict {
    /// Not delivered, and not withheld by a caller's request.
    fileprivate var isFailure: Bool {
        switch self {
        case .rejected, .expired, .givenUp: true
        case .delivered, .cancelled, .suppressed: false
        }
    }
}
