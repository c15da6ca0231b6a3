import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushStore

/// Dispatch: what `Dispatcher` does around its core.
extension ModelGateway {
    // MARK: Dispatch

    /// Tells the core what happened, and does what it says.
    ///
    /// - Returns: false when the process died of it.
    @discardableResult
    func tell(_ event: (inout DispatchStateMachine, Moment, inout DispatchActions) -> Void) -> Bool {
        var effects = DispatchActions()
        event(&core, moment, &effects)
        return perform(effects)
    }

    func perform(_ effects: DispatchActions) -> Bool {
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

    func askForBatches() {
        wantsClaim = true
        guard !isClaiming else { return }
        isClaiming = true
        after(0) { [self] in claim() }
    }

    func claim() {
        guard wantsClaim, let plan = core.claimPlan(now: moment) else {
            (wantsClaim, isClaiming) = (false, false)
            return
        }
        wantsClaim = false
        let askedAt = monotonic
        let request = ClaimRequest(
            batchesMax: plan.batchesMax, lease: configuration.lease, excludedApps: plan.excludedApps,
            excludedLanes: plan.excludedLanes,
            quarantinedMax: world.bug == .mixedQuarantineTrial ? max(1, plan.quarantinedMax) : plan.quarantinedMax,
            excludedQuarantined: plan.excludedQuarantined
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

    func claimed(_ batches: [ClaimedBatch], _ plan: DispatchBuffer.ClaimPlan, askedAt: Duration) {
        if diesHere() { return }
        for batch in batches { knownLeases.insert(batch.lease) }
        world.checker.quarantined(beside: core.quarantined, arrive: batches.filter(\.isQuarantined))
        let batches = world.bug == .dropResent ? batches.map(Self.resending) : batches
        var mayHoldMore = false
        let lives = tell { mayHoldMore = $0.claimed(batches, plan: plan, askedAt: askedAt, now: $1, &$2) }
        guard lives else { return }
        wantsClaim = wantsClaim || mayHoldMore
        claim()
    }

    func tickContinually() {
        let skipsTo = world.nextDueWhenIdle.map { $0 - world.now }
        deliver(after: max(skipsTo ?? 0, inWorld(configuration.pollEvery.ticks))) { [self] in
            if tell({ $0.tick(now: $1, &$2) }) { tickContinually() }
        }
    }

    func renewContinually() {
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

    static func resending(_ claimed: ClaimedBatch) -> ClaimedBatch {
        var claimed = claimed
        let batch = claimed.batch
        claimed.batch = Batch(
            id: batch.id, app: batch.app, lane: batch.lane, acceptedAt: batch.acceptedAt, notBefore: batch.notBefore,
            notifications: batch.notifications, traceparent: batch.traceparent, requestID: batch.requestID,
            ambiguity: .resend
        )
        return claimed
    }
}
