import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushQueue

/// One gateway process: the real decisions of dispatch and outcome under a shell that keeps virtual time.
///
/// The shell does what `Dispatcher`, `OutcomeRecorder`, `BatchCommitter` and `Gateway` do around their cores, one event
/// after the other; the process may die between any two, and at some steps within one.
final class ModelGateway {
    enum Condition {
        case running, paused, down
    }

    unowned let world: World
    /// From 1.
    let number: Int
    private(set) var condition = Condition.down
    private(set) var processLife: ProcessLife
    private var pausedAt: Ticks = 0
    /// What would have happened while the process stood still.
    private var deferred: [() -> Void] = []
    /// When it could not renew its leases.
    let troubles = Troubles()
    /// Leases that it was told of.
    private(set) var knownLeases: Set<Lease> = []

    /// Speed of the monotonic clock.
    let rate: Double
    private var wallOffset: Duration = .zero
    private var wallAtStart = WallTime(milliseconds: 0)

    let configuration: DispatchConfiguration
    var core: DispatchCore
    var buffer = OutcomeBuffer()
    private var clients: [ModelAPNsClient] = []
    private var isDraining = false
    private var requestsUnderWay = 0

    // The claim loop.
    private var isClaiming = false
    private var wantsClaim = false
    // The outcome writer.
    private var isWriting = false
    private var isGathering = false

    init(world: World, number: Int) {
        self.world = world
        self.number = number
        processLife = ProcessLife(gateway: number, life: 0)
        rate = world.plan.faults.contains(.clockDrift) ? world.random.pick([0.95, 1.0, 1.05]) : 1
        var configuration = DispatchConfiguration()
        configuration.limits.pushesMax = world.plan.memoryPushes
        configuration.limits.windowPerApp = world.plan.window
        configuration.pollEvery = .milliseconds(500)
        self.configuration = configuration
        core = DispatchCore(configuration: configuration, apps: world.apps, seed: 0)
    }

    // MARK: Clocks

    var wall: WallTime { world.wall + wallOffset }

    /// The clock that expirations are compared with.
    var judgedWall: WallTime { world.bug == .expiryIgnored ? wallAtStart : wall }

    private var monotonic: Duration {
        if world.bug == .wallClockLease { return .milliseconds(wall.milliseconds - 1_780_000_000_000) }
        return Duration(ticks: Int(Double(world.now) * rate))
    }

    private var moment: Moment { Moment(wall: judgedWall, monotonic: monotonic) }

    func inWorld(_ ticks: Ticks) -> Ticks { rate == 1 ? ticks : Int(Double(ticks) / rate) }

    func stepClock(by seconds: Int) {
        wallOffset += .seconds(seconds)
        world.trace(.clockStep, number, 0, seconds)
    }

    // MARK: Time for this process

    /// Runs `action` after a while of this process' own clock, unless it has died by then.
    func after(_ delay: Ticks, _ action: @escaping () -> Void) { deliver(after: inWorld(delay), action) }

    /// Runs `action` after a while, unless the process has died by then. A process that stands still runs it later.
    func deliver(after delay: Ticks, _ action: @escaping () -> Void) {
        let life = processLife
        world.after(delay) { [self] in run(action, in: life) }
    }

    /// What is done with an answer that this life of the process waits for.
    private func awaiting<Answer>(_ action: @escaping (Answer) -> Void) -> (Answer) -> Void {
        let life = processLife
        return { [self] answer in run({ action(answer) }, in: life) }
    }

    private func run(_ action: @escaping () -> Void, in life: ProcessLife) {
        guard processLife == life, condition != .down else { return }
        if condition == .paused { deferred.append(action) } else { action() }
    }

    /// At a step where dying hurts.
    private func diesHere() -> Bool {
        guard world.draws(.crashBetweenSteps, world.plan.crashAtStep) else { return false }
        crash()
        return true
    }

    /// At a step where standing still hurts: the answer comes to somebody whose lease is over.
    private func standsStillHere() {
        guard world.draws(.gatewayPause, 0.02) else { return }
        pause(for: world.random.within(15...60) * .second)
    }

    // MARK: Life

    func start() {
        processLife.life += 1
        condition = .running
        isDraining = false
        if world.isHealed { wallOffset = .zero }
        (isClaiming, wantsClaim, isWriting, isGathering, requestsUnderWay) = (false, false, false, false, 0)
        core = DispatchCore(configuration: configuration, apps: world.apps, seed: world.random.next())
        buffer = OutcomeBuffer()
        clients = world.apps.map { ModelAPNsClient(gateway: self, app: $0) }
        wallAtStart = wall
        knownLeases = []
        world.trace(.started, number)
        // The store in this process has no holder but this one.
        if world.plan.isEmbedded { world.store.releaseAll() }
        askForBatches()
        tickContinually()
        renewContinually()
    }

    func crash() {
        guard condition != .down else { return }
        world.trace(.crashed, number, 0, core.pushesInMemory)
        end()
        world.checker.died(ProcessLife(gateway: number, life: processLife.life - 1))
        if world.plan.isEmbedded { world.store.crash(down: 0) }
        world.after(world.random.within(100...3_000) * .millisecond) { [self] in start() }
    }

    /// Nothing that was planned happens any more.
    func end() {
        condition = .down
        processLife.life += 1
        deferred = []
        world.apns.processDied(self)
        for client in clients { client.abandon() }
    }

    func pause(for duration: Ticks) {
        guard condition == .running else { return }
        condition = .paused
        pausedAt = world.now
        world.trace(.pausedProcess, number)
        deliverResume(after: duration)
    }

    private func deliverResume(after duration: Ticks) {
        let life = processLife
        world.after(duration) { [self] in if processLife == life { resume() } }
    }

    private func resume() {
        guard condition == .paused else { return }
        condition = .running
        troubles.add(pausedAt...world.now)
        world.trace(.resumedProcess, number)
        let waiting = deferred
        deferred = []
        let life = processLife
        for action in waiting where processLife == life { action() }
    }

    /// The faults are over: its clock is set right. If it stands still, it comes back in its time, and learns of it then.
    func heal() {
        guard condition != .down else {
            wallOffset = .zero
            return
        }
        deliver(after: 10 * .millisecond) { [self] in wallOffset = .zero }
    }

    var takesRequests: Bool { condition == .running && !isDraining }
    var pushesInMemory: Int { core.pushesInMemory }
    var isIdle: Bool {
        condition == .running && core.isEmpty && buffer.isIdle && core.pushesInMemory == 0 && requestsUnderWay == 0
            && !isClaiming && !isDraining
    }

    // MARK: Accept

    /// Makes the batches durable and hands over what was claimed with the write.
    func accept(_ truths: [BatchTruth], answer: @escaping (BatchTruth.Answer) -> Void) {
        if diesHere() { return }
        requestsUnderWay += 1
        let rooms = truths.map { truth -> HandoffRoom? in
            guard (truth.batch.notBefore ?? wall) <= wall else { return nil }
            return core.reserve(
                pushes: truth.batch.count, for: truth.batch.app, lane: truth.batch.lane, now: moment
            )
        }
        if world.bug == .ackBeforeCommit { answer(.accepted) }
        let claims = zip(truths, rooms).map { (truth: $0, claim: $1 == nil ? nil : configuration.lease) }
        world.store.append(
            claims, by: processLife,
            answer: awaiting { [self] result in appended(truths, rooms, result, answer) }
        )
        standsStillHere()
    }

    private func appended(
        _ truths: [BatchTruth], _ rooms: [HandoffRoom?], _ result: Result<[Lease?], QueueError>,
        _ answer: (BatchTruth.Answer) -> Void
    ) {
        if diesHere() { return }
        requestsUnderWay -= 1
        switch result {
        case .success(let leases):
            for (index, truth) in truths.enumerated() {
                if let lease = leases.indices.contains(index) ? leases[index] : nil, let room = rooms[index] {
                    world.trace(.handedOver, number, truth.number, truth.batch.count)
                    let claimed = ClaimedBatch(lease: lease, batch: truth.batch)
                    knownLeases.insert(lease)
                    guard tell({ $0.handedOver(claimed, to: room, now: $1, &$2) }) else { return }
                } else {
                    if let room = rooms[index] { core.cancel(room) }
                    core.batchesWait(of: truth.batch.app, lane: truth.batch.lane)
                    askForBatches()
                }
            }
            if diesHere() { return }
            world.trace(.accepted, number, truths[0].number)
            if world.bug != .ackBeforeCommit { answer(.accepted) }
        case .failure(let error):
            var isUnknown = false
            if case .unavailable(_, isOutcomeKnown: false) = error { isUnknown = true }
            for (index, truth) in truths.enumerated() {
                if let room = rooms[index], world.bug != .reservationLost { core.cancel(room) }
                if isUnknown { core.batchesWait(of: truth.batch.app, lane: truth.batch.lane) }
            }
            if isUnknown { askForBatches() }
            world.trace(isUnknown ? .unknown : .refused, number, truths[0].number)
            if world.bug == .ackBeforeCommit { return }
            answer(isUnknown && world.bug != .unknownAnsweredRefused ? .unknown : .refused)
        }
    }

    // MARK: Cancelling and pausing

    /// Takes back those of `indexes` that were not sent: in the store, and what is claimed here in memory.
    ///
    /// - Parameter acknowledge: told which are cancelled.
    func cancel(_ truth: BatchTruth, _ indexes: [Int], acknowledge: @escaping ([Int]) -> Void) {
        world.store.cancel(
            indexes.map(truth.id.push),
            answer: awaiting { [self] result in
                guard case .success(let results) = result else { return }
                acknowledge(zip(indexes, results).filter { $1 == .cancelled }.map { $0.0 })
                let late = zip(indexes, results).filter { $1 == .tooLate }.map { truth.id.push($0.0) }
                cancelInMemory(late, acknowledge: acknowledge)
            }
        )
    }

    private func cancelInMemory(_ ids: [PushID], acknowledge: @escaping ([Int]) -> Void) {
        let settlements = core.cancel(.ids(ids), now: moment)
        guard !settlements.isEmpty else { return }
        world.store.settle(
            settlements,
            answer: awaiting { [self] result in
                guard case .success(let stale) = result else {
                    for settlement in settlements { record(settlement) }
                    return
                }
                let taken = settlements.filter { !stale.contains($0.lease) }
                if !stale.isEmpty { tell { $0.refused(stale, &$2) } }
                tell { $0.settled(taken.filter { $0.release == .release }.map(\.lease), &$2) }
                acknowledge(taken.flatMap { $0.outcomes.map { Int($0.index) } })
            }
        )
    }

    /// The app was paused or resumed in the store; what waits in memory follows.
    func setPaused(_ isPaused: Bool, app: AppID) {
        deliver(after: 0) { [self] in tell { $0.setPaused(isPaused, app: app, now: $1, &$2) } }
    }

    // MARK: Dispatch

    /// Tells the core what happened, and does what it says.
    ///
    /// - Returns: false when the process died of it.
    @discardableResult
    private func tell(_ event: (inout DispatchCore, Moment, inout DispatchEffects) -> Void) -> Bool {
        var effects = DispatchEffects()
        event(&core, moment, &effects)
        return perform(effects)
    }

    private func perform(_ effects: DispatchEffects) -> Bool {
        for news in effects.news { record(news.settlement) }
        world.checker.memory(of: number, pushes: core.pushesInMemory)
        for send in effects.sends {
            guard let lease = core.work(send.ticket)?.claimed.lease else {
                preconditionFailure("the core sends a batch that it has not got")
            }
            if diesHere() { return false }
            if let poison = world.checker.truths[lease.batch]?.poison, send.indexes?.contains(poison) ?? true {
                crash()
                return false
            }
            guard let place = world.apps.firstIndex(of: send.app) else {
                preconditionFailure("the core sends for an app without a client")
            }
            clients[place].send(
                send.batch, indexes: send.indexes, ticket: send.ticket, lease: lease, timeout: send.deadline.ticks
            )
        }
        if effects.wantsClaim { askForBatches() }
        return true
    }

    private func askForBatches() {
        wantsClaim = true
        guard !isClaiming else { return }
        isClaiming = true
        after(0) { [self] in claim() }
    }

    private func claim() {
        guard wantsClaim, let plan = core.claimPlan(now: moment) else {
            (wantsClaim, isClaiming) = (false, false)
            return
        }
        wantsClaim = false
        let askedAt = monotonic
        let request = ClaimRequest(
            batchesMax: plan.batchesMax, lease: configuration.lease, excludedApps: plan.excludedApps,
            excludedPlaces: plan.excludedPlaces, isAloneAllowed: plan.isAloneAllowed
        )
        world.store.claim(
            request, by: processLife,
            answer: awaiting { [self] result in
                guard case .success(let batches) = result else {
                    // The next tick asks again.
                    (wantsClaim, isClaiming) = (false, false)
                    return
                }
                claimed(batches, plan, askedAt: askedAt)
            }
        )
        standsStillHere()
    }

    private func claimed(_ batches: [ClaimedBatch], _ plan: DispatchStateMachine.ClaimPlan, askedAt: Duration) {
        if diesHere() { return }
        for batch in batches { knownLeases.insert(batch.lease) }
        let batches = world.bug == .dropResent ? batches.map(Self.resending) : batches
        var mayHoldMore = false
        let lives = tell { mayHoldMore = $0.claimed(batches, plan: plan, askedAt: askedAt, now: $1, &$2) }
        guard lives else { return }
        wantsClaim = wantsClaim || mayHoldMore
        claim()
    }

    private func tickContinually() {
        let skipsTo = world.nextDueWhenIdle.map { $0 - world.now }
        deliver(after: max(skipsTo ?? 0, inWorld(configuration.pollEvery.ticks))) { [self] in
            if tell({ $0.tick(now: $1, &$2) }) { tickContinually() }
        }
    }

    private func renewContinually() {
        after(configuration.renewEvery.ticks) { [self] in
            renewContinually()
            let leases = core.leases
            guard !leases.isEmpty else { return }
            let askedAt = monotonic
            if world.bug == .renewalForgotten {
                tell { $0.renewed(leases, lost: [], askedAt: askedAt, &$2) }
                return
            }
            world.store.renew(
                leases, for: configuration.lease,
                answer: awaiting { [self] result in
                    guard case .success(let lost) = result else { return }
                    world.trace(.renewed, number, leases.count, lost.count)
                    tell { $0.renewed(leases, lost: lost, askedAt: askedAt, &$2) }
                }
            )
        }
    }

    /// From the APNs client of one app.
    func received(_ answers: APNSAnswers) {
        if diesHere() { return }
        world.trace(.answered, number, Int(answers.ticket), answers.answers.count)
        tell { $0.answered(answers, now: $1, &$2) }
    }

    private static func resending(_ claimed: ClaimedBatch) -> ClaimedBatch {
        var claimed = claimed
        let batch = claimed.batch
        claimed.batch = Batch(
            id: batch.id, app: batch.app, lane: batch.lane, acceptedAt: batch.acceptedAt, notBefore: batch.notBefore,
            notifications: batch.notifications, traceparent: batch.traceparent, requestID: batch.requestID,
            ambiguity: .resend
        )
        return claimed
    }

    // MARK: Outcome

    private func record(_ settlement: Settlement) {
        buffer.record(settlement)
        guard !isWriting, !isGathering else { return }
        isGathering = true
        after(5 * .millisecond) { [self] in
            isGathering = false
            write(pause: 100 * .millisecond)
        }
    }

    private func write(pause: Ticks) {
        let settlements = buffer.beginWrite()
        isWriting = !settlements.isEmpty
        guard isWriting else { return }
        if diesHere() { return }
        world.store.settle(
            settlements,
            answer: awaiting { [self] result in
                if diesHere() { return }
                switch result {
                case .success(let stale): wrote(stale: stale)
                case .failure where world.bug == .outcomeForgotten: wrote(stale: [])
                case .failure: after(pause) { [self] in write(pause: min(pause * 2, 3_200 * .millisecond)) }
                }
            }
        )
    }

    private func wrote(stale: [Lease]) {
        let settled = buffer.wrote(stale: stale)
        if !stale.isEmpty { tell { $0.refused(stale, &$2) } }
        tell { $0.settled(settled, &$2) }
        write(pause: 100 * .millisecond)
    }

    // MARK: Drain

    /// SIGTERM: takes nothing new, gives back what was not sent, waits for answers, records everything, and is gone.
    func drain() {
        guard condition == .running, !isDraining else { return }
        isDraining = true
        world.trace(.drains, number)
        var effects = DispatchEffects()
        core.drain(now: moment, &effects)
        if world.bug == .drainForgetsUnsent { effects.news = [] }
        guard perform(effects) else { return }
        awaitAnswers(until: world.now + 15 * .second, end: world.now + 25 * .second)
    }

    private func awaitAnswers(until patience: Ticks, end: Ticks) {
        after(100 * .millisecond) { [self] in
            let waits = core.hasUnanswered && world.now < patience && clients.contains(where: \.isAtWork)
            guard !waits else { return awaitAnswers(until: patience, end: end) }
            for client in clients { client.close() }
            buffer.finish()
            awaitRecords(until: end)
        }
    }

    private func awaitRecords(until end: Ticks) {
        after(50 * .millisecond) { [self] in
            if world.now >= end { return crash() }
            let isDone = buffer.isDone && requestsUnderWay == 0 && !isClaiming && !core.hasUnanswered
            guard isDone else { return awaitRecords(until: end) }
            stop()
        }
    }

    /// Exit code 0.
    private func stop() {
        world.trace(.stopped, number)
        for row in world.store.live where row.lease?.holder == processLife && knownLeases.contains(row.lastLease) {
            world.checker.leaseLeftBehind(row.truth, epoch: row.epoch)
        }
        end()
        world.after(world.random.within(500...3_000) * .millisecond) { [self] in start() }
    }
}
