import PushModel
import PushStore

extension DispatchStateMachine {
    /// Hands over what the app's gates and its window have room for. What may not go for some time goes back to the store,
    /// without an attempt being counted.
    mutating func sendNext(of index: Int, now: Moment, _ effects: inout DispatchActions) {
        // Asked before the window is looked at: what waits for it must go back, too.
        if admission(of: index, now: now.monotonic) == .shut { return giveBackWaiting(of: index, now: now, &effects) }
        while let work = machine.first(of: index) {
            let probesMax: Int
            switch admission(of: index, now: now.monotonic) {
            case .open: probesMax = .max
            case .probes(let count): probesMax = count
            case .wait, .shut: return
            }
            guard gates[index].isKnown else {
                retryAll(work, code: .unknownApp, after: configuration.policy.credentialPause, now: now, &effects)
                continue
            }
            guard work.leaseUntil > now.monotonic + configuration.requestTimeout else {
                // Too little of the lease is left to wait for an answer: somebody may own the batch by then.
                giveBack(work.ticket, now: now, &effects)
                continue
            }
            guard isAlive(work, now: now, &effects), dropUnanswered(work.ticket, now: now, &effects) else { continue }
            let capacity = min(
                rateCapacity(for: work.ticket, of: index, now: now, &effects),
                announceCapacity(for: work.ticket, of: index, now: now)
            )
            guard capacity > 0 else { return }
            guard narrowToBudget(work.ticket, countMax: min(probesMax, capacity), now: now, &effects) else { continue }
            send(work.ticket, isProbe: probesMax < .max, now: now, &effects)
        }
    }

    /// Settles the pushes whose time is over.
    ///
    /// - Returns: false when none is left.
    private mutating func isAlive(
        _ work: DispatchBuffer.Work, now: Moment, _ effects: inout DispatchActions
    ) -> Bool {
        let deadlines = Deadlines(of: work.claimed.batch, policy: configuration.policy)
        let hasExpired: Bool
        if let pending = work.claimed.pending {
            hasExpired = pending.contains { deadlines[$0.index] <= now.wall }
        } else {
            hasExpired = (0..<UInt16(work.claimed.batch.count)).contains { deadlines[$0] <= now.wall }
        }
        // The common case costs one look at each push.
        guard hasExpired else { return true }
        return end(work, with: .expired, .expired, now: now, &effects) { deadlines[$0.index] <= now.wall }
            < work.unanswered
    }

    /// Settles the pushes that an earlier holder was about to send, or has sent, and that must not be sent twice.
    ///
    /// - Returns: false when none is left.
    private mutating func dropUnanswered(_ ticket: UInt64, now: Moment, _ effects: inout DispatchActions) -> Bool {
        guard let work = machine.work(ticket), let pending = work.claimed.pending,
            pending.contains(where: \.isUnanswered)
        else { return true }
        return end(work, with: .givenUp, .droppedUnanswered, attempts: 1, now: now, &effects) { $0.isUnanswered }
            < work.unanswered
    }

    /// Ends those pushes of a waiting batch that `isOver` picks.
    ///
    /// - Parameter attempts: to be added to those on record.
    /// - Returns: how many.
    @discardableResult
    mutating func end(
        _ work: DispatchBuffer.Work, with verdict: Verdict, _ code: ErrorCode, attempts: UInt16 = 0, now: Moment,
        _ effects: inout DispatchActions, where isOver: (PendingPush) -> Bool
    ) -> Int {
        var outcomes: [Outcome] = []
        var left: [PendingPush] = []
        for push in work.pending {
            if isOver(push) {
                outcomes.append(
                    Outcome(index: push.index, verdict: verdict, code: code, attempts: push.attempts + attempts)
                )
            } else {
                left.append(push)
            }
        }
        guard !outcomes.isEmpty else { return 0 }
        if left.isEmpty {
            _ = machine.release(work.ticket)
        } else {
            machine.narrow(work.ticket, to: left)
        }
        tell(work, outcomes: outcomes, retries: [], isDone: left.isEmpty, now: now, &effects)
        return outcomes.count
    }

    /// Narrows a batch to what probes and the app's rate let go, and to what the retry budget lets be sent again.
    ///
    /// - Returns: false when nothing of it may go now; it is given back then, to come again later.
    private mutating func narrowToBudget(
        _ ticket: UInt64, countMax: Int, now: Moment, _ effects: inout DispatchActions
    ) -> Bool {
        guard let work = machine.work(ticket) else { return false }
        // Never tried, the common case: there is nothing to send again.
        guard let pending = work.claimed.pending else {
            if work.unanswered > countMax { machine.narrow(ticket, to: Array(work.pending.prefix(countMax))) }
            return true
        }
        var again = 0
        var allowed: [PendingPush] = []
        let budget = gates[work.appIndex].budget.available(now: now.monotonic)
        for push in pending where push.attempts == 0 || again < budget {
            if allowed.count == countMax { break }
            if push.attempts > 0 { again += 1 }
            allowed.append(push)
        }
        if pending.contains(where: { $0.attempts > 0 }) { gates[work.appIndex].retriedAt = now.monotonic }
        guard allowed.count < pending.count else { return true }
        // Of what probes and rate leave behind, the budget says nothing.
        if allowed.count < countMax {
            effects.events.append(.overBudget(pushes: pending.count - allowed.count))
        }
        guard !allowed.isEmpty else {
            // Later, and not all of them at the same moment. They wait in the store as they are and do not die of it.
            _ = machine.release(ticket)
            let due = now.wall + .seconds(1 + 4 * generator.draw())
            tell(work, outcomes: [], retries: [], release: .postpone(until: due), now: now, &effects)
            return false
        }
        machine.narrow(ticket, to: allowed)
        return true
    }

    /// How many pushes of a waiting batch the app's rate lets go now; 0: none yet.
    private mutating func rateCapacity(
        for ticket: UInt64, of index: Int, now: Moment, _ effects: inout DispatchActions
    ) -> Int {
        guard gates[index].rate != nil, let work = machine.work(ticket) else { return .max }
        let capacity = gates[index].rate!.capacity(for: work.unanswered, now: now.monotonic)
        let waits = capacity < work.unanswered
        if waits, !gates[index].waitsForRate { effects.events.append(.rateWait) }
        gates[index].waitsForRate = waits
        return capacity
    }

    /// How many pushes of a waiting batch may be announced now; all, unless they are dropped when unanswered: what was
    /// announced and not sent is lost in a crash.
    private func announceCapacity(for ticket: UInt64, of index: Int, now: Moment) -> Int {
        guard let work = machine.work(ticket), work.isOnce else { return .max }
        let isProven = gates[index].judgedAt.map { now.monotonic - $0 < Self.proofLasts } ?? false
        let window = isProven ? machine.limits.windowOnce : machine.limits.windowOnceUnproven
        return max(0, window - machine.pushesOnce(of: index))
    }

    /// How long an answer shows that APNs is well.
    private static let proofLasts: Duration = .seconds(2)

    private mutating func send(
        _ ticket: UInt64, isProbe: Bool, now: Moment, _ effects: inout DispatchActions
    ) {
        guard let work = machine.work(ticket) else { return }
        machine.sent(ticket)
        gates[work.appIndex].rate?.sent(work.unanswered)
        let pending = work.claimed.pending
        let again = pending?.count { $0.attempts > 0 } ?? 0
        gates[work.appIndex].budget.sentAgain(again)
        gates[work.appIndex].budget.sentFirst(work.unanswered - again, now: now.monotonic)
        gates[work.appIndex].watch.sent(work.unanswered, now: now.monotonic)
        if isProbe { probe(ticket, of: work.appIndex, count: work.unanswered, now: now.monotonic) }
        let send = DispatchActions.Send(
            ticket: ticket, app: work.app, batch: work.claimed.batch.notifications,
            indexes: work.unanswered == work.claimed.batch.count ? nil : pending?.map(\.index),
            // Suspects of all apps stand in one line: nobody may hold it up for long.
            deadline: isProbe || work.claimed.isQuarantined
                ? min(configuration.requestTimeout, configuration.breaker.probeTimeout)
                : configuration.requestTimeout
        )
        switch work.claimed.batch.ambiguity {
        case .resend: effects.sends.append(send)
        case .drop: announce(send, of: work, now: now, &effects)
        }
    }

    // MARK: Giving back

    /// A batch that waits goes back to the store as it came.
    mutating func giveBack(_ ticket: UInt64, now: Moment, _ effects: inout DispatchActions) {
        guard let work = machine.release(ticket) else { return }
        tell(work, outcomes: [], retries: [], isDone: true, now: now, &effects)
    }

    mutating func giveBackWaiting(
        now: Moment, _ effects: inout DispatchActions, where isWanted: (DispatchBuffer.Work) -> Bool
    ) {
        for ticket in machine.waiting(where: isWanted) { giveBack(ticket, now: now, &effects) }
    }

    mutating func giveBackWaiting(of index: Int, now: Moment, _ effects: inout DispatchActions) {
        guard machine.pushesWaiting(of: index) > 0 else { return }
        giveBackWaiting(now: now, &effects) { $0.appIndex == index }
        machine.backlogUnknown(of: index)
    }

    /// A batch that waits goes back to the store and is not due before `pause` is over.
    private mutating func retryAll(
        _ work: DispatchBuffer.Work, code: ErrorCode, after pause: Duration, now: Moment,
        _ effects: inout DispatchActions
    ) {
        guard let work = machine.release(work.ticket) else { return }
        let due = now.wall + pause
        let retries = work.pending.map { Retry(index: $0.index, code: code, attempts: $0.attempts, due: due) }
        tell(work, outcomes: [], retries: retries, isDone: true, now: now, &effects)
    }

    /// News of a batch for the store.
    func tell(
        _ work: DispatchBuffer.Work, outcomes: [Outcome], retries: [Retry], isDone: Bool, now: Moment,
        _ effects: inout DispatchActions
    ) {
        tell(
            work, outcomes: outcomes, retries: retries, release: isDone ? .release : .keep, now: now, &effects
        )
    }

    private func tell(
        _ work: DispatchBuffer.Work, outcomes: [Outcome], retries: [Retry], release: Settlement.Release,
        now: Moment, _ effects: inout DispatchActions
    ) {
        effects.news.append(
            DispatchActions.News(
                settlement: Settlement(
                    lease: work.claimed.lease, outcomes: outcomes, retries: retries,
                    release: release, at: now.wall
                ), acceptedAt: work.claimed.batch.acceptedAt
            )
        )
    }
}
