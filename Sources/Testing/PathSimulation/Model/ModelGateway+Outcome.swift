import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushStore

/// Outcome and drain: what `OutcomeRecorder` and `Gateway` do.
extension ModelGateway {
    // MARK: Outcome

    func record(_ settlement: Settlement) {
        buffer.record(settlement)
        if world.bug == .sentUnannounced, !settlement.sends.isEmpty {
            after(0) { [self] in tell { $0.announced([settlement.lease], now: $1, &$2) } }
        }
        guard !isWriting, !isGathering else { return }
        isGathering = true
        after(5 * .millisecond) { [self] in
            isGathering = false
            write(pause: 100 * .millisecond)
        }
    }

    func write(pause: Ticks) {
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

    func wrote(stale: [Lease]) {
        let durable = buffer.wrote(stale: stale)
        if !stale.isEmpty { tell { $0.refused(stale, &$2) } }
        guard tell({ $0.announced(durable.announced, now: $1, &$2) }) else { return }
        tell { $0.settled(durable.ended, &$2) }
        write(pause: 100 * .millisecond)
    }

    // MARK: Drain

    /// SIGTERM: takes nothing new, gives back what was not sent, waits for answers, records everything, and is gone.
    func drain() {
        guard condition == .running, !isDraining else { return }
        isDraining = true
        world.trace(.drains, number)
        var effects = DispatchActions()
        core.drain(now: moment, &effects)
        if world.bug == .drainForgetsUnsent { effects.news = [] }
        guard perform(effects) else { return }
        awaitAnswers(until: world.now + 15 * .second, end: world.now + 25 * .second)
    }

    func awaitAnswers(until timeout: Ticks, end: Ticks) {
        after(100 * .millisecond) { [self] in
            let waits = core.hasUnanswered && world.now < timeout && clients.contains(where: \.isAtWork)
            guard !waits else { return awaitAnswers(until: timeout, end: end) }
            for client in clients { client.close() }
            buffer.finish()
            awaitRecords(until: end)
        }
    }

    func awaitRecords(until end: Ticks) {
        after(50 * .millisecond) { [self] in
            if world.now >= end { return crash() }
            let isDone = buffer.isDone && requestsUnderWay == 0 && !isClaiming && !core.hasUnanswered
            guard isDone else { return awaitRecords(until: end) }
            stop()
        }
    }

    /// Exit code 0.
    func stop() {
        world.trace(.stopped, number)
        for row in world.store.live where row.lease?.holder == processLife && knownLeases.contains(row.lastLease) {
            world.checker.leaseLeftBehind(row.truth, epoch: row.epoch)
        }
        end()
        world.after(world.random.within(500...3_000) * .millisecond) { [self] in start() }
    }
}
