import PushModel
package import PushStore

/// Settlements on their way to the store: what waits, and what is being written. Pure; `OutcomeRecorder` writes.
///
/// News of one batch that come before a write go out together. One write is under way at a time; one that fails is made
/// again with the same news, so that nothing is ever dropped.
package struct OutcomeBuffer: Sendable {
    /// In the order in which the first news of each batch came.
    private var pending: [Settlement] = []
    /// Where in `pending` a batch is.
    private var places: [Lease: Int] = [:]
    private var writing: [Settlement] = []
    private var isFinishing = false

    package init() {}

    /// Takes news of one batch.
    package mutating func record(_ settlement: Settlement) {
        if let place = places[settlement.lease] {
            pending[place].merge(settlement)
        } else {
            places[settlement.lease] = pending.count
            pending.append(settlement)
        }
    }

    /// What is to be written now, until `wrote` says that it was: what failed before, else everything that waits. Empty
    /// when there is nothing.
    package mutating func beginWrite() -> [Settlement] {
        if writing.isEmpty {
            swap(&writing, &pending)
            places.removeAll(keepingCapacity: true)
        }
        return writing
    }

    /// The store has taken what `beginWrite` gave, but for the batches that it calls stale.
    ///
    /// - Returns: what is durable now: `announced`, the batches some of whose pushes are about to be sent, and `ended`, the
    ///   batches that are out of our hands.
    package mutating func wrote(stale: [Lease]) -> (announced: [Lease], ended: [Lease]) {
        let refused = Set(stale)
        defer { writing.removeAll() }
        let taken = writing.filter { !refused.contains($0.lease) }
        return (taken.filter { !$0.sends.isEmpty }.map(\.lease), taken.filter(\.release.isEnd).map(\.lease))
    }

    /// Nothing more comes.
    package mutating func finish() { isFinishing = true }

    /// Whether what comes now should be written without waiting for more.
    package var isShutdownForced: Bool { isFinishing }
    /// Nothing waits and nothing is being written.
    package var isIdle: Bool { pending.isEmpty && writing.isEmpty }
    /// Everything is durable and nothing more comes.
    package var isDone: Bool { isFinishing && isIdle }
}

extension Settlement {
    /// Adds later news of the same batch.
    package mutating func merge(_ later: Settlement) {
        precondition(lease == later.lease, "settlements of different batches")
        outcomes.append(contentsOf: later.outcomes)
        retries.append(contentsOf: later.retries)
        sends.append(contentsOf: later.sends)
        if later.release.isEnd { release = later.release }
        at = max(at, later.at)
    }
}
