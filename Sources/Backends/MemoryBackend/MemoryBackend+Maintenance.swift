package import PushModel
package import PushStore
import Synchronization

extension MemoryBackend: StoreMaintenance {
    package func prune(
        endedBefore cutoff: WallTime, batchesMax: Int, now: WallTime
    ) throws(QueueError) -> Bool {
        try perform { state, _ in state.prune(endedBefore: cutoff, batchesMax: batchesMax, now: now) }
    }

    package func expire(batchesMax: Int) throws(QueueError) -> Bool {
        let policy = store.policy
        return try perform { state, now in state.expire(by: policy, batchesMax: batchesMax, at: now.wall) }
    }

    /// Nothing to do: what has ended is gone.
    package func reclaim() throws(QueueError) -> Bool { try perform { _, _ in false } }

    /// Measured against `MemoryStore.Limits.bytesMax`.
    package func usage() -> StoreUsage? {
        let bytesUsed = store.state.withLock { $0.bytesUsed }
        return StoreUsage(bytesFree: max(0, store.limits.bytesMax - bytesUsed), bytesUsed: bytesUsed)
    }

    package func settled() -> OutcomeCounts { tally }
}
