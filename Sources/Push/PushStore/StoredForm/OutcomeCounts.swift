package import APNSWire
package import PushModel

/// How many pushes were settled, and how.
package struct OutcomeCounts: Sendable, Equatable {
    /// All of it comes from closed lists and from the apps that ever were configured, so there are few.
    package struct Key: Sendable, Hashable {
        package var app: AppID
        package var verdict: Verdict
        package var code: ErrorCode
        /// `.unknown` for one that APNs gave and the table does not have.
        package var reason: APNSReason

        package init(app: AppID, verdict: Verdict, code: ErrorCode, reason: APNSReason = .none) {
            self.app = app
            self.verdict = verdict
            self.code = code
            self.reason = reason
        }

        package init(_ outcome: Outcome, of app: AppID) {
            let reason: APNSReason =
                switch outcome.reason {
                case .known(let reason): reason
                case .verbatim: .unknown
                }
            self.init(app: app, verdict: outcome.verdict, code: outcome.code, reason: reason)
        }
    }

    package private(set) var counts: [Key: Int] = [:]

    package init() {}

    package mutating func add(_ pushes: Int, to key: Key) { counts[key, default: 0] += pushes }

    /// Runs of neighbours that ended alike: one, as a rule, for a whole batch.
    package static func runs(of outcomes: [Outcome], app: AppID, _ onRun: (Key, Int) -> Void) {
        var start = outcomes.startIndex
        while start < outcomes.endIndex {
            let first = outcomes[start]
            let end =
                outcomes[start...].firstIndex {
                    $0.verdict != first.verdict || $0.code != first.code || $0.reason != first.reason
                } ?? outcomes.endIndex
            onRun(Key(first, of: app), end - start)
            start = end
        }
    }
}
