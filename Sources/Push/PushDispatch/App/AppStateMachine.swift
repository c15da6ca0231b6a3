import APNSWire
import DequeModule
import PushModel
import PushStore
import Synchronization

/// An app with its lock.
final class AppDispatch: Sendable {
    let app: AppEnvironment
    let number: Int
    let state: Mutex<AppStateMachine>

    init(_ state: AppStateMachine) {
        app = state.app
        number = state.number
        self.state = Mutex(state)
    }
}

/// Decides what is sent, held and returned for one app, and what its answers mean. Pure.
///
/// `DispatchStateMachine` describes the life of a batch. The files:
///
/// - this one: batches enter and leave memory, leases
/// - `+Sending`: which pushes of which batch are sent now
/// - `+Holding`: pushes that are due later; pushes that are settled or returned unsent
/// - `+Answers`: answers, and the sends of at-most-once pushes
/// - `+Permit`: everything that asks or informs breakers, credential, rate and delays
struct AppStateMachine: Sendable {
    /// A send, until its last answer.
    struct Part: Sendable {
        /// The batch.
        var key: UInt64
        var unanswered: Int
    }

    /// A batch whose last settlement the store has not recorded yet; it occupies capacity.
    private struct Settling: Sendable {
        var key: UInt64
        var lane: Lane
        var occupied: Int
        /// Whether an earlier settlement may have ended the lease.
        var mayHaveEnded: Bool
    }

    let app: AppEnvironment
    let number: Int
    /// Whether the app has an APNs client.
    let hasClient: Bool
    let configuration: DispatchConfiguration
    let shared: SharedDispatch
    var generator: SeededGenerator

    // Batches.
    var works: [UInt64: BatchWork] = [:]
    private var keys: [Lease: UInt64] = [:]
    private var nextKey: UInt64 = 1
    private var settling: [Lease: Settling] = [:]
    /// Batches with ready pushes, by lane, in the order in which they are sent.
    private var queues: [Deque<UInt64>] = Array(repeating: [], count: Lane.allCases.count)
    /// Quarantined batches.
    private(set) var trial: Set<UInt64> = []
    /// Ready pushes.
    private(set) var ready = LaneCounts()
    private(set) var heldPushes = 0
    /// When the first held push of a batch is due, monotonic time.
    private(set) var wakes: [UInt64: Duration] = [:]
    /// At or before the first of them.
    private var nextWake: Duration?
    /// When expired pushes were last looked for.
    var expiredAt: Duration?

    // Sends.
    var parts: [UInt64: Part] = [:]
    private var nextTicket: UInt64
    var inFlight = LaneCounts()
    /// Of these, at-most-once pushes.
    var inFlightAtMostOnce = 0
    /// Sends that wait until the store has recorded them, at most one of a batch.
    var announcing: [Lease: DispatchActions.Send] = [:]

    // Permit.
    var isPaused: Bool
    var credential: CredentialCheck
    var refusals = RefusalWindow()
    var unprocessed = PushCounts()
    var breaker: CircuitBreaker
    var budget: RetryBudget
    /// When the app last had retries to send.
    var retriedAt: Duration?
    var rate: SendRate?
    var waitsForRate = false
    var stallDetector = DeliveryStallDetector()
    /// Whether APNs has accepted a push of the app since the start.
    var hasDelivered = false
    /// When APNs last gave an answer that settles a push.
    var lastFinalAnswerAt: Duration?
    /// What the shared part knows of the app.
    var demand = SharedState.ClaimDemand()

    // Throughput, for estimates.
    /// Since when batches wait in the store.
    var backlogSince: Duration?
    /// Answers since the last tick.
    var answersSinceTick = 0
    /// A moving average.
    var answersPerSecond = 0.0
    var lastTick: Duration?

    init(
        _ app: AppEnvironment, number: Int, hasClient: Bool, isPaused: Bool, settings: AppSettings,
        configuration: DispatchConfiguration, shared: SharedDispatch, seed: UInt64
    ) {
        self.app = app
        self.number = number
        self.hasClient = hasClient
        self.isPaused = isPaused
        self.configuration = configuration
        self.shared = shared
        generator = SeededGenerator(seed: seed)
        // The tickets of different apps never coincide: one client may serve several apps.
        nextTicket = UInt64(number) << 40
        credential = CredentialCheck(settings: configuration.credential)
        breaker = CircuitBreaker(settings: configuration.breaker, scope: .app)
        budget = RetryBudget(settings: configuration.retryBudget)
        rate = settings.pushesPerSecond.map { SendRate(perSecond: Double($0)) }
        publishDemand(now: .zero)
    }

    // MARK: Batches

    /// Batches were claimed or handed over. Their capacity is acquired.
    mutating func received(
        _ batches: [ClaimedBatch], leaseUntil: Duration, now: Moment, _ actions: inout DispatchActions
    ) {
        for batch in batches {
            let key = nextKey
            nextKey += 1
            let work = BatchWork(
                key: key, claimed: batch, leaseUntil: leaseUntil, jitter: generator.nextUnit()
            )
            works[key] = work
            keys[batch.lease] = key
            if batch.isQuarantined { trial.insert(key) }
            let (due, held) = work.dividedByDueTime(now: now)
            setReady(due, of: key)
            if !held.isEmpty { hold(held, of: key, now: now) }
        }
        sendNext(now: now, &actions)
    }

    /// Replaces the ready pushes of a batch; nil: all of its pushes. A batch without ready pushes leaves its queue.
    ///
    /// - Parameter isFirst: whether a batch that enters its queue goes before the others.
    mutating func setReady(_ ready: [PendingPush]?, of key: UInt64, isFirst: Bool = false) {
        let before = works[key]!.readyCount
        works[key]!.ready = ready
        let work = works[key]!
        self.ready[work.lane] += work.readyCount - before
        if before == 0, work.readyCount > 0, !work.isAnnouncing { enqueue(work, isFirst: isFirst) }
        if before > 0, work.readyCount == 0 { dequeue(work) }
    }

    /// Replaces the held pushes of a batch. The caller has acquired their share of the capacity.
    mutating func setHeld(_ held: [BatchWork.HeldPush], of key: UInt64) {
        let change = held.count - works[key]!.held.count
        if change < 0 { shared.withLock { $0.endHold(-change, of: number) } }
        heldPushes += change
        works[key]!.held = held
        wakes[key] = held.lazy.map(\.wake).min()
        if let wake = wakes[key] { nextWake = min(wake, nextWake ?? wake) }
    }

    /// The batches of which held pushes are due, in the order of their arrival.
    mutating func dueBatches(now: Duration) -> [UInt64] {
        guard let nextWake, nextWake <= now else { return [] }
        self.nextWake = wakes.values.lazy.filter { $0 > now }.min()
        return wakes.filter { $0.value <= now }.keys.sorted()
    }

    /// Adds a batch to the queue of its lane, after the batches that were due before it.
    mutating func enqueue(_ work: BatchWork, isFirst: Bool) {
        let lane = Int(work.lane.rawValue)
        if isFirst { return queues[lane].prepend(work.key) }
        // From the end: a batch is due before others only if it failed in an outage.
        let position = queues[lane].lastIndex { works[$0].map { $0.due <= work.due } ?? true }
        queues[lane].insert(work.key, at: position.map { $0 + 1 } ?? 0)
    }

    /// Removes a batch from the queue of its lane, if it is there.
    mutating func dequeue(_ work: BatchWork) {
        let lane = Int(work.lane.rawValue)
        if queues[lane].first == work.key {
            queues[lane].removeFirst()
        } else {
            queues[lane].removeAll { $0 == work.key }
        }
    }

    var readyPushes: Int { ready.total }

    /// The batch to send next, of the most urgent lane.
    var first: BatchWork? { queues.lazy.compactMap(\.first).first.flatMap { works[$0] } }

    /// The first batches with ready pushes, in the order in which they are sent.
    var firstBatches: some Sequence<BatchWork> {
        queues.lazy.flatMap { $0 }.prefix(50).compactMap { works[$0] }
    }

    /// All batches with ready pushes, apart from those that are being announced.
    var queuedBatches: [UInt64] { queues.flatMap { $0 } }

    /// A ticket for one send.
    mutating func newTicket() -> UInt64 {
        nextTicket += 1
        return nextTicket
    }

    /// Leaves `count` pushes of a batch to the store until the lease ends.
    mutating func drop(_ count: Int, of key: UInt64) {
        works[key]!.occupied -= count
        let lane = works[key]!.lane
        shared.withLock { $0.releaseCapacity(count, of: number, lane) }
    }

    /// Ends the work on a batch if it has no pushes left. It occupies capacity until `settled`.
    ///
    /// - Parameter mayHaveEnded: whether an earlier settlement may have ended the lease.
    /// - Returns: what the next settlement does with the lease: `.release`, or `.keep` if pushes are left.
    mutating func finish(_ key: UInt64, mayHaveEnded: Bool = false) -> Settlement.Release {
        guard let work = works[key], work.isFinished else { return .keep }
        forget(work)
        settling[work.claimed.lease] = Settling(
            key: key, lane: work.lane, occupied: work.occupied, mayHaveEnded: mayHaveEnded
        )
        return .release
    }

    private mutating func forget(_ work: BatchWork) {
        works[work.key] = nil
        keys[work.claimed.lease] = nil
        wakes[work.key] = nil
        trial.remove(work.key)
    }

    /// The batch of a lease; nil if it is not in memory, or is being settled.
    func work(of lease: Lease) -> BatchWork? { keys[lease].flatMap { works[$0] } }

    /// The batch of a send; nil if it has left memory, so that answers for it are late.
    func work(of ticket: UInt64) -> BatchWork? { parts[ticket].flatMap { works[$0.key] } }

    // MARK: Leases

    /// The leases of all batches, in the order of their arrival. Includes settling ones: their outcomes need the lease
    /// until they are durable.
    var leases: [Lease] {
        (keys.map { ($0.value, $0.key) } + settling.map { ($0.value.key, $0.key) })
            .sorted { $0.0 < $1.0 }.map { $0.1 }
    }

    /// The store has renewed `leases`, except the lost ones.
    mutating func renewed(
        _ leases: [Lease], lost: Set<Lease>, until: Duration, _ actions: inout DispatchActions
    ) {
        var unfinished = 0
        for lease in leases {
            if lost.contains(lease) {
                if remove(lease) { unfinished += 1 }
            } else if let key = keys[lease] {
                works[key]!.leaseUntil = until
            }
        }
        // The others were settled while the store renewed, so their leases had already ended.
        if unfinished > 0 { actions.events.append(.leasesLost(batches: unfinished)) }
    }

    /// The store refused settlements under these leases: another instance owns the batches.
    mutating func refused(_ leases: [Lease], _ actions: inout DispatchActions) {
        let lost = leases.count { settling[$0]?.mayHaveEnded != true }
        for lease in leases { _ = remove(lease) }
        if lost > 0 { actions.events.append(.leasesLost(batches: lost)) }
        actions.wantsClaim = true
    }

    /// Removes a batch whose lease is lost. Later answers for it are ignored.
    ///
    /// - Returns: whether the batch had unsettled pushes.
    private mutating func remove(_ lease: Lease) -> Bool {
        if let send = announcing.removeValue(forKey: lease) { parts[send.ticket] = nil }
        settled([lease])
        guard let key = keys[lease], let work = works[key] else { return false }
        inFlight[work.lane] -= work.inFlight
        if work.isAtMostOnce { inFlightAtMostOnce -= work.inFlight }
        setReady([], of: key)
        setHeld([], of: key)
        forget(work)
        shared.withLock { $0.removed(lease, of: number, work.lane, occupied: work.occupied) }
        return true
    }

    /// The store has recorded the last settlement of these batches: their capacity is free.
    mutating func settled(_ leases: [Lease]) {
        let ended = leases.compactMap { lease in settling.removeValue(forKey: lease).map { (lease, $0) } }
        guard !ended.isEmpty else { return }
        shared.withLock { shared in
            for (lease, batch) in ended {
                shared.removed(lease, of: number, batch.lane, occupied: batch.occupied)
            }
        }
    }

    // MARK: Drain

    /// Returns all unsent batches to the store unchanged. The shared part permits no further sends.
    mutating func drain(now: Moment, _ actions: inout DispatchActions) {
        revertAnnouncing(now: now, &actions)
        returnUnsent(now: now, &actions)
    }
}
