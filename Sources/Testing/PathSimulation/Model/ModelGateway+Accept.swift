import APNSWire
import PushDispatch
import PushModel
import PushOutcome
import PushStore

/// Accept: what `BatchCommitter` and the control routes do.
extension ModelGateway {
    // MARK: Accept

    /// Makes the batches durable and hands over what was claimed with the write.
    func accept(_ truths: [BatchGroundTruth], answer: @escaping (BatchGroundTruth.Answer) -> Void) {
        if diesHere() { return }
        requestsUnderWay += 1
        let rooms = truths.map { truth -> HandoffReservation? in
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

    func appended(
        _ truths: [BatchGroundTruth], _ rooms: [HandoffReservation?], _ result: Result<[Lease?], QueueError>,
        _ answer: (BatchGroundTruth.Answer) -> Void
    ) {
        if diesHere() { return }
        requestsUnderWay -= 1
        switch result {
        case .success(let leases):
            for (index, truth) in truths.enumerated() {
                if let lease = leases.indices.contains(index) ? leases[index] : nil, let capacity = rooms[index] {
                    world.trace(.handedOver, number, truth.number, truth.batch.count)
                    let claimed = ClaimedBatch(lease: lease, batch: truth.batch)
                    knownLeases.insert(lease)
                    guard tell({ $0.handedOver(claimed, to: capacity, now: $1, &$2) }) else { return }
                } else {
                    if let capacity = rooms[index] { core.cancel(capacity) }
                    core.notifyBacklog(of: truth.batch.app, lane: truth.batch.lane)
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
                if let capacity = rooms[index], world.bug != .reservationLost { core.cancel(capacity) }
                if isUnknown { core.notifyBacklog(of: truth.batch.app, lane: truth.batch.lane) }
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
    func cancel(_ truth: BatchGroundTruth, _ indexes: [Int], acknowledge: @escaping ([Int]) -> Void) {
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

    func cancelInMemory(_ ids: [PushID], acknowledge: @escaping ([Int]) -> Void) {
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
                tell { $0.settled(taken.filter { $0.release.isEnd }.map(\.lease), &$2) }
                acknowledge(taken.flatMap { $0.outcomes.map { Int($0.index) } })
            }
        )
    }

    /// The app was paused or resumed in the store; what waits in memory follows.
    func setPaused(_ isPaused: Bool, app: AppID) {
        deliver(after: 0) { [self] in tell { $0.setPaused(isPaused, app: app, now: $1, &$2) } }
    }
}
