import APNSWire
import PushModel
import PushQueue

/// Every decision of dispatch: what is claimed, what is sent and when, what an answer means, what is given back.
///
/// Pure: events come in with the moment they happened, effects go out, and what is drawn by chance is drawn from a
/// seed. `Dispatcher` does what it says; a simulation can do the same in virtual time.
package struct DispatchCore: Sendable {
    let configuration: DispatchConfiguration
    var machine: DispatchStateMachine
    var generator: SeededGenerator
    /// By app index: whether the app has a client.
    var isKnown: [Bool] = []

    /// - Parameter apps: the apps that have a client.
    package init(configuration: DispatchConfiguration, apps: [AppID], seed: UInt64) {
        self.configuration = configuration
        machine = DispatchStateMachine(limits: configuration.limits)
        generator = SeededGenerator(seed: seed)
        // Sorted, so that the same apps always get the same places.
        for app in apps.sorted() { isKnown[index(of: app)] = true }
    }

    /// Where an app is kept; one that comes up for the first time has no client.
    mutating func index(of app: AppID) -> Int {
        let index = machine.index(of: app)
        while isKnown.count <= index { isKnown.append(false) }
        return index
    }

    // MARK: Claiming

    /// What to ask the store for now; nil when there is no room or we are stopping. Answered by `claimed`, and only then
    /// asked again.
    package mutating func claimPlan(now: Moment) -> DispatchStateMachine.ClaimPlan? {
        machine.claimPlan()
    }

    /// The answer to a claim made by `plan`.
    ///
    /// - Parameter askedAt: by the monotonic clock, before the question: the lease counts from then, so our idea of its
    ///   end is never later than the store's.
    /// - Returns: whether more may wait, so that it is worth asking again at once.
    package mutating func claimed(
        _ batches: [ClaimedBatch], plan: DispatchStateMachine.ClaimPlan, askedAt: Duration, now: Moment,
        _ effects: inout DispatchEffects
    ) -> Bool {
        let mayHoldMore = machine.claimed(
            batches, plan: plan, leaseUntil: askedAt + configuration.lease, draw: generator.draw()
        )
        guard !machine.isDraining else {
            giveBackWaiting(now: now, &effects) { _ in true }
            return false
        }
        var indexes: [Int] = []
        for batch in batches {
            let index = index(of: batch.batch.app)
            if !indexes.contains(index) { indexes.append(index) }
        }
        for index in indexes { sendNext(of: index, now: now, &effects) }
        return mayHoldMore
    }

    // MARK: The hot hand-off

    package mutating func reserve(pushes: Int, for app: AppID, lane: Lane, now: Moment) -> HandoffRoom? {
        guard machine.reserve(pushes: pushes, for: index(of: app), lane: lane) else { return nil }
        return HandoffRoom(app: app, lane: lane, pushes: pushes, since: now.monotonic)
    }

    package mutating func cancel(_ room: HandoffRoom) {
        machine.cancelReservation(pushes: room.pushes, of: index(of: room.app), lane: room.lane)
    }

    package mutating func handedOver(
        _ batch: ClaimedBatch, to room: HandoffRoom, now: Moment, _ effects: inout DispatchEffects
    ) {
        let index = index(of: room.app)
        machine.handedOver(batch, leaseUntil: room.since + configuration.lease, draw: generator.draw())
        guard !machine.isDraining else { return giveBackWaiting(now: now, &effects) { _ in true } }
        sendNext(of: index, now: now, &effects)
    }

    package mutating func batchesWait(of app: AppID, lane: Lane) {
        machine.batchesWait(of: index(of: app), lane: lane)
    }

    // MARK: Sending

    /// Hands over what the app's window has room for.
    mutating func sendNext(of index: Int, now: Moment, _ effects: inout DispatchEffects) {
        while let work = machine.first(of: index) {
            guard isKnown[index] else {
                retryAll(work, code: .unknownApp, after: configuration.policy.credentialPause, now: now, &effects)
                continue
            }
            guard work.leaseUntil > now.monotonic + configuration.requestTimeout else {
                // Too little of the lease is left to wait for an answer: somebody may own the batch by then.
                giveBack(work.ticket, now: now, &effects)
                continue
            }
            send(work, now: now, &effects)
        }
    }

    private mutating func send(_ work: DispatchStateMachine.Work, now: Moment, _ effects: inout DispatchEffects) {
        machine.sent(work.ticket)
        let (indexes, expired) = split(work, now: now.wall)
        if !expired.isEmpty { decide(work.ticket, outcomes: expired, retries: [], now: now, &effects) }
        guard indexes?.isEmpty != true else { return }
        effects.sends.append(
            DispatchEffects.Send(
                ticket: work.ticket, app: work.app, batch: work.claimed.batch.notifications, indexes: indexes,
                deadline: configuration.requestTimeout
            )
        )
    }

    /// Which pushes to send (nil: all), and outcomes for those whose time is over.
    private func split(_ work: DispatchStateMachine.Work, now: WallTime) -> (indexes: [UInt16]?, expired: [Outcome]) {
        let batch = work.claimed.batch
        let deadlines = Deadlines(of: batch, policy: configuration.policy)
        guard let pending = work.claimed.pending else {
            let all = 0..<UInt16(batch.count)
            // The common case costs one look at each push.
            guard all.contains(where: { deadlines[$0] <= now }) else { return (nil, []) }
            let expired = all.filter { deadlines[$0] <= now }
            return (all.filter { deadlines[$0] > now }, expired.map { Self.expired($0, attempts: 0) })
        }
        let live = pending.filter { deadlines[$0.index] > now }.map(\.index)
        let expired = live.count == pending.count ? [] : pending.filter { deadlines[$0.index] <= now }
        return (
            live.count == batch.count ? nil : live, expired.map { Self.expired($0.index, attempts: $0.attempts) }
        )
    }

    private static func expired(_ index: UInt16, attempts: UInt16) -> Outcome {
        Outcome(index: index, verdict: .expired, code: .expired, attempts: attempts)
    }

    // MARK: Giving back

    /// A batch that waits goes back to the store as it came.
    mutating func giveBack(_ ticket: UInt64, now: Moment, _ effects: inout DispatchEffects) {
        guard let work = machine.release(ticket) else { return }
        tell(work, outcomes: [], retries: [], isDone: true, now: now, &effects)
    }

    mutating func giveBackWaiting(
        now: Moment, _ effects: inout DispatchEffects, where isWanted: (DispatchStateMachine.Work) -> Bool
    ) {
        for ticket in machine.waiting(where: isWanted) { giveBack(ticket, now: now, &effects) }
    }

    /// A batch that waits goes back to the store and is not due before `pause` is over.
    mutating func retryAll(
        _ work: DispatchStateMachine.Work, code: ErrorCode, after pause: Duration, now: Moment,
        _ effects: inout DispatchEffects
    ) {
        guard let work = machine.release(work.ticket) else { return }
        let retries = (0..<work.claimed.pendingCount).map { position in
            Retry(
                index: work.claimed.pending?[position].index ?? UInt16(position), code: code,
                attempts: work.claimed.pending?[position].attempts ?? 0, due: now.wall + pause
            )
        }
        tell(work, outcomes: [], retries: retries, isDone: true, now: now, &effects)
    }

    // MARK: Answers

    /// The batch that answers are for; nil when they are late.
    package func work(_ ticket: UInt64) -> DispatchStateMachine.Work? { machine.work(ticket) }

    /// A piece of answers has come.
    package mutating func answered(_ answers: APNSAnswers, now: Moment, _ effects: inout DispatchEffects) {
        guard let work = work(answers.ticket) else {
            effects.events.append(.late(pushes: answers.answers.count))
            return
        }
        judged(Judgement(answers, for: work, policy: configuration.policy, now: now.wall), now: now, &effects)
    }

    /// The same, when what the answers mean was found out before.
    package mutating func judged(_ judgement: Judgement, now: Moment, _ effects: inout DispatchEffects) {
        guard let work = machine.work(judgement.ticket) else {
            effects.events.append(.late(pushes: judgement.count))
            return
        }
        if judgement.ambiguous > 0 { effects.events.append(.ambiguous(pushes: judgement.ambiguous)) }
        decide(judgement.ticket, outcomes: judgement.outcomes, retries: judgement.retries, now: now, &effects)
        sendNext(of: work.appIndex, now: now, &effects)
    }

    private mutating func decide(
        _ ticket: UInt64, outcomes: [Outcome], retries: [Retry], now: Moment, _ effects: inout DispatchEffects
    ) {
        guard let (work, isDone) = machine.decided(outcomes.count + retries.count, of: ticket) else { return }
        tell(work, outcomes: outcomes, retries: retries, isDone: isDone, now: now, &effects)
    }

    private func tell(
        _ work: DispatchStateMachine.Work, outcomes: [Outcome], retries: [Retry], isDone: Bool, now: Moment,
        _ effects: inout DispatchEffects
    ) {
        effects.news.append(
            DispatchEffects.News(
                settlement: Settlement(
                    lease: work.claimed.lease, outcomes: outcomes, retries: retries,
                    release: isDone ? .release : .keep, at: now.wall
                ), acceptedAt: work.claimed.batch.acceptedAt
            )
        )
    }

    /// The store has recorded the end of these batches.
    package mutating func settled(_ leases: [Lease], _ effects: inout DispatchEffects) {
        machine.settled(leases)
        // Room has become free.
        effects.wantsClaim = true
    }

    /// The store refused news of these: somebody else owns them now.
    package mutating func refused(_ leases: [Lease], _ effects: inout DispatchEffects) {
        machine.lost(leases)
        effects.events.append(.leasesLost(batches: leases.count))
        effects.wantsClaim = true
    }

    // MARK: Leases

    package var leases: [Lease] { machine.leases }

    /// The store has renewed `leases`, but for those that are `lost`.
    ///
    /// - Parameter askedAt: by the monotonic clock, before the question.
    package mutating func renewed(
        _ leases: [Lease], lost: [Lease], askedAt: Duration, _ effects: inout DispatchEffects
    ) {
        let unfinished = machine.lost(lost)
        machine.renewed(leases, until: askedAt + configuration.lease)
        if unfinished > 0 { effects.events.append(.leasesLost(batches: unfinished)) }
    }

    // MARK: Time and the end

    /// Lets time pass; to be called at least every `pollEvery`.
    package mutating func tick(now: Moment, _ effects: inout DispatchEffects) {
        // Retries and scheduled pushes become due without anybody telling us.
        effects.wantsClaim = true
    }

    /// Nothing is claimed, handed over or sent any more, and what was not sent goes back.
    package mutating func drain(now: Moment, _ effects: inout DispatchEffects) {
        machine.drain()
        giveBackWaiting(now: now, &effects) { _ in true }
    }

    package var isDraining: Bool { machine.isDraining }
    /// Whether pushes are still waiting for an answer.
    package var hasUnanswered: Bool { machine.hasUnanswered }
    /// Whether nothing is in memory.
    package var isEmpty: Bool { machine.isEmpty }
    package var pushesInMemory: Int { machine.pushesInMemory }
    package var pushesInFlight: Int { machine.pushesInFlight }
}
