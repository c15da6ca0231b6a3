import APNSWire
import PushModel
package import PushStore

/// Decides when the log is told of pushes that came to nothing: at once, and then for each app and reason at most once a
/// minute with how many there were. Pure.
package struct FailureSummary: Sendable {
    /// What there is to tell.
    package struct Entry: Sendable, Equatable {
        package var key: OutcomeCounts.Key
        /// Since the last time it was told.
        package var pushes: Int

        package init(key: OutcomeCounts.Key, pushes: Int) {
            self.key = key
            self.pushes = pushes
        }
    }

    private struct Told: Sendable {
        var pushes = 0
        var at: Duration?
    }

    package static let interval: Duration = .seconds(60)

    private var told: [OutcomeCounts.Key: Told] = [:]

    package init() {}

    /// - Parameters:
    ///   - isLast: tell what is left, whenever it was told last.
    ///   - now: by the monotonic clock.
    /// - Returns: sorted by app, then by code.
    package mutating func look(_ tally: OutcomeCounts, isLast: Bool = false, now: Duration) -> [Entry] {
        var entries: [Entry] = []
        for (key, pushes) in tally.counts where key.verdict.cameToNothing {
            var known = told[key] ?? Told()
            guard pushes > known.pushes, isLast || known.at.map({ now - $0 >= Self.interval }) ?? true else { continue }
            entries.append(Entry(key: key, pushes: pushes - known.pushes))
            known = Told(pushes: pushes, at: now)
            told[key] = known
        }
        return entries.sorted {
            ($0.key.app, $0.key.code.rawValue, $0.key.reason.rawValue)
                < ($1.key.app, $1.key.code.rawValue, $1.key.reason.rawValue)
        }
    }
}

extension Verdict {
    /// Neither delivered nor kept back because somebody wanted it so.
    fileprivate var cameToNothing: Bool {
        switch self {
        case .rejected, .expired, .givenUp: true
        case .delivered, .cancelled, .suppressed: false
        }
    }
}
