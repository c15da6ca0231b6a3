import APNSWire

/// The times from which the pushes of a batch may no longer be sent.
package struct Deadlines {
    private let batch: Batch
    private let policy: DeliveryPolicy

    package init(of batch: Batch, policy: DeliveryPolicy) {
        self.batch = batch
        self.policy = policy
    }

    package subscript(index: UInt16) -> WallTime {
        policy.deadline(
            expiration: batch.notifications.entries[Int(index)].expiration, due: batch.due(of: index), lane: batch.lane)
    }

    /// The first of them.
    package var earliest: WallTime {
        (0..<UInt16(batch.count)).reduce(.distantFuture) { min($0, self[$1]) }
    }
}
