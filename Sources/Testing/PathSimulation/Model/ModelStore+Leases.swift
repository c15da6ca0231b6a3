import PushModel
import PushStore

extension ModelStore {
    // MARK: Claim

    func claim(
        _ request: ClaimRequest, by life: ProcessLife,
        completion: @escaping (Result<[ClaimedBatch], QueueError>) -> Void
    ) {
        perform(.claim, { [self] in claimed(request, by: life) }, completion: completion)
    }

    private func claimed(_ request: ClaimRequest, by life: ProcessLife) -> [ClaimedBatch] {
        releaseExpired()
        var claims: [ClaimedBatch] = []
        var quarantinedLeft = request.quarantinedMax
        for lane in Lane.allCases {
            var queues = simulation.apps.indices.map { candidates(request, lane, simulation.apps[$0]) }
            // The apps take turns, and the next claim continues with the next app.
            while claims.count < request.batchesMax, queues.contains(where: { !$0.isEmpty }) {
                let turn = turns[Int(lane.rawValue)]
                turns[Int(lane.rawValue)] = (turn + 1) % queues.count
                guard !queues[turn].isEmpty else { continue }
                let row = queues[turn].removeFirst()
                let claimed = claims.reduce(0) { $0 + $1.pendingCount }
                let app = row.truth.batch.appEnvironment
                let ofApp = claims.reduce(0) { $1.batch.appEnvironment == app ? $0 + $1.pendingCount : $0 }
                if let enough = request.enough[app], ofApp >= enough {
                    queues[turn] = []
                    continue
                }
                guard row.ledger.unsettled <= request.pushesMax - claimed else { return claims }
                guard !row.isQuarantined || fitsTrial(row, request, left: quarantinedLeft) else { continue }
                guard let claim = claim(row, request, quarantinedMax: quarantinedLeft, by: life) else { continue }
                if claim.isQuarantined { quarantinedLeft = row.isIsolated ? 0 : quarantinedLeft - claim.pendingCount }
                claims.append(claim)
            }
        }
        return claims
    }

    private func fitsTrial(_ row: Row, _ request: ClaimRequest, left: Int) -> Bool {
        left > 0 && !request.excludedQuarantined.contains(row.truth.batch.appEnvironment)
            && (!row.isIsolated || left == request.quarantinedMax)
    }

    private func candidates(_ request: ClaimRequest, _ lane: Lane, _ app: AppID) -> ArraySlice<Row> {
        let isOpen =
            !request.excludedApps.contains(AppEnvironment(app))
            && !request.excludedLanes.contains(AppLane(AppEnvironment(app), lane: lane))
            && (!paused.contains(app) || simulation.bug == .pauseIgnored)
        guard isOpen else { return [] }
        return live.filter { row in
            row.truth.batch.lane == lane && row.truth.batch.app == app
                && (row.lease == nil || simulation.bug == .claimedByTwo)
                && (row.due <= wall || simulation.bug == .notBeforeIgnored)
        }[...]
    }

    private func claim(
        _ row: Row, _ request: ClaimRequest, quarantinedMax: Int, by life: ProcessLife
    ) -> ClaimedBatch? {
        let isNotBeforeIgnored = simulation.bug == .notBeforeIgnored
        // A quarantined push is claimed when it is due, so that a crash of the holder counts against the right one.
        let lookahead = row.isQuarantined ? .zero : request.lookahead
        var pending = row.ledger.pending(until: isNotBeforeIgnored ? .distantFuture : wall + lookahead)
        guard !pending.isEmpty, isNotBeforeIgnored || row.ledger.nextDue <= wall else {
            row.due = row.ledger.nextDue
            return nil
        }
        guard let batch = try? BatchCodec.decode(row.bytes) else {
            preconditionFailure("batch \(row.truth.number) cannot be read back")
        }
        let isIsolatedTrial = row.isIsolated || row.isQuarantined && request.quarantinedMax == 1
        if row.isQuarantined { pending = Array(pending.prefix(isIsolatedTrial ? 1 : quarantinedMax)) }
        let isolatedPush = isIsolatedTrial ? pending[0].index : nil
        let isFresh =
            pending.count == batch.count
            && pending.allSatisfy { $0.attempts == 0 && !$0.isUnanswered && ($0.due <= wall || isNotBeforeIgnored) }
        let lease = startLease(row, for: request.lease.ticks, by: life, isolatedPush: isolatedPush, pending: pending)
        return ClaimedBatch(
            lease: lease, batch: batch, pending: isFresh ? nil : pending, isQuarantined: row.isQuarantined)
    }

    // MARK: Renew

    func renew(
        _ leases: [Lease], for duration: Duration, completion: @escaping (Result<[Lease], QueueError>) -> Void
    ) {
        perform(
            .renew,
            { [self] in
                leases.filter { lease in
                    guard let row = rows[lease.batch], row.lease != nil, row.epoch == lease.epoch else { return true }
                    row.lease!.until = simulation.now + duration.ticks
                    return false
                }
            }, completion: completion)
    }

    func begun(_ lease: Lease) {
        guard let row = rows[lease.batch], row.epoch == lease.epoch else { return }
        row.lease?.hasBegun = true
    }

    /// Whether a push may be sent under this lease. Tolerates a holder's clock that runs 5 % slow.
    func holds(_ lease: Lease) -> Bool {
        guard let row = rows[lease.batch], row.epoch == lease.epoch, let held = row.lease else { return false }
        return simulation.now < held.until + held.duration / 20
    }

    // MARK: Settle

    func settle(_ settlements: [Settlement], completion: @escaping (Result<[Lease], QueueError>) -> Void) {
        if simulation.bug == .settleBeforeCommit {
            perform(
                .settle,
                { [self] in
                    simulation.after(200 * .millisecond) { [self] in _ = settled(settlements) }
                    confirm(settlements, stale: [])
                    return []
                }, completion: completion)
            return
        }
        perform(
            .settle,
            { [self] in
                let stale = settled(settlements)
                confirm(settlements, stale: stale)
                return stale
            }, completion: completion)
    }

    private func confirm(_ settlements: [Settlement], stale: [Lease]) {
        for settlement in settlements where !stale.contains(settlement.lease) {
            guard let row = rows[settlement.lease.batch] else { continue }
            simulation.checker.settlementConfirmed(settlement) { row.ledger.isSettled($0) }
        }
    }

    /// - Returns: the leases that are no longer valid.
    private func settled(_ settlements: [Settlement]) -> [Lease] {
        var stale: [Lease] = []
        for settlement in settlements {
            guard let row = rows[settlement.lease.batch] else { preconditionFailure("unknown batch") }
            if let number = settlement.number, row.epoch == settlement.lease.epoch {
                if number <= row.settlementNumber, simulation.bug != .verdictChanges {
                    if simulation.bug == .settlementCountedTwice { row.countedTwice += settlement.outcomes.count }
                    continue
                }
                row.settlementNumber = number
            }
            let isOwner = row.lease != nil && row.epoch == settlement.lease.epoch
            if !isOwner { stale.append(settlement.lease) }
            let ignoresFence = simulation.bug == .fencingOff || simulation.bug == .staleOutcomeOverwrites
            if isOwner || ignoresFence { settle(settlement, row, isOwner: isOwner) }
        }
        removeFinished()
        return simulation.bug == .fencingOff ? [] : stale
    }

    private func settle(_ settlement: Settlement, _ row: Row, isOwner: Bool) {
        let all = settlement.update
        var update = all
        row.ledger.record(&update)
        let isUnfiltered = simulation.bug == .verdictChanges || !isOwner && simulation.bug == .staleOutcomeOverwrites
        let applied = isUnfiltered ? all : update
        let endsOtherLease = !isOwner && row.lease != nil && settlement.release.endsLease
        if !applied.isEmpty || endsOtherLease {
            simulation.checker.applied(applied, to: row.truth, epoch: settlement.lease.epoch, isOwner: isOwner)
            row.lease?.hasUpdates = !row.isQuarantined
            if !row.isQuarantined { row.crashDeliveries = 0 }
        }
        simulation.trace(
            .settled, row.lease?.holder.gateway ?? 0, row.truth.number,
            update.outcomes.count << 16 | update.retries.count << 1 | (settlement.release.endsLease ? 1 : 0)
        )
        row.due = row.ledger.nextDue
        if case .postpone(let until) = settlement.release { row.due = max(row.due, until) }
        if settlement.release.endsLease || row.isFinished { row.lease = nil }
    }

    // MARK: Control

    func cancel(
        _ ids: [PushID], completion: @escaping (Result<[CancelResult], QueueError>) -> Void
    ) {
        perform(
            .control,
            { [self] in
                releaseExpired()
                let results = ids.map(cancelled)
                removeFinished()
                return results
            }, completion: completion)
    }

    private func cancelled(_ id: PushID) -> CancelResult {
        guard let row = rows[id.batch] else { return .unknown }
        if let verdict = row.truth.pushes[id.index].verdict { return .settled(verdict) }
        guard row.lease == nil else { return .tooLate }
        if simulation.bug == .cancelIgnored { return .cancelled }
        end([UInt16(id.index)], of: row, .cancelled, .cancelled)
        return .cancelled
    }

    func setPaused(_ isPaused: Bool, app: AppID, completion: @escaping (Result<Void, QueueError>) -> Void) {
        perform(
            .control,
            { [self] in
                if isPaused { paused.insert(app) } else { paused.remove(app) }
            }, completion: completion)
    }
}
