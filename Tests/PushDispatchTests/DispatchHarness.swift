import APNSWire
import PushDispatch
import PushModel
import PushStore

/// A store of batches in memory that does what the contract of a queue says, in virtual time.
struct ModelStore {
    struct Entry {
        var batch: Batch
        /// Unsettled pushes: attempts and due time.
        var open: [UInt16: (attempts: UInt16, due: WallTime, isUnanswered: Bool)]
        var epoch: UInt64 = 0
        var isClaimed = false
        var isFresh = true
        var notBefore = WallTime(milliseconds: 0)
    }

    var entries: [Entry] = []
    var outcomes: [PushID: Outcome] = [:]
    var stale = 0

    mutating func append(_ batch: Batch) {
        let due = batch.notBefore ?? batch.acceptedAt
        entries.append(
            Entry(
                batch: batch,
                open: Dictionary(uniqueKeysWithValues: (0..<UInt16(batch.count)).map { ($0, (0, due, false)) })
            )
        )
    }

    mutating func claim(_ plan: DispatchBuffer.ClaimPlan, now: WallTime) -> [ClaimedBatch] {
        var claimed: [ClaimedBatch] = []
        for lane in Lane.allCases {
            for place in entries.indices where entries[place].batch.lane == lane && claimed.count < plan.batchesMax {
                let batch = entries[place].batch
                let isExcluded =
                    plan.excludedApps.contains(batch.app)
                    || plan.excludedLanes.contains(AppLane(app: batch.app, lane: lane))
                guard !entries[place].isClaimed, !isExcluded, entries[place].notBefore <= now else { continue }
                let due = entries[place].open.filter { $0.value.due <= now }.sorted { $0.key < $1.key }
                guard !due.isEmpty else { continue }
                entries[place].isClaimed = true
                entries[place].epoch += 1
                claimed.append(
                    ClaimedBatch(
                        lease: Lease(batch: batch.id, epoch: entries[place].epoch), batch: batch,
                        pending: entries[place].isFresh
                            ? nil
                            : due.map {
                                PendingPush(
                                    index: $0.key, attempts: $0.value.attempts, due: $0.value.due,
                                    isUnanswered: $0.value.isUnanswered
                                )
                            }
                    )
                )
            }
        }
        return claimed
    }

    /// - Returns: whether the lease is still good.
    mutating func settle(_ settlement: Settlement) -> Bool {
        guard
            let place = entries.firstIndex(where: { $0.batch.id == settlement.lease.batch }), entries[place].isClaimed,
            entries[place].epoch == settlement.lease.epoch
        else {
            stale += 1
            return false
        }
        for index in settlement.sends {
            entries[place].open[index]?.isUnanswered = true
            entries[place].isFresh = false
        }
        for outcome in settlement.outcomes where entries[place].open.removeValue(forKey: outcome.index) != nil {
            outcomes[settlement.lease.batch.push(Int(outcome.index))] = outcome
            entries[place].isFresh = false
        }
        for retry in settlement.retries where entries[place].open[retry.index] != nil {
            entries[place].open[retry.index] = (retry.attempts, retry.due, false)
            entries[place].isFresh = false
        }
        if settlement.release.isEnd { entries[place].isClaimed = false }
        if case .postpone(let until) = settlement.release { entries[place].notBefore = until }
        if entries[place].open.isEmpty { entries.remove(at: place) }
        return true
    }

    /// The holder of all leases has died.
    mutating func endLeases() {
        for place in entries.indices { entries[place].isClaimed = false }
    }

    var pushes: Int { entries.reduce(0) { $0 + $1.open.count } }
    var attemptsMax: UInt16 { entries.flatMap { $0.open.values.map(\.attempts) }.max() ?? 0 }
    var attempts: Int { entries.flatMap { $0.open.values.map { Int($0.attempts) } }.reduce(0, +) }
}

/// A core, its store, and an APNs that answers as the test wants: all in one thread and in virtual time.
final class DispatchHarness {
    var core: DispatchStateMachine
    var store = ModelStore()
    var now = Moment(wall: WallTime(milliseconds: 1_000_000), monotonic: .seconds(1_000))
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

    init(_ configuration: DispatchConfiguration = DispatchConfiguration(), apps: [String] = ["a"], seed: UInt64 = 1) {
        core = DispatchStateMachine(configuration: configuration, apps: apps.map { AppID($0) }, seed: seed)
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
        let isGood = store.settle(settlement)
        if isGood, !settlement.sends.isEmpty, !holdsAnnouncements {
            tell { core, now, effects in core.announced([settlement.lease], now: now, &effects) }
        }
        guard !isGood || settlement.release.isEnd else { return }
        tell { core, _, effects in
            if isGood { core.settled([settlement.lease], &effects) } else { core.refused([settlement.lease], &effects) }
        }
    }

    /// Claims until the store has nothing more for it.
    func claim() {
        while let plan = tell({ core, now, _ in core.claimPlan(now: now) }) {
            let batches = store.claim(plan, now: now.wall)
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
        let batches = store.claim(plan, now: now.wall).map { batch in
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
            tell { core, now, effects in core.renewed(leases, lost: [], askedAt: now.monotonic, &effects) }
        }
    }

    func add(_ batches: Int, of count: Int, app: String = "a", lane: Lane = .normal) {
        for _ in 0..<batches { store.append(claimed(count, app: app, lane: lane).batch) }
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
}
