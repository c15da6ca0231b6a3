import APNSWire
import MemoryBackend
import PushDispatch
import PushModel
import PushStore
import Synchronization

/// The clocks of a test in virtual time.
final class VirtualClock: Sendable {
    private let moment = Mutex(Moment(wall: WallTime(milliseconds: 1_000_000), monotonic: .seconds(1_000)))

    var now: Moment {
        get { moment.withLock { $0 } }
        set { moment.withLock { $0 = newValue } }
    }
    var queueClock: QueueClock { QueueClock(wall: { self.now.wall }, monotonic: { self.now.monotonic }) }
}

/// A core, its store, and an APNs that answers as the test wants: all in one thread and in virtual time.
final class DispatchHarness {
    var core: DispatchStateMachine
    private let store: MemoryBackend
    /// All batches ever appended, in this order.
    private(set) var batches: [Batch]
    private let clock: VirtualClock
    private let lease: Duration
    var now: Moment {
        get { clock.now }
        set { clock.now = newValue }
    }
    /// Handed to a client and not answered yet.
    var inFlight: [DispatchActions.Send] = []
    var events: [DispatchActions.Event] = []
    var delays: [AppID: DeliveryDelay] = [:]
    /// All pushes ever sent, by app.
    var sent: [AppID: Int] = [:]
    /// How APNs answers, 10 ms later; nil: not at all.
    var answer: (DispatchActions.Send) -> APNSAnswer? = { _ in .accepted }
    /// What the store was told, to compare runs.
    var trace: [String] = []
    var settlements: [Settlement] = []
    /// Whether what is about to be sent is not told to be durable.
    var holdsAnnouncements = false

    /// - Parameter former: continues on the store of this one, as the next process does.
    init(
        _ configuration: DispatchConfiguration = DispatchConfiguration(), apps: [String] = ["a"], seed: UInt64 = 1,
        successorOf former: DispatchHarness? = nil
    ) {
        core = DispatchStateMachine(configuration: configuration, apps: apps.map { AppID($0) }, seed: seed)
        let clock = VirtualClock()
        let shared = former?.store.store ?? MemoryStore(clock: clock.queueClock)
        store = MemoryBackend(store: shared, clock: clock.queueClock)
        batches = former?.batches ?? []
        self.clock = clock
        lease = configuration.lease
    }

    func tell<Result>(_ event: (inout DispatchStateMachine, Moment, inout DispatchActions) -> Result) -> Result {
        var effects = DispatchActions()
        let result = event(&core, now, &effects)
        for news in effects.news { settle(news.settlement) }
        for send in effects.sends {
            trace.append("\(now.monotonic) send \(send.app) \(send.count)")
            sent[send.app, default: 0] += send.count
            inFlight.append(send)
        }
        events += effects.events
        if let new = effects.delays { delays = new }
        return result
    }

    func settle(_ settlement: Settlement) {
        settlements.append(settlement)
        trace.append(
            "\(now.monotonic) settle \(settlement.outcomes.count) \(settlement.retries.map(\.due.milliseconds))"
        )
        let isGood = try! store.settle([settlement]).isEmpty
        if isGood, !settlement.sends.isEmpty, !holdsAnnouncements {
            tell { core, now, effects in core.announced([settlement.lease], now: now, &effects) }
        }
        guard !isGood || settlement.release.isEnd else { return }
        tell { core, _, effects in
            if isGood { core.settled([settlement.lease], &effects) } else { core.refused([settlement.lease], &effects) }
        }
    }

    /// The process dies, and its leases end.
    func crash() { store.crash() }

    func append(_ batch: Batch) {
        _ = try! store.append([NewBatch(batch: batch)])
        batches.append(batch)
    }

    func claim(by plan: DispatchBuffer.ClaimPlan) -> [ClaimedBatch] {
        try! store.claim(
            ClaimRequest(
                batchesMax: plan.batchesMax, lease: lease, excludedApps: plan.excludedApps,
                excludedLanes: plan.excludedLanes, quarantinedMax: plan.quarantinedMax,
                excludedQuarantined: plan.excludedQuarantined
            )
        )
    }

    /// Claims until the store has nothing more for it.
    func claim() {
        while let plan = tell({ core, now, _ in core.claimPlan(now: now) }) {
            let batches = claim(by: plan)
            let mayHoldMore = tell { core, now, effects in
                core.claimed(batches, plan: plan, askedAt: now.monotonic, now: now, &effects)
            }
            guard mayHoldMore else { return }
        }
    }

    /// Claims one batch, as one that is suspected of killing its holder.
    func claimQuarantined() {
        guard var plan = tell({ core, now, _ in core.claimPlan(now: now) }), plan.quarantinedMax > 0 else { return }
        plan.batchesMax = 1
        let batches = claim(by: plan).map { batch in
            var batch = batch
            batch.isQuarantined = true
            return batch
        }
        _ = tell { core, now, effects in
            core.claimed(batches, plan: plan, askedAt: now.monotonic, now: now, &effects)
        }
    }

    /// Answers what is in flight, if APNs answers.
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
                answers.append(answer, of: index, latency: latency)
            }
            answers.isLast = true
            tell { core, now, effects in core.answered(answers, now: now, &effects) }
        }
    }

    /// Lets time pass, a quarter of a second at a time.
    func run(_ duration: Duration, latency: UInt32 = 10) {
        let end = now.monotonic + duration
        while now.monotonic < end {
            now = Moment(wall: now.wall + .milliseconds(250), monotonic: now.monotonic + .milliseconds(250))
            tell { core, now, effects in core.tick(now: now, &effects) }
            claim()
            answerAll(latency: latency)
            claim()
            let leases = core.leases
            let lost = try! store.renew(leases, for: lease)
            tell { core, now, effects in core.renewed(leases, lost: lost, askedAt: now.monotonic, &effects) }
        }
    }

    func add(_ batches: Int, of count: Int, app: String = "a", lane: Lane = .normal) {
        for _ in 0..<batches { append(claimed(count, app: app, lane: lane).batch) }
    }

    func state(_ app: String = "a") -> Breaker.State { core.breakerState(of: AppID(app)) }
    func reserve(_ app: String, _ lane: Lane = .normal) -> Bool {
        tell { core, now, _ in
            guard let capacity = core.reserve(pushes: 1, for: AppID(app), lane: lane, now: now) else { return false }
            core.cancel(capacity)
            return true
        }
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
