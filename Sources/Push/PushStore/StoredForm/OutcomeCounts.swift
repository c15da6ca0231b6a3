package import APNSWire
package import PushModel

/// Numbers of settled pushes by app, verdict, error code and reason.
package struct OutcomeCounts: Sendable, Equatable {
    /// Bounded: the parts come from closed lists and from the apps that were ever configured.
    package struct Key: Sendable, Hashable {
        package var app: AppID
        package var verdict: Verdict
        package var code: ErrorCode
        /// `.unknown` for a reason of APNs that the table does not have.
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

    /// Calls `onRun` for each run of adjacent outcomes with the same key; most batches have a single run.
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
