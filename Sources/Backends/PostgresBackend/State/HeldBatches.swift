#if Postgres
import APNSWire
import PushModel
import PushStore
import Synchronization

/// A batch that this instance has claimed.
struct HeldBatch: Sendable {
    let epoch: UInt64
    let app: AppID
    /// nil if it cannot be read.
    let content: Batch?
    let hasCollapses: Bool
    /// `unsettled` of the row after the last settlement of this instance.
    var storedUnsettled: Int
    var ledger: BatchLedger
}

/// The batches that this instance has claimed and not released, as far as it knows. Another instance may have overtaken
/// a lease; the store finds that out.
final class HeldBatches: Sendable {
    private let batches = Mutex<[BatchID: HeldBatch]>([:])

    subscript(_ lease: Lease) -> HeldBatch? {
        batches.withLock { batches in
            batches[lease.batch].flatMap { $0.epoch == lease.epoch ? $0 : nil }
        }
    }

    func hold(_ batch: Batch, epoch: UInt64) {
        let held = HeldBatch(
            epoch: epoch, app: batch.app, content: batch,
            hasCollapses: batch.notifications.headers.contains { $0.collapseID != nil }, storedUnsettled: batch.count,
            ledger: BatchLedger(count: batch.count, acceptedAt: batch.acceptedAt, dueTimes: batch.dueTimes))
        batches.withLock { $0[batch.id] = held }
    }

    func hold(_ batch: BatchRow) {
        let held = HeldBatch(
            epoch: batch.epoch, app: batch.appLane.app, content: batch.content,
            hasCollapses: batch.marks.contains(.collapses), storedUnsettled: batch.storedUnsettled,
            ledger: batch.ledger)
        batches.withLock { $0[batch.id] = held }
    }

    /// The write was recorded.
    func record(_ write: BatchWrite) {
        batches.withLock { batches in
            guard batches[write.lease.batch]?.epoch == write.lease.epoch else { return }
            if write.release.endsLease || write.ledger.isFinished {
                batches[write.lease.batch] = nil
            } else {
                batches[write.lease.batch]?.ledger = write.ledger
                batches[write.lease.batch]?.storedUnsettled = write.ledger.unsettled
            }
        }
    }

    func drop(_ leases: some Sequence<Lease>) {
        batches.withLock { batches in
            for lease in leases where batches[lease.batch]?.epoch == lease.epoch { batches[lease.batch] = nil }
        }
    }
}
#endif
