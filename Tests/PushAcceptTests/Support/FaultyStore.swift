import MemoryBackend
import PushModel
import PushStore
import Synchronization

/// A `MemoryBackend` that fails and blocks on demand, and lists what was appended.
final class FaultyStore: IdempotentQueue, OutcomeStore {
    /// How an append fails.
    enum AppendFault: Sendable {
        /// Nothing is stored.
        case before(QueueError)
        /// The batches are stored nevertheless.
        case after(QueueError)
    }

    struct State {
        var batches: [Batch] = []
        var appends = 0
        var appendsWithRecords = 0
        var idempotencyRecords: [IdempotencyKey: IdempotencyRecord] = [:]
        var appendFaults: [Int: AppendFault] = [:]
        var blocksAppends = false
        var blocked: [CheckedContinuation<Void, Never>] = []
        var arrival: CheckedContinuation<Void, Never>?
        var isDown = false
        var unreadableLetters: Set<PushID> = []
    }

    /// The store without faults.
    let backend: MemoryBackend
    let state = Mutex(State())
    private let delivers: Bool

    /// - Parameters:
    ///   - delivers: whether each push that is due is delivered as soon as it is appended.
    ///   - store: for an instance that shares it with another one.
    init(delivers: Bool = false, store: MemoryStore = FaultyStore.newStore()) {
        backend = MemoryBackend(store: store)
        self.delivers = delivers
    }

    static func newStore() -> MemoryStore {
        MemoryStore(clock: QueueClock(wall: { TestGateway.now }, monotonic: { .zero }))
    }

    /// All batches ever appended by the gateway, in this order.
    var batches: [Batch] { state.withLock { $0.batches } }
    var pushCount: Int { batches.reduce(0) { $0 + $1.count } }
    var appendCount: Int { state.withLock { $0.appends } }
    var appendsWithRecords: Int { state.withLock { $0.appendsWithRecords } }
    /// The last record of each key.
    var idempotencyRecords: [IdempotencyKey: IdempotencyRecord] { state.withLock { $0.idempotencyRecords } }

    // MARK: Faults

    /// Append `number`, counted from 1 since the store was made, fails.
    func fail(append number: Int, _ fault: AppendFault) { state.withLock { $0.appendFaults[number] = fault } }

    /// Appends wait until `unblockAppends`.
    func blockAppends() { state.withLock { $0.blocksAppends = true } }

    func unblockAppends() {
        let blocked = state.withLock { state in
            state.blocksAppends = false
            defer { state.blocked = [] }
            return state.blocked
        }
        for continuation in blocked { continuation.resume() }
    }

    /// Returns once an append waits.
    func waitForBlockedAppend() async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if !state.blocked.isEmpty { return true }
                state.arrival = continuation
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    /// All calls except appends fail from now on.
    func takeDown() { state.withLock { $0.isDown = true } }

    func checkUp() throws(QueueError) {
        if state.withLock({ $0.isDown }) { throw .unavailable("down", isOutcomeKnown: true) }
    }

    // MARK: DurableQueue

    func begun(_ leases: [Lease]) { backend.begun(leases) }

    func idempotencyUsage() -> IdempotencyUsage { backend.idempotencyUsage() }

    func append(_ batches: [NewBatch]) async throws(QueueError) -> [Lease?] {
        try await append(batches, storing: [:])
    }

    func append(
        _ batches: [NewBatch], storing records: [IdempotencyKey: IdempotencyRecord]
    ) async throws(QueueError) -> [Lease?] {
        await withCheckedContinuation { continuation in
            let (isOpen, arrival) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
                guard state.blocksAppends else { return (true, nil) }
                state.blocked.append(continuation)
                defer { state.arrival = nil }
                return (false, state.arrival)
            }
            arrival?.resume()
            if isOpen { continuation.resume() }
        }
        let fault = state.withLock { state in
            state.appends += 1
            return state.appendFaults[state.appends]
        }
        if case .before(let error) = fault { throw error }
        let leases = try backend.append(batches, storing: records)
        state.withLock { state in
            state.batches += batches.map(\.batch)
            if !records.isEmpty { state.appendsWithRecords += 1 }
            state.idempotencyRecords.merge(records) { $1 }
        }
        if delivers { try deliver(batches.map(\.batch), leases) }
        if case .after(let error) = fault { throw error }
        return leases
    }

    /// Settles claimed batches, and all others that are due.
    private func deliver(_ batches: [Batch], _ leases: [Lease?]) throws(QueueError) {
        var held = zip(batches, leases).compactMap { batch, lease in lease.map { (lease: $0, count: batch.count) } }
        for claimed in try backend.claim(ClaimRequest(batchesMax: 1000, lease: .seconds(60))) {
            held.append((claimed.lease, claimed.batch.count))
        }
        let settlements = held.map { lease, count in
            let outcomes = (0..<count).map { index in
                Outcome(index: UInt16(index), verdict: .delivered, code: .none, status: 200, attempts: 1)
            }
            return Settlement(lease: lease, outcomes: outcomes, at: TestGateway.now)
        }
        _ = try backend.settle(settlements)
    }

    func idempotencyRecord(for key: IdempotencyKey, now: WallTime) async throws(QueueError) -> IdempotencyRecord? {
        try checkUp()
        return try backend.idempotencyRecord(for: key, now: now)
    }

    func claim(_ request: ClaimRequest) async throws(QueueError) -> [ClaimedBatch] {
        try checkUp()
        return try backend.claim(request)
    }

    func renew(_ leases: [Lease], for duration: Duration) async throws(QueueError) -> [Lease] {
        try checkUp()
        return try backend.renew(leases, for: duration)
    }

    func settle(_ settlements: [Settlement]) async throws(QueueError) -> [Lease] {
        try checkUp()
        return try backend.settle(settlements)
    }

    func depth() async throws(QueueError) -> QueueDepth {
        try checkUp()
        return try backend.depth()
    }

    // MARK: OutcomeStore

    func find(_ ids: [PushID]) async throws(StoreError) -> [PushStatus?] {
        if state.withLock({ $0.isDown }) { throw .unavailable("down") }
        return try backend.find(ids)
    }
}
