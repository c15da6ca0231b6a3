package import PushModel

/// The right to work on a batch for a limited time. Each claim of a batch has a higher epoch than the one before; the
/// store refuses writes under an older epoch.
package struct Lease: Sendable, Hashable {
    package var batch: BatchID
    package var epoch: UInt64

    package init(batch: BatchID, epoch: UInt64) {
        self.batch = batch
        self.epoch = epoch
    }
}

package struct ClaimedBatch: Sendable {
    package var lease: Lease
    package var batch: Batch
    /// The pushes to send, each at its due time, by ascending index; nil: all of them, all are due, and none was tried
    /// before.
    package var pending: [PendingPush]?
    /// The pushes belong to a quarantined batch.
    package var isQuarantined: Bool

    package init(lease: Lease, batch: Batch, pending: [PendingPush]? = nil, isQuarantined: Bool = false) {
        self.lease = lease
        self.batch = batch
        self.pending = pending
        self.isQuarantined = isQuarantined
    }

    package var pendingCount: Int { pending?.count ?? batch.count }
}
