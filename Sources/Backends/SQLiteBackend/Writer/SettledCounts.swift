import PushModel
import PushStore
import Synchronization

/// Counts the pushes that writes settle, from the moment on when they are committed.
struct SettledCounts: Sendable {
    /// Read from anywhere, without waiting for the writer.
    final class Committed: Sendable {
        private let current = Mutex(OutcomeCounts())

        var tally: OutcomeCounts { current.withLock { $0 } }

        fileprivate func add(_ runs: [(key: OutcomeCounts.Key, pushes: Int)]) {
            current.withLock { tally in
                for run in runs { tally.add(run.pushes, to: run.key) }
            }
        }
    }

    let committed = Committed()
    /// Not committed yet, oldest first.
    private var runs: [(key: OutcomeCounts.Key, pushes: Int)] = []

    mutating func add(_ outcomes: [Outcome], of app: AppID) {
        OutcomeCounts.runs(of: outcomes, app: app) { runs.append(($0, $1)) }
    }

    /// Names the present state, until the next commit.
    var mark: Int { runs.count }

    mutating func rollBack(to mark: Int) { runs.removeSubrange(mark...) }

    mutating func commit() {
        guard !runs.isEmpty else { return }
        committed.add(runs)
        runs.removeAll(keepingCapacity: true)
    }
}
