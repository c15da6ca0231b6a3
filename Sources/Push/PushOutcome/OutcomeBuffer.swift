import PushModel
package import PushStore

/// Settlements that wait for a write to the store, and those of the current write. Pure; `OutcomeRecorder` writes.
///
///     record ──► pending, merged by batch ── beginWrite ──► writing ── confirmWrite ──► durable
///                                                             ▲  │
///                                                             └──┘ beginWrite after a failure: the same settlements
///
/// There is one write at a time. A failed write is repeated with the same settlements, so none is dropped.
package struct OutcomeBuffer: Sendable {
    /// In the order of the first settlement of each batch.
    private var pending: [Settlement] = []
    /// Index in `pending` by lease.
    private var indexes: [Lease: Int] = [:]
    private var writing: [Settlement] = []
    /// The number of the last write.
    private var number: UInt64 = 0
    /// Whether `finish` was called, so that further settlements are written without waiting for others.
    package private(set) var isFinishing = false

    package init() {}

    /// Adds a settlement; it is merged with a pending one of the same batch.
    package mutating func record(_ settlement: Settlement) {
        if let index = indexes[settlement.lease] {
            pending[index].merge(settlement)
        } else {
            indexes[settlement.lease] = pending.count
            pending.append(settlement)
        }
    }

    /// The settlements to write now: those of a write that was not confirmed, otherwise all pending ones.
    package mutating func beginWrite() -> [Settlement] {
        if writing.isEmpty {
            swap(&writing, &pending)
            indexes.removeAll(keepingCapacity: true)
            number += 1
            for index in writing.indices { writing[index].number = number }
        }
        return writing
    }

    /// The store has recorded the settlements of `beginWrite`, except those under `stale` leases.
    ///
    /// - Returns: the batches of which something is durable now: `announced` ones, with pushes about to be sent, and
    ///   `ended` ones, whose lease has ended.
    package mutating func confirmWrite(stale: [Lease]) -> (announced: [Lease], ended: [Lease]) {
        let refused = Set(stale)
        defer { writing.removeAll() }
        let recorded = writing.filter { !refused.contains($0.lease) }
        return (recorded.filter { !$0.sends.isEmpty }.map(\.lease), recorded.filter(\.release.endsLease).map(\.lease))
    }

    /// The caller records no more settlements.
    package mutating func finish() { isFinishing = true }

    /// Whether no settlement is pending or being written.
    package var isIdle: Bool { pending.isEmpty && writing.isEmpty }
    /// Whether everything is durable after `finish`.
    package var isDone: Bool { isFinishing && isIdle }
}
