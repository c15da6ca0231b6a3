import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushStore

/// Acceptance, like `BatchCommitter` and the control routes.
extension ModelGateway {
    // MARK: Accept

    /// Makes the batches durable and hands the claimed ones to dispatch.
    func accept(_ truths: [BatchGroundTruth], respond: @escaping (BatchGroundTruth.Response) -> Void) {
        if crashByChance() { return }
        pendingRequests += 1
        let reservations = truths.map { truth -> HandoffReservation? in
            guard truth.batch.lastDue <= wall else { return nil }
            return stateMachine.reserve(
                pushes: truth.batch.count, for: truth.batch.appEnvironment, lane: truth.batch.lane, now: now
            )
        }
        if simulation.bug == .ackBeforeCommit { respond(.accepted) }
        let claims = zip(truths, reservations).map { (truth: $0, claim: $1 == nil ? nil : configuration.lease) }
        simulation.store.append(
            claims, by: processLife,
            completion: inThisLife { [self] result in appended(truths, reservations, result, respond) }
        )
        pauseByChance()
    }

    func appended(
        _ truths: [BatchGroundTruth], _ reservations: [HandoffReservation?], _ result: Result<[Lease?], QueueError>,
        _ respond: (BatchGroundTruth.Response) -> Void
    ) {
        if crashByChance() { return }
        pendingRequests -= 1
        switch result {
        case .success(let leases):
            for (index, truth) in truths.enumerated() {
                if let lease = leases.indices.contains(index) ? leases[index] : nil,
                    let reservation = reservations[index]
                {
                    simulation.trace(.handedOff, number, truth.number, truth.batch.count)
                    let claimed = ClaimedBatch(lease: lease, batch: truth.batch)
                    knownLeases.insert(lease)
                    guard apply({ $0.handoffDelivered(claimed, to: reservation, now: $1, &$2) }) else { return }
                } else {
                    if let reservation = reservations[index] { stateMachine.cancel(reservation) }
                    stateMachine.notifyBacklog(of: truth.batch.appEnvironment, lane: truth.batch.lane)
                    requestClaim()
                }
            }
            if crashByChance() { return }
            simulation.trace(.accepted, number, truths[0].number)
            if simulation.bug != .ackBeforeCommit { respond(.accepted) }
        case .failure(let error):
            var isUnknown = false
            if case .unavailable(_, isOutcomeKnown: false) = error { isUnknown = true }
            for (index, truth) in truths.enumerated() {
                if let reservation = reservations[index], simulation.bug != .reservationLost {
                    stateMachine.cancel(reservation)
                }
                if isUnknown { stateMachine.notifyBacklog(of: truth.batch.appEnvironment, lane: truth.batch.lane) }
            }
            if isUnknown { requestClaim() }
            simulation.trace(isUnknown ? .unknown : .refused, number, truths[0].number)
            if simulation.bug == .ackBeforeCommit { return }
            respond(isUnknown && simulation.bug != .unknownReportedRefused ? .unknown : .refused)
        }
    }

    // MARK: Cancel and pause

    /// Cancels pushes of a batch, both in the store and in the memory of this gateway.
    ///
    /// - Parameter confirm: receives the indexes of cancelled pushes, possibly in several calls.
    func cancel(_ truth: BatchGroundTruth, _ indexes: [Int], confirm: @escaping ([Int]) -> Void) {
        simulation.store.cancel(
            indexes.map(truth.id.push),
            completion: inThisLife { [self] result in
                guard case .success(let results) = result else { return }
                confirm(zip(indexes, results).filter { $1 == .cancelled }.map { $0.0 })
                let claimed = zip(indexes, results).filter { $1 == .tooLate }.map { truth.id.push($0.0) }
                cancelInMemory(claimed, confirm: confirm)
            }
        )
    }

    /// Cancels pushes that this gateway has claimed and not sent.
    func cancelInMemory(_ ids: [PushID], confirm: @escaping ([Int]) -> Void) {
        let settlements = stateMachine.cancel(.ids(ids), now: now)
        guard !settlements.isEmpty else { return }
        simulation.store.settle(
            settlements,
            completion: inThisLife { [self] result in
                defer { apply { $0.cancelled(settlements.map(\.lease), now: $1, &$2) } }
                guard case .success(let stale) = result else {
                    for settlement in settlements { record(settlement) }
                    return
                }
                let recorded = settlements.filter { !stale.contains($0.lease) }
                if !stale.isEmpty { apply { $0.refused(stale, now: $1, &$2) } }
                apply { $0.settled(recorded.filter { $0.release.endsLease }.map(\.lease), now: $1, &$2) }
                confirm(recorded.flatMap { $0.outcomes.map { Int($0.index) } })
            }
        )
    }

    /// The app was paused or resumed in the store.
    func setPaused(_ isPaused: Bool, app: AppID) {
        deliver(after: 0) { [self] in apply { $0.setPaused(isPaused, app: app, now: $1, &$2) } }
    }
}
