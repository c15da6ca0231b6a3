import PushModel
import PushStore

extension ModelStore {
    // MARK: Claim

    func claim(
        _ request: ClaimRequest, by life: ProcessLife, answer: @escaping (Result<[ClaimedBatch], QueueError>) -> Void
    ) {
        perform(.claim, { [self] in claimed(request, by: life) }, answer: answer)
    }

    private func claimed(_ request: ClaimRequest, by life: ProcessLife) -> [ClaimedBatch] {
        releaseExpired()
        var claims: [ClaimedBatch] = []
        var quarantinedLeft = request.quarantinedMax
        for lane in Lane.allCases {
            var queues = world.apps.indices.map { candidates(request, lane, world.apps[$0]) }
            // The apps take turns, and who is first in the next claim is who would have been next in this one.
            while claims.count < request.batchesMax, queues.contains(where: { !$0.isEmpty }) {
                let turn = turns[Int(lane.rawValue)]
                turns[Int(lane.rawValue)] = (turn + 1) % queues.count
                guard !queues[turn].isEmpty else { continue }
                let row = queues[turn].removeFirst()
                guard !row.isQuarantined || mayTry(row, request, left: quarantinedLeft) else { continue }
                guard let claim = claim(row, request, quarantinedMax: quarantinedLeft, by: life) else { continue }
                if claim.isQuarantined { quarantinedLeft = row.isTriedAlone ? 0 : quarantinedLeft - claim.pendingCount }
                claims.append(claim)
            }
        }
        return claims
    }

    private func mayTry(_ row: Row, _ request: ClaimRequest, left: Int) -> Bool {
        left > 0 && !request.excludedQuarantined.contains(row.truth.batch.app)
            && (!row.isTriedAlone || left == request.quarantinedMax)
    }

    private func candidates(_ request: ClaimRequest, _ lane: Lane, _ app: AppID) -> ArraySlice<Row> {
        let isOpen =
            !request.excludedApps.contains(app)
            && !request.excludedLanes.contains(AppLane(app: app, lane: lane))
            && (!paused.contains(app) || world.bug == .pauseIgnored)
        guard isOpen else { return [] }
        return live.filter { row in
            row.truth.batch.lane == lane && row.truth.batch.app == app
                && (row.lease == nil || world.bug == .claimedByTwo)
                && (row.due <= wall || world.bug == .notBeforeIgnored)
        }[...]
    }

    private func claim(
        _ row: Row, _ request: ClaimRequest, quarantinedMax: Int, by life: ProcessLife
    ) -> ClaimedBatch? {
        var pending = row.ledger.pending(at: world.bug == .notBeforeIgnored ? .distantFuture : wall)
        guard !pending.isEmpty else {
            row.due = row.ledger.nextDue
            return nil
        }
        guard let batch = try? BatchCodec.decode(row.bytes) else {
            preconditionFailure("batch \(row.truth.number) cannot be read back")
        }
        let isAlone = row.isTriedAlone || row.isQuarantined && request.quarantinedMax == 1
        if row.isQuarantined { pending = Array(pending.prefix(isAlone ? 1 : quarantinedMax)) }
        let alone = isAlone ? pending[0].index : nil
        let isFresh = pending.count == batch.count && pending.allSatisfy { $0.attempts == 0 && !$0.isUnanswered }
        let lease = take(row, for: request.lease.ticks, by: life, alone: alone, pending: pending)
        return ClaimedBatch(
            lease: lease, batch: batch, pending: isFresh ? nil : pending, isQuarantined: row.isQuarantined)
    }

    // MARK: Renew

    func renew(
        _ leases: [Lease], for duration: Duration, answer: @escaping (Result<[Lease], QueueError>) -> Void
    ) {
        perform(
            .renew,
            { [self] in
                leases.filter { lease in
                    guard let row = rows[lease.batch], row.lease != nil, row.epoch == lease.epoch else { return true }
                    row.lease!.until = world.now + duration.ticks
                    return false
                }
            }, answer: answer)
    }

    /// Whether a request may go out under this lease. A holder's clock may run 5 % slow; that much is forgiven.
    func holds(_ lease: Lease) -> Bool {
        guard let row = rows[lease.batch], row.epoch == lease.epoch, let held = row.lease else { return false }
        return world.now < held.until + held.duration / 20
    }

    // MARK: Settle

    func settle(_ settlements: [Settlement], answer: @escaping (Result<[Lease], QueueError>) -> Void) {
        if world.bug == .settleBeforeCommit {
            perform(
                .settle,
                { [self] in
                    world.after(200 * .millisecond) { [self] in _ = settled(settlements) }
                    acknowledge(settlements, stale: [])
                    return []
                }, answer: answer)
            return
        }
        perform(
            .settle,
            { [self] in
                let stale = settled(settlements)
                acknowledge(settlements, stale: stale)
                return stale
            }, answer: answer)
    }

    private func acknowledge(_ settlements: [Settlement], stale: [Lease]) {
        for settlement in settlements where !stale.contains(settlement.lease) {
            guard let row = rows[settlement.lease.batch] else { continue }
            world.checker.settlementAcknowledged(settlement) { row.ledger.isSettled($0) }
        }
    }

    /// - Returns: the leases that are not valid any more.
    private func settled(_ settlements: [Settlement]) -> [Lease] {
        var stale: [Lease] = []
        for settlement in settlements {
            guard let row = rows[settlement.lease.batch] else { preconditionFailure("a settlement of no batch") }
            let isOwner = row.lease != nil && row.epoch == settlement.lease.epoch
            if !isOwner { stale.append(settlement.lease) }
            let isTaken = world.bug == .fencingOff || world.bug == .staleOutcomeOverwrites
            if isOwner || isTaken { settle(settlement, row, isOwner: isOwner) }
        }
        forgetFinished()
        return world.bug == .fencingOff ? [] : stale
    }

    private func settle(_ settlement: Settlement, _ row: Row, isOwner: Bool) {
        var news = BatchUpdate(
            at: settlement.at, outcomes: settlement.outcomes, retries: settlement.retries, sends: settlement.sends
        )
        let all = news
        row.ledger.record(&news)
        let isUnfiltered = world.bug == .verdictChanges || !isOwner && world.bug == .staleOutcomeOverwrites
        let applied = isUnfiltered ? all : news
        if !applied.isEmpty {
            world.checker.applied(applied, to: row.truth, epoch: settlement.lease.epoch, isOwner: isOwner)
            row.lease?.hasUpdates = !row.isQuarantined
            if !row.isQuarantined { row.crashDeliveries = 0 }
        }
        world.trace(
            .settled, row.lease?.holder.gateway ?? 0, row.truth.number,
            news.outcomes.count << 16 | news.retries.count << 1 | (settlement.release.isEnd ? 1 : 0)
        )
        row.due = row.ledger.nextDue
        if case .postpone(let until) = settlement.release { row.due = max(row.due, until) }
        if settlement.release.isEnd || row.ledger.isFinished { row.lease = nil }
    }

    // MARK: Control

    func cancel(
        _ ids: [PushID], answer: @escaping (Result<[CancelResult], QueueError>) -> Void
    ) {
        perform(
            .control,
            { [self] in
                releaseExpired()
                let results = ids.map(cancelled)
                forgetFinished()
                return results
            }, answer: answer)
    }

    private func cancelled(_ id: PushID) -> CancelResult {
        guard let row = rows[id.batch] else { return .unknown }
        if let verdict = row.truth.pushes[id.index].verdict { return .settled(verdict) }
        guard row.lease == nil else { return .tooLate }
        if world.bug == .cancelForgotten { return .cancelled }
        end([UInt16(id.index)], of: row, .cancelled, .cancelled)
        return .cancelled
    }

    func setPaused(_ isPaused: Bool, app: AppID, answer: @escaping (Result<Void, QueueError>) -> Void) {
        perform(
            .control,
            { [self] in
                if isPaused { paused.insert(app) } else { paused.remove(app) }
            }, answer: answer)
    }
}
