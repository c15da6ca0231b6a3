package import PushModel
package import PushStore
import Synchronization

extension MemoryBackend: QueueControl {
    /// Batches that are cancelled under one hold of the lock, so that other calls run in between.
    private static let batchesPerStep = 50

    package func cancel(_ ids: [PushID], at now: WallTime) throws(QueueError) -> [CancelResult] {
        try perform { state, _ in state.cancel(ids, at: now) }
    }

    package func cancel(_ target: CancelTarget, at now: WallTime) throws(QueueError) -> CancelCount {
        var count = CancelCount()
        let newest = try perform { state, _ in state.newestKey }
        while true {
            let (batches, tooLate) = try perform { state, _ in state.waiting(for: target, upTo: newest) }
            guard !batches.isEmpty else {
                count.tooLate = tooLate
                return count
            }
            for start in stride(from: 0, to: batches.count, by: Self.batchesPerStep) {
                let step = batches[start..<min(start + Self.batchesPerStep, batches.count)]
                count.cancelled += try perform { state, _ in state.cancelAll(of: step, at: now) }
            }
        }
    }

    package func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) throws(QueueError) {
        try perform { state, _ in
            state.paused[app] = isPaused ? state.paused[app] ?? now : nil
        }
    }

    package func pausedApps() throws(QueueError) -> [AppID: WallTime] {
        try perform { state, _ in state.paused }
    }
}

extension MemoryBackend: IdempotentQueue {
    package func idempotencyRecord(for key: IdempotencyKey, now: WallTime) throws(QueueError) -> IdempotencyRecord? {
        try perform { state, _ in state.idempotencyRecord(of: key, at: now) }
    }

    package func append(
        _ batches: [NewBatch], storing answers: [IdempotencyKey: IdempotencyRecord]
    ) throws(QueueError) -> [Lease?] {
        let (bytesMax, policy) = (store.limits.bytesMax, store.policy)
        return try perform { state, now throws(QueueError) in
            try state.append(batches, recording: answers, by: owner, bytesMax: bytesMax, policy: policy, now: now)
        }
    }

    package func idempotencyUsage() -> IdempotencyUsage {
        store.state.withLock { state in
            IdempotencyUsage(
                records: state.idempotencyRecords.count,
                bytes: state.idempotencyRecords.values.reduce(0) { $0 + $1.body.count }
            )
        }
    }
}
