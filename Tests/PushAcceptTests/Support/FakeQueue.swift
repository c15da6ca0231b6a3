import PushModel
import PushStore
import Synchronization

/// A queue in memory that fails, hangs and counts on demand.
final class FakeQueue: IdempotentQueue, OutcomeStore {
    /// What the next append does in place of its duty.
    enum Fault: Sendable {
        case before(QueueError)
        /// It is stored, and then fails all the same.
        case after(QueueError)
    }

    struct State {
        var batches: [Batch] = []
        var appends = 0
        var faults: [Int: Fault] = [:]
        var isClosed = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var arrival: CheckedContinuation<Void, Never>?
        var statuses: [PushID: PushStatus] = [:]
        var isStoreDown = false
        var answers: [IdempotencyKey: IdempotencyRecord] = [:]
        var rememberedAppends = 0
        var paused: [AppID: WallTime] = [:]
        /// What cancelling an id answers, and asking for whom.
        var cancelResults: [PushID: CancelResult] = [:]
        var cancelCounts: [String: CancelCount] = [:]
        var letters: [PushID: (DeadLetter, DeadPush?)] = [:]
    }

    let state = Mutex(State())
    private let claims: Bool
    private let settles: Bool

    /// - Parameters:
    ///   - claims: whether a claim asked for is given.
    ///   - settles: whether every push counts as delivered as soon as it is appended.
    init(claims: Bool = true, settles: Bool = false) {
        self.claims = claims
        self.settles = settles
    }

    var batches: [Batch] { state.withLock { $0.batches } }
    var pushCount: Int { batches.reduce(0) { $0 + $1.count } }
    var appendCount: Int { state.withLock { $0.appends } }

    /// Append number `number`, counted from 1 over the queue's life, fails so.
    func fail(append number: Int, _ fault: Fault) { state.withLock { $0.faults[number] = fault } }

    /// Appends wait from now on until `open()`.
    func close() { state.withLock { $0.isClosed = true } }

    func open() {
        let waiting = state.withLock { state in
            state.isClosed = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns once an append waits.
    func waitForArrival() async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if !state.waiting.isEmpty { return true }
                state.arrival = continuation
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    func set(_ status: PushStatus) { state.withLock { $0.statuses[status.id] = status } }
    func takeStoreDown() { state.withLock { $0.isStoreDown = true } }

    // MARK: DurableQueue

    func append(_ batches: [NewBatch]) async throws(QueueError) -> [Lease?] {
        try await append(batches, storing: [:])
    }

    func append(
        _ batches: [NewBatch], storing answers: [IdempotencyKey: IdempotencyRecord]
    ) async throws(QueueError) -> [Lease?] {
        await withCheckedContinuation { continuation in
            let (isOpen, arrival) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
                guard state.isClosed else { return (true, nil) }
                state.waiting.append(continuation)
                defer { state.arrival = nil }
                return (false, state.arrival)
            }
            arrival?.resume()
            if isOpen { continuation.resume() }
        }
        let fault = state.withLock { state in
            state.appends += 1
            return state.faults[state.appends]
        }
        if case .before(let error) = fault { throw error }
        state.withLock { state in
            state.batches += batches.map(\.batch)
            if !answers.isEmpty { state.rememberedAppends += 1 }
            state.answers.merge(answers) { _, _ in preconditionFailure("a key is remembered once") }
        }
        if settles { for batch in batches { settle(batch.batch) } }
        if case .after(let error) = fault { throw error }
        return batches.map { claims && $0.claim != nil ? Lease(batch: $0.batch.id, epoch: 1) : nil }
    }

    private func settle(_ batch: Batch) {
        for index in 0..<batch.count {
            set(
                PushStatus(
                    id: batch.id.push(index), app: batch.app, lane: batch.lane, state: .settled(.delivered),
                    status: 200,
                    attempts: 1, acceptedAt: batch.acceptedAt, updatedAt: batch.acceptedAt
                )
            )
        }
    }

    func answer(to key: IdempotencyKey, now: WallTime) async throws(QueueError) -> IdempotencyRecord? {
        let (answer, isDown) = state.withLock { ($0.answers[key], $0.isStoreDown) }
        if isDown { throw .unavailable("down", isOutcomeKnown: true) }
        return answer.flatMap { $0.at + IdempotencyKey.lifetime > now ? $0 : nil }
    }

    func claim(_ request: ClaimRequest) async throws(QueueError) -> [ClaimedBatch] { [] }
    func renew(_ leases: [Lease], for duration: Duration) async throws(QueueError) -> [Lease] { [] }
    func settle(_ settlements: [Settlement]) async throws(QueueError) -> [Lease] { [] }

    /// All batches of an app and a lane in one row; none when they are settled at once.
    func depth() async throws(QueueError) -> QueueDepth {
        if state.withLock({ $0.isStoreDown }) { throw .unavailable("down", isOutcomeKnown: true) }
        if settles { return QueueDepth() }
        let places = Dictionary(grouping: batches) { AppLane(app: $0.app, lane: $0.lane) }
        return QueueDepth(
            rows: places.map { place, batches in
                QueueDepth.Row(
                    app: place.app, lane: place.lane, batches: batches.count,
                    pushes: batches.reduce(0) { $0 + $1.count }
                )
            }
        )
    }

    // MARK: OutcomeStore

    func find(_ ids: [PushID]) async throws(StoreError) -> [PushStatus?] {
        let found: [PushStatus?]? = state.withLock { state in
            state.isStoreDown ? nil : ids.map { state.statuses[$0] }
        }
        guard let found else { throw .unavailable("down") }
        return found
    }
}

/// Remembers what it is told.
final class FakeHandoff: DirectHandoff {
    struct Log: Sendable, Equatable {
        var reserved = 0
        var cancelled = 0
        var handedOver = 0
        var waits = 0
    }

    private let state = Mutex(Log())
    private let hasCapacity: Bool

    init(hasCapacity: Bool = true) {
        self.hasCapacity = hasCapacity
    }

    var log: Log { state.withLock { $0 } }

    func reserve(pushes: Int, for app: AppID, lane: Lane) -> HandoffReservation? {
        guard hasCapacity else { return nil }
        state.withLock { $0.reserved += pushes }
        return HandoffReservation(app: app, lane: lane, pushes: pushes, since: .zero)
    }
    func cancel(_ capacity: HandoffReservation) { state.withLock { $0.cancelled += capacity.pushes } }
    func deliver(_ batch: ClaimedBatch, to capacity: HandoffReservation) {
        state.withLock { $0.handedOver += batch.batch.count }
    }
    func notifyBacklog(of app: AppID, lane: Lane) { state.withLock { $0.waits += 1 } }
}
