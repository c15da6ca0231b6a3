import PushModel
import PushStore
import Synchronization

/// Counts settled pushes when the write that settled them is committed.
struct SettledCounts: Sendable {
    /// Readable from any thread, without waiting for the writer.
    final class Committed: Sendable {
        private let current = Mutex(OutcomeCounts())

        var counts: OutcomeCounts { current.withLock { $0 } }

        fileprivate func add(_ runs: [(key: OutcomeCounts.Key, pushes: Int)]) {
            current.withLock { counts in
                for run in runs { counts.add(run.pushes, to: run.key) }
            }
        }
    }

    let committed = Committed()
    /// Not committed yet, oldest first.
    private var runs: [(key: OutcomeCounts.Key, pushes: Int)] = []

    mutating func add(_ outcomes: [Outcome], of app: AppID) {
        OutcomeCounts.runs(of: outcomes, app: app) { runs.append(($0, $1)) }
    }

    /// The current state, for `rollBack`; valid until the next commit.
    var savepoint: Int { runs.count }

    mutating func rollBack(to savepoint: Int) { runs.removeSubrange(savepoint...) }

    mutating func commit() {
        guard !runs.isEmpty else { return }
        committed.add(runs)
        runs.removeAll(keepingCapacity: true)
    }
}
