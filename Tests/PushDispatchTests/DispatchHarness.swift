import APNSWire
import MemoryBackend
import PushDispatch
import PushModel
import PushStore
import Synchronization

/// The clocks of a test in virtual time.
final class VirtualClock: Sendable {
    private let instant = Mutex(Moment(wall: WallTime(milliseconds: 1_000_000), monotonic: .seconds(1_000)))

    var now: Moment {
        get { instant.withLock { $0 } }
        set { instant.withLock { $0 = newValue } }
    }
    var queueClock: QueueClock { QueueClock(wall: { self.now.wall }, monotonic: { self.now.monotonic }) }
}

/// A state machine, its store, and an APNs with answers set by the test: in one thread and in virtual time.
final class DispatchHarness {
    let stateMachine: DispatchStateMachine
    private let store: MemoryBackend
    /// All batches ever appended, in this order.
    private(set) var batches: [Batch]
    private let clock: VirtualClock
    private let lease: Duration
    var now: Moment {
        get { clock.now }
        set { clock.now = newValue }
    }
    /// Handed to a client and not answered.
    var inFlight: [DispatchActions.Send] = []
    var events: [DispatchActions.Event] = []
    /// All pushes ever sent, by app.
    var sent: [AppID: Int] = [:]
    /// The answer of APNs to each push of a send; nil for none.
    var answer: (DispatchActions.Send) -> APNSAnswer? = { _ in .accepted }
    /// The same for single pushes; nil: `answer` decides.
    var answerPush: ((DispatchActions.Send, UInt16) -> APNSAnswer?)?
    /// The next token of `addNew`.
    private var nextToken: UInt64 = 1_000_000
    /// Sends and settlements, to compare runs.
    var trace: [String] = []
    var settlements: [Settlement] = []
    /// Whether `announced` is not reported.
    var holdsAnnouncements = false

    /// - Parameter former: the harness whose store this one continues, as the next process does.
    init(
        _ configuration: DispatchConfiguration = DispatchConfiguration(), apps: [String] = ["a"], seed: UInt64 = 1,
        successorOf former: DispatchHarness? = nil
    ) {
        stateMachine = DispatchStateMachine(
            configuration: configuration, apps: apps.map { AppEnvironment(AppID($0)) }, seed: seed)
        let clock = VirtualClock()
        let shared = former?.store.store ?? MemoryStore(clock: clock.queueClock)
        store = MemoryBackend(store: shared, clock: clock.queueClock)
        batches = former?.batches ?? []
        self.clock = clock
        lease = configuration.lease
    }

    func apply<Result>(_ event: (DispatchStateMachine, Moment, inout DispatchActions) -> Result) -> Result {
        var actions = DispatchActions()
        let result = event(stateMachine, now, &actions)
        for write in actions.settlements { settle(write.settlement) }
        for send in actions.sends {
            trace.append("\(now.monotonic) send \(send.app) \(send.count)")
            sent[send.app.app, default: 0] += send.count
            inFlight.append(send)
        }
        events += actions.events
        return result
    }

    func settle(_ settlement: Settlement) {
        settlements.append(settlement)
        trace.append(
            "\(now.monotonic) settle \(settlement.outcomes.count) \(settlement.retries.map(\.due.milliseconds))"
        )
        let isGood = try! store.settle([settlement]).isEmpty
        if isGood, !settlement.sends.isEmpty, !holdsAnnouncements {
            apply { $0.announced([settlement.lease], now: $1, &$2) }
        }
        guard !isGood || settlement.release.endsLease else { return }
        apply {
            if isGood {
                $0.settled([settlement.lease], now: $1, &$2)
            } else {
                $0.refused([settlement.lease], now: $1, &$2)
            }
        }
    }

    /// Ends the process and its leases.
    func crash() { store.crash() }

    func append(_ batch: Batch) {
        _ = try! store.append([NewBatch(batch: batch)])
        batches.append(batch)
    }

    func claim(by plan: ClaimPlan) -> [ClaimedBatch] { try! store.claim(plan.request(lease: lease)) }

    /// Claims until the store has no more batches.
    func claim() {
        while let plan = stateMachine.claimPlan(now: now) {
            let batches = claim(by: plan)
            let mayHaveMore = apply { $0.claimed(batches, plan: plan, requestedAt: $1.monotonic, now: $1, &$2) }
            guard mayHaveMore else { return }
        }
    }

    /// Claims one batch as a quarantined one.
    func claimQuarantined() {
        guard var plan = stateMachine.claimPlan(now: now), plan.quarantinedMax > 0 else { return }
        plan.batchesMax = 1
        let batches = claim(by: plan).map { batch in
            var batch = batch
            batch.isQuarantined = true
            return batch
        }
        _ = apply { $0.claimed(batches, plan: plan, requestedAt: $1.monotonic, now: $1, &$2) }
    }

    /// Reports the answers for all sends in flight, as far as `answer` has one.
    func answerAll(latency: UInt32 = 10) {
        let sends = inFlight
        inFlight = []
        for send in sends {
            guard let answer = answer(send) else {
                inFlight.append(send)
                continue
            }
            var answers = APNSAnswers(ticket: send.ticket)
            for index in send.indexes ?? Array(0..<UInt16(send.batch.count)) {
                answers.append(answerPush?(send, index) ?? answer, of: index, latency: latency)
            }
            answers.isLast = true
            apply { $0.answered(answers, of: send.app, now: $1, &$2) }
        }
    }

    /// Advances time in steps of 250 ms.
    func run(_ duration: Duration, latency: UInt32 = 10, claims: Bool = true) {
        let end = now.monotonic + duration
        while now.monotonic < end {
            now = Moment(wall: now.wall + .milliseconds(250), monotonic: now.monotonic + .milliseconds(250))
            apply { $0.tick(now: $1, &$2) }
            _ = try! store.expire(batchesMax: 1_000)
            if claims { claim() }
            answerAll(latency: latency)
            if claims { claim() }
            let renewal = stateMachine.renewal()
            let lost = try! store.renew(renewal.leases, for: lease)
            apply { $0.renewed(renewal, lost: lost, requestedAt: $1.monotonic, now: $1, &$2) }
        }
    }

    func add(_ batches: Int, of count: Int, app: String = "a", lane: Lane = .normal) {
        for _ in 0..<batches { append(claimed(count, app: app, lane: lane).batch) }
    }

    /// Appends a batch of pushes that are accepted now, to tokens that no other push has.
    @discardableResult
    func addNew(_ count: Int, app: String = "a", expiration: Int64 = -1, topic: String = "t") -> BatchID {
        let batch = claimed(
            count, app: app, expiration: expiration, firstToken: nextToken, topic: topic, acceptedAt: now.wall
        ).batch
        nextToken += UInt64(count)
        append(batch)
        return batch.id
    }

    /// Appends new pushes at a constant rate, every 250 ms.
    func flow(_ perSecond: Int, app: String = "a", for duration: Duration) {
        let end = now.monotonic + duration
        var owed = 0.0
        while now.monotonic < end {
            owed += Double(perSecond) / 4
            if owed >= 1 { addNew(Int(owed), app: app) }
            owed -= owed.rounded(.down)
            run(.milliseconds(250))
        }
    }

    /// The status of one push.
    func status(_ batch: BatchID, _ index: Int = 0) -> PushStatus { try! store.find([batch.push(index)])[0]! }

    /// Claims a batch by the write that appends it, and hands it over with the due times of a claim: its pushes are due
    /// in `dueIn`, by index.
    func handOver(_ batch: Batch, dueIn: [Duration], attempts: UInt16 = 0, code: ErrorCode = .none) {
        let lease = try! store.append([NewBatch(batch: batch, claim: self.lease)])[0]!
        batches.append(batch)
        let pending = dueIn.enumerated().map { index, delay in
            PendingPush(index: UInt16(index), attempts: attempts, due: now.wall + delay, code: code)
        }
        let claimed = ClaimedBatch(lease: lease, batch: batch, pending: pending)
        let reservation = stateMachine.reserve(
            pushes: batch.count, for: batch.appEnvironment, lane: batch.lane, now: now)!
        apply { $0.handoffDelivered(claimed, to: reservation, now: $1, &$2) }
    }

    /// Cancels unsent pushes as the dispatcher does, and returns the settlements.
    func cancel(_ selection: DispatchStateMachine.CancelSelection) -> [Settlement] {
        let settlements = stateMachine.cancel(selection, now: now)
        for settlement in settlements { settle(settlement) }
        apply { $0.cancelled(settlements.map(\.lease), now: $1, &$2) }
        return settlements
    }

    func delay(_ app: String = "a") -> DeliveryDelay? {
        stateMachine.delay(of: AppEnvironment(AppID(app)), now: now)
    }
    func state(_ app: String = "a") -> CircuitBreaker.State { stateMachine.breakerState(of: AppID(app)) }
    func reserve(_ app: String, _ lane: Lane = .normal) -> Bool {
        let app = AppEnvironment(AppID(app))
        guard let reservation = stateMachine.reserve(pushes: 1, for: app, lane: lane, now: now) else { return false }
        stateMachine.cancel(reservation)
        return true
    }
    func sent(_ app: String = "a") -> Int { sent[AppID(app)] ?? 0 }

    // MARK: The content of the store

    var depth: QueueDepth { try! store.depth() }
    /// Pushes that are not settled.
    var pushes: Int { depth.pushes }

    private var statuses: [PushStatus] {
        try! store.find(batches.flatMap { batch in (0..<batch.count).map(batch.id.push) }).compactMap { $0 }
    }

    var settled: [PushStatus] { statuses.filter { if case .settled = $0.state { true } else { false } } }
    var verdicts: [Verdict] {
        statuses.compactMap { if case .settled(let verdict) = $0.state { verdict } else { nil } }
    }

    /// Recorded attempts of each push that is not settled.
    private var openAttempts: [Int] {
        statuses.compactMap { if case .settled = $0.state { nil } else { Int($0.attempts) } }
    }
    var attempts: Int { openAttempts.reduce(0, +) }
    var attemptsMax: Int { openAttempts.max() ?? 0 }

    var leasedBatches: Int { Set(statuses.filter { $0.state == .sending }.map(\.id.batch)).count }
}
