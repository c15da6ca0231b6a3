import APNSWire
import PushModel
import PushStore

extension DispatchStateMachine {
    /// Sends waiting batches of the app, most urgent lane first, as far as its permit, window, rate and retry budget
    /// allow. Batches that cannot be sent soon return to the store, and no attempt is counted.
    mutating func sendNext(of index: Int, now: Moment, _ actions: inout DispatchActions) {
        // Checked before the window: batches that wait for the window return to the store as well.
        if sendPermit(of: index, now: now.monotonic) == .closed { return returnWaiting(of: index, now: now, &actions) }
        while let work = buffer.nextBatch(of: index) {
            let probesMax: Int
            switch sendPermit(of: index, now: now.monotonic) {
            case .open: probesMax = .max
            case .probes(let count): probesMax = count
            case .pending, .closed: return
            }
            guard upstreams[index].hasClient else {
                retryAll(work, code: .unknownApp, after: configuration.policy.credentialPause, now: now, &actions)
                continue
            }
            guard work.leaseUntil > now.monotonic + configuration.requestTimeout else {
                // The lease may end before the answer arrives, and another instance would send the batch again.
                returnToStore(work.ticket, now: now, &actions)
                continue
            }
            guard settleExpired(work, now: now, &actions), giveUpUnanswered(work.ticket, now: now, &actions) else {
                continue
            }
            let capacity = min(
                rateCapacity(for: work.ticket, of: index, now: now, &actions),
                announceCapacity(for: work.ticket, of: index, now: now)
            )
            guard capacity > 0 else { return }
            guard narrowToBudget(work.ticket, countMax: min(probesMax, capacity), now: now, &actions) else { continue }
            send(work.ticket, isProbe: probesMax < .max, now: now, &actions)
        }
    }

    /// Settles the expired pushes of a waiting batch.
    ///
    /// - Returns: whether pushes remain.
    private mutating func settleExpired(
        _ work: DispatchBuffer.Work, now: Moment, _ actions: inout DispatchActions
    ) -> Bool {
        let deadlines = Deadlines(of: work.claimed.batch, policy: configuration.policy)
        let hasExpired: Bool
        if let pending = work.claimed.pending {
            hasExpired = pending.contains { deadlines[$0.index] <= now.wall }
        } else {
            hasExpired = (0..<UInt16(work.claimed.batch.count)).contains { deadlines[$0] <= now.wall }
        }
        // No allocation in the common case.
        guard hasExpired else { return true }
        return settleUnsent(work, as: .expired, .expired, now: now, &actions) { deadlines[$0.index] <= now.wall }
            < work.unanswered
    }

    /// Settles the at-most-once pushes of a waiting batch that an earlier owner had announced: it may have sent them.
    ///
    /// - Returns: whether pushes remain.
    private mutating func giveUpUnanswered(_ ticket: UInt64, now: Moment, _ actions: inout DispatchActions) -> Bool {
        guard let work = buffer.work(ticket), let pending = work.claimed.pending,
            pending.contains(where: \.isUnanswered)
        else { return true }
        return settleUnsent(work, as: .givenUp, .droppedUnanswered, attempts: 1, now: now, &actions) { $0.isUnanswered }
            < work.unanswered
    }

    /// Settles those pushes of a waiting batch that `isSelected` selects, without sending them.
    ///
    /// - Parameter attempts: added to the recorded attempts.
    /// - Returns: the number of settled pushes.
    @discardableResult
    mutating func settleUnsent(
        _ work: DispatchBuffer.Work, as verdict: Verdict, _ code: ErrorCode, attempts: UInt16 = 0, now: Moment,
        _ actions: inout DispatchActions, where isSelected: (PendingPush) -> Bool
    ) -> Int {
        var outcomes: [Outcome] = []
        var remaining: [PendingPush] = []
        for push in work.pending {
            if isSelected(push) {
                outcomes.append(
                    Outcome(index: push.index, verdict: verdict, code: code, attempts: push.attempts + attempts)
                )
            } else {
                remaining.append(push)
            }
        }
        guard !outcomes.isEmpty else { return 0 }
        if remaining.isEmpty {
            _ = buffer.release(work.ticket)
        } else {
            buffer.narrow(work.ticket, to: remaining)
        }
        appendSettlement(of: work, outcomes: outcomes, retries: [], isDone: remaining.isEmpty, now: now, &actions)
        return outcomes.count
    }

    /// Narrows a waiting batch to `countMax` pushes, and its retries to the app's retry budget.
    ///
    /// - Returns: false if no push may be sent now. The batch has returned to the store and is due some seconds later.
    private mutating func narrowToBudget(
        _ ticket: UInt64, countMax: Int, now: Moment, _ actions: inout DispatchActions
    ) -> Bool {
        guard let work = buffer.work(ticket) else { return false }
        // A fresh batch, the common case, has no retries.
        guard let pending = work.claimed.pending else {
            if work.unanswered > countMax { buffer.narrow(ticket, to: Array(work.pending.prefix(countMax))) }
            return true
        }
        var retries = 0
        var allowed: [PendingPush] = []
        let budget = upstreams[work.appIndex].budget.available(now: now.monotonic)
        for push in pending where push.attempts == 0 || retries < budget {
            if allowed.count == countMax { break }
            if push.attempts > 0 { retries += 1 }
            allowed.append(push)
        }
        if pending.contains(where: { $0.attempts > 0 }) { upstreams[work.appIndex].retriedAt = now.monotonic }
        guard allowed.count < pending.count else { return true }
        // Pushes cut off by `countMax` are not over budget.
        if allowed.count < countMax {
            actions.events.append(.retryBudgetExhausted(pushes: pending.count - allowed.count))
        }
        guard !allowed.isEmpty else {
            // Postponed by a random time, so that such batches do not return together. Their pushes stay unchanged.
            _ = buffer.release(ticket)
            let due = now.wall + .seconds(1 + 4 * generator.nextUnit())
            appendSettlement(of: work, outcomes: [], retries: [], release: .postpone(until: due), now: now, &actions)
            return false
        }
        buffer.narrow(ticket, to: allowed)
        return true
    }

    /// The number of pushes of a waiting batch that the app's rate allows now.
    private mutating func rateCapacity(
        for ticket: UInt64, of index: Int, now: Moment, _ actions: inout DispatchActions
    ) -> Int {
        guard upstreams[index].rate != nil, let work = buffer.work(ticket) else { return .max }
        let capacity = upstreams[index].rate!.capacity(for: work.unanswered, now: now.monotonic)
        let waits = capacity < work.unanswered
        if waits, !upstreams[index].waitsForRate { actions.events.append(.rateLimited) }
        upstreams[index].waitsForRate = waits
        return capacity
    }

    /// The number of pushes of a waiting batch that may be announced now. A crash loses announced pushes that were not
    /// sent, so few may be in flight until a recent answer shows that APNs responds. Other batches have no such limit.
    private func announceCapacity(for ticket: UInt64, of index: Int, now: Moment) -> Int {
        guard let work = buffer.work(ticket), work.isAtMostOnce else { return .max }
        let isHealthy =
            upstreams[index].lastFinalAnswerAt.map { now.monotonic - $0 < Self.healthEvidenceLifetime } ?? false
        let window = isHealthy ? buffer.limits.windowAtMostOnce : buffer.limits.windowAtMostOnceUnproven
        return max(0, window - buffer.atMostOnceInFlight(of: index))
    }

    /// How long an answer counts as evidence that APNs responds.
    private static let healthEvidenceLifetime: Duration = .seconds(2)

    private mutating func send(
        _ ticket: UInt64, isProbe: Bool, now: Moment, _ actions: inout DispatchActions
    ) {
        guard let work = buffer.work(ticket) else { return }
        buffer.markSent(ticket)
        upstreams[work.appIndex].rate?.sent(work.unanswered)
        let pending = work.claimed.pending
        let retries = pending?.count { $0.attempts > 0 } ?? 0
        upstreams[work.appIndex].budget.sentAgain(retries)
        upstreams[work.appIndex].budget.sentFirst(work.unanswered - retries, now: now.monotonic)
        upstreams[work.appIndex].stallDetector.sent(work.unanswered, now: now.monotonic)
        if isProbe { probe(ticket, of: work.appIndex, count: work.unanswered, now: now.monotonic) }
        let send = DispatchActions.Send(
            ticket: ticket, app: work.app, batch: work.claimed.batch.notifications,
            indexes: work.unanswered == work.claimed.batch.count ? nil : pending?.map(\.index),
            timeouts: timeouts(of: work, isProbe: isProbe, now: now)
        )
        switch work.claimed.batch.ambiguity {
        case .resend: actions.sends.append(send)
        case .drop: announce(send, of: work, now: now, &actions)
        }
    }

    /// How long the client may take for pushes of a batch. They are written only while the lease is certain to hold
    /// until the answer.
    private func timeouts(of work: DispatchBuffer.Work, isProbe: Bool, now: Moment) -> APNSSendTimeouts {
        // Probes decide about a breaker, and there is one trial of quarantined pushes at a time: both end soon.
        let isShort = isProbe || work.claimed.isQuarantined
        let probeTimeout = min(configuration.requestTimeout, configuration.breaker.probeTimeout)
        let answer = isShort ? probeTimeout : configuration.requestTimeout
        return APNSSendTimeouts(
            wait: min(isShort ? probeTimeout : Self.waitMax, work.leaseUntil - now.monotonic - answer), answer: answer
        )
    }

    /// How long pushes wait for a connection.
    private static let waitMax: Duration = .seconds(10)

    // MARK: Returning to the store

    /// Returns a waiting batch to the store unchanged.
    mutating func returnToStore(_ ticket: UInt64, now: Moment, _ actions: inout DispatchActions) {
        guard let work = buffer.release(ticket) else { return }
        appendSettlement(of: work, outcomes: [], retries: [], isDone: true, now: now, &actions)
    }

    /// Returns the waiting batches that `isWanted` selects.
    mutating func returnWaiting(
        now: Moment, _ actions: inout DispatchActions, where isWanted: (DispatchBuffer.Work) -> Bool
    ) {
        for ticket in buffer.waiting(where: isWanted) { returnToStore(ticket, now: now, &actions) }
    }

    /// Returns all waiting batches of an app.
    mutating func returnWaiting(of index: Int, now: Moment, _ actions: inout DispatchActions) {
        guard buffer.pushesWaiting(of: index) > 0 else { return }
        returnWaiting(now: now, &actions) { $0.appIndex == index }
        buffer.assumeBacklog(of: index)
    }

    /// Returns a waiting batch to the store, due after `pause`.
    private mutating func retryAll(
        _ work: DispatchBuffer.Work, code: ErrorCode, after pause: Duration, now: Moment,
        _ actions: inout DispatchActions
    ) {
        guard let work = buffer.release(work.ticket) else { return }
        let due = now.wall + pause
        let retries = work.pending.map { Retry(index: $0.index, code: code, attempts: $0.attempts, due: due) }
        appendSettlement(of: work, outcomes: [], retries: retries, isDone: true, now: now, &actions)
    }

    /// Appends a settlement of the batch to the actions.
    ///
    /// - Parameter isDone: whether it is the last one under this lease.
    func appendSettlement(
        of work: DispatchBuffer.Work, outcomes: [Outcome], retries: [Retry], isDone: Bool, now: Moment,
        _ actions: inout DispatchActions
    ) {
        appendSettlement(
            of: work, outcomes: outcomes, retries: retries, release: isDone ? .release : .keep, now: now, &actions
        )
    }

    private func appendSettlement(
        of work: DispatchBuffer.Work, outcomes: [Outcome], retries: [Retry], release: Settlement.Release,
        now: Moment, _ actions: inout DispatchActions
    ) {
        actions.settlements.append(
            DispatchActions.SettlementWrite(
                settlement: Settlement(
                    lease: work.claimed.lease, outcomes: outcomes, retries: retries, release: release, at: now.wall
                ),
                acceptedAt: work.claimed.batch.acceptedAt
            )
        )
    }
}
