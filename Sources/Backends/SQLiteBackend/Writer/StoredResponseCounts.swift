import PushStore
import Synchronization

/// Counts the rows of `idempotency` when the write that changed them is committed.
struct StoredResponseCounts: Sendable {
    /// Readable from any thread, without waiting for the writer.
    final class Committed: Sendable {
        private let current = Mutex(IdempotencyUsage())

        var usage: IdempotencyUsage { current.withLock { $0 } }

        fileprivate func add(_ changes: [IdempotencyUsage]) {
            current.withLock { usage in
                for change in changes {
                    usage.records += change.records
                    usage.bytes += change.bytes
                }
            }
        }
    }

    let committed = Committed()
    /// Not committed yet, oldest first.
    private var changes: [IdempotencyUsage] = []

    /// - Parameters:
    ///   - records: negative for deleted ones.
    ///   - bytes: of their responses; negative for deleted ones.
    mutating func add(records: Int, bytes: Int) {
        if records != 0 { changes.append(IdempotencyUsage(records: records, bytes: bytes)) }
    }

    /// The current state, for `rollBack`; valid until the next commit.
    var savepoint: Int { changes.count }

    mutating func rollBack(to savepoint: Int) { changes.removeSubrange(savepoint...) }

    mutating func commit() {
        guard !changes.isEmpty else { return }
        committed.add(changes)
        changes.removeAll(keepingCapacity: true)
    }
}
