import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushStore

/// Recording of outcomes and the drain, like `OutcomeRecorder` and `Gateway`.
extension ModelGateway {
    // MARK: Outcomes

    func record(_ settlement: Settlement) {
        let settlement = simulation.bug == .expiredEarly ? expiringEarly(settlement) : settlement
        simulation.checker.decided(settlement)
        buffer.record(settlement)
        if simulation.bug == .sentUnannounced, !settlement.sends.isEmpty {
            after(0) { [self] in apply { $0.announced([settlement.lease], now: $1, &$2) } }
        }
        guard !isWriting, !isGathering else { return }
        isGathering = true
        after(5 * .millisecond) { [self] in
            isGathering = false
            write(pause: 100 * .millisecond)
        }
    }

    /// The settlement with retries that are due at the expiration replaced by the verdict, for
    /// `PlantedBug.expiredEarly`.
    private func expiringEarly(_ settlement: Settlement) -> Settlement {
        guard let truth = simulation.checker.batchesByID[settlement.lease.batch] else { return settlement }
        let expired = settlement.retries.filter { retry in truth.deadline(of: retry.index) == retry.due }
        let outcomes = expired.map {
            Outcome(index: $0.index, verdict: .expired, code: $0.code, attempts: $0.attempts)
        }
        return Settlement(
            lease: settlement.lease, outcomes: settlement.outcomes + outcomes,
            retries: settlement.retries.filter { !expired.contains($0) }, sends: settlement.sends,
            release: settlement.release, at: settlement.at)
    }

    func write(pause: Ticks) {
        let settlements = buffer.beginWrite()
        isWriting = !settlements.isEmpty
        guard isWriting else { return }
        if crashByChance() { return }
        simulation.store.settle(
            settlements,
            completion: inThisLife { [self] result in
                if crashByChance() { return }
                switch result {
                case .success(let stale): writeSucceeded(stale: stale)
                case .failure where simulation.bug == .outcomeDropped: writeSucceeded(stale: [])
                case .failure: after(pause) { [self] in write(pause: min(pause * 2, 3_200 * .millisecond)) }
                }
            }
        )
    }

    func writeSucceeded(stale: [Lease]) {
        let durable = buffer.confirmWrite(stale: stale)
        if !stale.isEmpty { apply { $0.refused(stale, now: $1, &$2) } }
        guard apply({ $0.announced(durable.announced, now: $1, &$2) }) else { return }
        apply { $0.settled(durable.ended, now: $1, &$2) }
        write(pause: 100 * .millisecond)
    }

    // MARK: Drain

    /// SIGTERM: stops accepting, returns unsent batches, waits for answers, records all outcomes and exits.
    func drain() {
        guard condition == .running, !isDraining else { return }
        isDraining = true
        simulation.trace(.draining, number)
        var actions = DispatchActions()
        stateMachine.drain(now: now, &actions)
        if simulation.bug == .drainDropsUnsent { actions.settlements = [] }
        guard perform(actions) else { return }
        awaitAnswers(until: simulation.now + 15 * .second, end: simulation.now + 25 * .second)
    }

    func awaitAnswers(until timeout: Ticks, end: Ticks) {
        after(100 * .millisecond) { [self] in
            let isWaiting =
                stateMachine.hasUnanswered && simulation.now < timeout && clients.contains(where: \.hasOpenStreams)
            guard !isWaiting else { return awaitAnswers(until: timeout, end: end) }
            for client in clients { client.close() }
            buffer.finish()
            awaitOutcomes(until: end)
        }
    }

    func awaitOutcomes(until end: Ticks) {
        after(50 * .millisecond) { [self] in
            if simulation.now >= end { return crash() }
            let isDone = buffer.isDone && pendingRequests == 0 && !isClaiming && !stateMachine.hasUnanswered
            guard isDone else { return awaitOutcomes(until: end) }
            stop()
        }
    }

    /// Exits with status 0 and starts again later.
    func stop() {
        simulation.trace(.stopped, number)
        for row in simulation.store.live where row.lease?.holder == processLife && knownLeases.contains(row.lastLease) {
            simulation.checker.leaseNotReleased(row.truth, epoch: row.epoch)
        }
        end()
        simulation.after(simulation.random.within(500...3_000) * .millisecond) { [self] in start() }
    }
}
