import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushStore

/// Dispatch, like `Dispatcher`.
extension ModelGateway {
    // MARK: Events and actions

    /// Applies an event to the state machine and performs the resulting actions.
    ///
    /// - Returns: false if the process crashed.
    @discardableResult
    func apply(_ event: (DispatchStateMachine, Moment, inout DispatchActions) -> Void) -> Bool {
        var actions = DispatchActions()
        event(stateMachine, now, &actions)
        return perform(actions)
    }

    func perform(_ actions: DispatchActions) -> Bool {
        for write in actions.settlements { record(write.settlement) }
        simulation.checker.memory(of: number, pushes: stateMachine.pushesInMemory)
        for send in actions.sends {
            simulation.store.begun(send.lease)
            if crashByChance() { return false }
            if let poison = simulation.checker.batchesByID[send.lease.batch]?.poison,
                send.indexes?.contains(poison) ?? true
            {
                crash()
                return false
            }
            guard let index = simulation.apps.firstIndex(of: send.app.app) else {
                preconditionFailure("the state machine sent for an app without a client")
            }
            clients[index].send(
                send.batch, indexes: send.indexes, ticket: send.ticket, lease: send.lease, timeouts: send.timeouts
            )
        }
        if actions.wantsClaim { requestClaim() }
        return true
    }

    // MARK: Claims and leases

    func requestClaim() {
        wantsClaim = true
        guard !isClaiming else { return }
        isClaiming = true
        after(0) { [self] in claim() }
    }

    func claim() {
        guard wantsClaim, let plan = stateMachine.claimPlan(now: now) else {
            (wantsClaim, isClaiming) = (false, false)
            return
        }
        wantsClaim = false
        let requestedAt = monotonic
        var request = plan.request(lease: configuration.lease)
        if simulation.bug == .mixedQuarantineTrial { request.quarantinedMax = max(1, plan.quarantinedMax) }
        simulation.store.claim(
            request, by: processLife,
            completion: inThisLife { [self] result in
                guard case .success(let batches) = result else {
                    // The next tick claims again.
                    (wantsClaim, isClaiming) = (false, false)
                    return
                }
                claimed(batches, plan, requestedAt: requestedAt)
            }
        )
        pauseByChance()
    }

    func claimed(_ batches: [ClaimedBatch], _ plan: ClaimPlan, requestedAt: Duration) {
        if crashByChance() { return }
        for batch in batches { knownLeases.insert(batch.lease) }
        simulation.checker.claimedQuarantined(
            batches.filter(\.isQuarantined), whileHolding: stateMachine.quarantined
        )
        let batches = simulation.bug == .dropResent ? batches.map(Self.resending) : batches
        var mayHaveMore = false
        let isRunning = apply { mayHaveMore = $0.claimed(batches, plan: plan, requestedAt: requestedAt, now: $1, &$2) }
        guard isRunning else { return }
        wantsClaim = wantsClaim || mayHaveMore
        claim()
    }

    func tickContinually() {
        let skipsTo = simulation.nextDueWhenIdle.map { $0 - simulation.now }
        deliver(after: max(skipsTo ?? 0, virtualTicks(configuration.pollEvery.ticks))) { [self] in
            if apply({ $0.tick(now: $1, &$2) }) { tickContinually() }
        }
    }

    func renewContinually() {
        after(configuration.renewEvery.ticks) { [self] in
            renewContinually()
            let renewal = stateMachine.renewal()
            let leases = renewal.leases
            guard !leases.isEmpty else { return }
            let requestedAt = monotonic
            if simulation.bug == .renewalSkipped {
                apply { $0.renewed(renewal, lost: [], requestedAt: requestedAt, now: $1, &$2) }
                return
            }
            simulation.store.renew(
                leases, for: configuration.lease,
                completion: inThisLife { [self] result in
                    guard case .success(let lost) = result else { return }
                    simulation.trace(.renewed, number, leases.count, lost.count)
                    apply { $0.renewed(renewal, lost: lost, requestedAt: requestedAt, now: $1, &$2) }
                }
            )
        }
    }

    /// Like `StoreMaintenanceService`.
    func expireContinually() {
        after(.second) { [self] in
            expireContinually()
            simulation.store.expire()
        }
    }

    /// The APNs client of an app reports answers.
    func received(_ answers: APNSAnswers, of app: AppID) {
        if crashByChance() { return }
        if simulation.bug == .goodProbesLost, stateMachine.breakerState(of: app) != .closed, answers.answers.count == 1,
            answers.answers[0].isAccepted
        {
            return
        }
        simulation.trace(.answered, number, Int(answers.ticket), answers.answers.count)
        apply { $0.answered(answers, of: AppEnvironment(app), now: $1, &$2) }
    }

    /// The batch with its ambiguity policy replaced by `.resend`, for `PlantedBug.dropResent`.
    static func resending(_ claimed: ClaimedBatch) -> ClaimedBatch {
        var claimed = claimed
        let batch = claimed.batch
        claimed.batch = Batch(
            id: batch.id, app: batch.app, environment: batch.environment, lane: batch.lane,
            acceptedAt: batch.acceptedAt, dueTimes: batch.dueTimes, notifications: batch.notifications,
            ambiguity: .resend
        )
        return claimed
    }
}
