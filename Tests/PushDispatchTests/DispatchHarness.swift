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
    var stateMachine: DispatchStateMachine
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
    var delays: [AppID: DeliveryDelay] = [:]
    /// All pushes ever sent, by app.
    var sent: [AppID: Int] = [:]
    /// The answer of APNs to each push of a send; nil for none.
    var answer: (DispatchActions.Send) -> APNSAnswer? = { _ in .accepted }
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
        stateMachine = DispatchStateMachine(configuration: configuration, apps: apps.map { AppID($0) }, seed: seed)
        let clock = VirtualClock()
        let shared = former?.store.store ?? MemoryStore(clock: clock.queueClock)
        store = MemoryBackend(store: shared, clock: clock.queueClock)
        batches = former?.batches ?? []
        self.clock = clock
        lease = configuration.lease
    }

    func apply<Result>(_ event: (inout DispatchStateMachine, Moment, inout DispatchActions) -> Result) -> Result {
        var actions = DispatchActions()
        let result = event(&stateMachine, now, &actions)
        for write in actions.settlements { settle(write.settlement) }
        for send in actions.sends {
            trace.append("\(now.monotonic) send \(send.app) \(send.count)")
            sent[send.app, default: 0] += send.count
            inFlight.append(send)
        }
        events += actions.events
        if let new = actions.delays { delays = new }
        return result
    }

    func settle(_ settlement: Settlement) {
        settlements.append(settlement)
        trace.append(
            "\(now.monotonic) settle \(settlement.outcomes.count) \(settlement.retries.map(\.due.milliseconds))"
        )
        let isGood = try! store.settle([settlement]).isEmpty
        if isGood, !settlement.sends.isEmpty, !holdsAnnouncements {
            apply { stateMachine, now, actions in stateMachine.announced([settlement.lease], now: now, &actions) }
        }
        guard !isGood || settlement.release.endsLease else { return }
        apply { stateMachine, _, actions in
            if isGood {
                stateMachine.settled([settlement.lease], &actions)
            } else {
                stateMachine.refused([settlement.lease], &actions)
            }
        }
    }

    /// Ends the process and its leases.
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

    /// Claims until the store has no more batches.
    func claim() {
        while let plan = apply({ stateMachine, now, _ in stateMachine.claimPlan(now: now) }) {
            let batches = claim(by: plan)
            let mayHaveMore = apply { stateMachine, now, actions in
                stateMachine.claimed(batches, plan: plan, requestedAt: now.monotonic, now: now, &actions)
            }
            guard mayHaveMore else { return }
        }
    }

    /// Claims one batch as a quarantined one.
    func claimQuarantined() {
        guard var plan = apply({ stateMachine, now, _ in stateMachine.claimPlan(now: now) }), plan.quarantinedMax > 0
        else { return }
        plan.batchesMax = 1
        let batches = claim(by: plan).map { batch in
            var batch = batch
            batch.isQuarantined = true
            return batch
        }
        _ = apply { stateMachine, now, actions in
            stateMachine.claimed(batches, plan: plan, requestedAt: now.monotonic, now: now, &actions)
        }
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
                answers.append(answer, of: index, latency: latency)
            }
            answers.isLast = true
            apply { stateMachine, now, actions in stateMachine.answered(answers, now: now, &actions) }
        }
    }

    /// Advances time in steps of 250 ms.
    func run(_ duration: Duration, latency: UInt32 = 10) {
        let end = now.monotonic + duration
        while now.monotonic < end {
            now = Moment(wall: now.wall + .milliseconds(250), monotonic: now.monotonic + .milliseconds(250))
            apply { stateMachine, now, actions in stateMachine.tick(now: now, &actions) }
            claim()
            answerAll(latency: latency)
            claim()
            let leases = stateMachine.leases
            let lost = try! store.renew(leases, for: lease)
            apply { stateMachine, now, actions in
                stateMachine.renewed(leases, lost: lost, requestedAt: now.monotonic, &actions)
            }
        }
    }

    func add(_ batches: Int, of count: Int, app: String = "a", lane: Lane = .normal) {
        for _ in 0..<batches { append(claimed(count, app: app, lane: lane).batch) }
    }

    func state(_ app: String = "a") -> Breaker.State { stateMachine.breakerState(of: AppID(app)) }
    func reserve(_ app: String, _ lane: Lane = .normal) -> Bool {
        apply { stateMachine, now, _ in
            guard let reservation = stateMachine.reserve(pushes: 1, for: AppID(app), lane: lane, now: now) else {
                return false
            }
            stateMachine.cancel(reservation)
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
