package import PushModel
package import PushStore
import Synchronization

/// One gateway instance's view of a `MemoryStore`.
///
/// No method suspends, so a test in virtual time can call them without `await`.
package final class MemoryBackend: DurableQueue, MessageSearch, OutcomeStore, Sendable {
    package let store: MemoryStore
    /// Names this instance as the holder of its leases.
    package let owner: Int
    private let clock: QueueClock
    private let outcomes = Mutex(OutcomeCounts())

    /// Opens another instance on `store`.
    ///
    /// - Parameter clock: the instance's own clock, which decides whether a push is due; nil: the store's clock. The store's
    ///   clock measures leases in either case.
    package init(store: MemoryStore = MemoryStore(), clock: QueueClock? = nil) {
        self.store = store
        self.clock = clock ?? store.clock
        owner = store.state.withLock { $0.addOwner() }
    }

    /// Runs one atomic operation.
    ///
    /// - Throws: `closed` after `close` or `crash`, or the error of `body`, which throws before it changes anything.
    func perform<Value: Sendable>(
        _ body: (inout MemoryState, Moment) throws(QueueError) -> Value
    ) throws(QueueError) -> Value {
        let now = Moment(wall: clock.wall(), monotonic: store.clock.monotonic())
        return try store.state.withLock { state throws(QueueError) in
            guard state.owners.contains(owner) else { throw .closed }
            let value = try body(&state, now)
            let settled = state.takeSettled()
            if !settled.isEmpty {
                outcomes.withLock { tally in
                    for run in settled { tally.add(run.pushes, to: run.key) }
                }
            }
            return value
        }
    }

    var tally: OutcomeCounts { outcomes.withLock { $0 } }

    // MARK: DurableQueue

    package func append(_ batches: [NewBatch]) throws(QueueError) -> [Lease?] {
        try append(batches, storing: [:])
    }

    package func claim(_ request: ClaimRequest) throws(QueueError) -> [ClaimedBatch] {
        guard request.batchesMax > 0 else { return [] }
        let bytesMax = store.limits.claimBytesMax
        return try perform { state, now in
            state.claim(request, by: owner, bytesMax: bytesMax, now: now)
        }
    }

    package func begun(_ leases: [Lease]) {
        store.state.withLock { state in
            for lease in leases { state.change(lease.batch) { _, entry in entry.begin(lease) } }
        }
    }

    package func renew(_ leases: [Lease], for duration: Duration) throws(QueueError) -> [Lease] {
        try perform { state, now in
            state.renew(leases, by: owner, until: now.monotonic + duration)
        }
    }

    package func settle(_ settlements: [Settlement]) throws(QueueError) -> [Lease] {
        try perform { state, _ in state.settle(settlements) }
    }

    package func depth() throws(QueueError) -> QueueDepth {
        try perform { state, now in state.depth(at: now.wall) }
    }

    // MARK: OutcomeStore

    package func find(_ ids: [PushID]) throws(StoreError) -> [PushStatus?] {
        do throws(QueueError) {
            return try perform { state, now in state.find(ids, at: now.wall) }
        } catch {
            throw .unavailable("\(error)")
        }
    }

    // MARK: MessageSearch

    package func search(
        _ query: MessageQuery, after: PushID?, limits: SearchLimits
    ) throws(StoreError) -> MessagePage {
        do throws(QueueError) {
            return try perform { state, now in
                state.search(query, after: after, limits: limits, at: now.wall) {
                    store.clock.monotonic() - now.monotonic >= limits.time
                }
            }
        } catch {
            throw .unavailable("\(error)")
        }
    }

    // MARK: End of the instance

    /// Gives all leases of this instance back. Later calls throw `closed`. Closing twice is harmless.
    package func close() {
        store.state.withLock { $0.removeOwner(owner, isCrash: false) }
    }

    /// Ends the instance as `kill -9` does, except that its leases end now and not when their time has run out. Later
    /// calls throw `closed`.
    package func crash() {
        store.state.withLock { $0.removeOwner(owner, isCrash: true) }
    }
}
