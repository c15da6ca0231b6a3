import Foundation
import PushModel
import PushStore

/// A model of a store with the contract of `DurableQueue`, in virtual time.
///
/// The changes of a transaction become visible and durable at the same instant, its commit. A crash before the commit
/// loses the whole transaction, a crash after it only the response.
final class ModelStore {
    struct HeldLease {
        var holder: ProcessLife
        var until: Ticks
        var duration: Ticks
        /// The push, if the lease covers an isolated one.
        var isolatedPush: UInt16?
        var hasUpdates = false
        var hasBegun = false
        /// The response of its claim was lost, for `PlantedBug.claimLeaked`.
        var isLeaked = false
    }

    final class Row {
        let truth: BatchGroundTruth
        /// The stored form, as a backend has it on disk.
        let bytes: Data
        var ledger: BatchLedger
        var epoch: UInt64 = 0
        /// The number of the last settlement of the epoch.
        var settlementNumber: UInt64 = 0
        /// Pushes that were counted twice, for `PlantedBug.settlementCountedTwice`.
        var countedTwice = 0
        var lease: HeldLease? { didSet { waitingSince = nil } }
        /// Since when the audit has seen that it waits.
        var waitingSince: Ticks?
        /// When the first unsettled push is due.
        var due: WallTime
        var crashDeliveries = 0

        init(_ truth: BatchGroundTruth) {
            self.truth = truth
            bytes = BatchCodec.encode(truth.batch)
            due = truth.batch.firstDue
            ledger = BatchLedger(
                count: truth.batch.count, acceptedAt: truth.batch.acceptedAt, dueTimes: truth.batch.dueTimes
            )
        }

        /// The latest lease, which may have ended.
        var lastLease: Lease { Lease(batch: truth.id, epoch: epoch) }
        var isFinished: Bool { ledger.unsettled <= countedTwice }
        var isQuarantined: Bool { crashDeliveries >= PoisonLimits.redeliveriesBeforeQuarantine }
        var isIsolated: Bool { crashDeliveries > PoisonLimits.redeliveriesBeforeQuarantine }
    }

    unowned let simulation: Simulation
    /// In the order of their commits.
    var live: [Row] = []
    var rows: [BatchID: Row] = [:]
    /// Since when the queue is empty; nil if it is not.
    private(set) var emptySince: Ticks? = 0
    var paused: Set<AppID> = []
    /// The index of the first app in the next claim, by lane.
    var turns: [Int]
    /// Transactions of an earlier generation are lost.
    private var generation = 0
    private var downUntil: Ticks = 0
    /// The running transaction is committed, and its caller does not receive the response.
    private var isResponseLost = false
    /// When the store responded again after its last outage.
    private var recoveredAt: Ticks?
    /// Periods in which calls failed or were slow.
    let outages = OutageLog()

    init(simulation: Simulation) {
        self.simulation = simulation
        turns = Array(repeating: 0, count: Lane.allCases.count)
    }

    // MARK: Transactions

    enum Kind {
        case append, claim, renew, settle, control

        var isWrite: Bool { self != .renew }
        var needsDiskSpace: Bool { self == .append || self == .settle }
    }

    private enum Fate {
        case done, replyLost, lost, full
    }

    /// Runs `transaction` after a latency, unless a fault prevents it, and reports the result to `completion`.
    func perform<Value>(
        _ kind: Kind, _ transaction: @escaping () -> Value, completion: @escaping (Result<Value, QueueError>) -> Void
    ) {
        let generation = generation
        var delay = simulation.random.around(simulation.plan.storeDelay)
        if simulation.isActive(.storeSlow) {
            delay += simulation.random.within(50...3_000) * .millisecond
            outages.add(simulation.now...simulation.now + delay)
        }
        let fate = sampleFate(of: kind)
        if fate != .done { outages.add(simulation.now...simulation.now + delay) }
        simulation.after(delay) { [self] in
            if generation != self.generation {
                // The machine lost power during the transaction. The caller's connection times out.
                simulation.after(500 * .millisecond) {
                    completion(.failure(.unavailable("power cut", isOutcomeKnown: false)))
                }
                return
            }
            if simulation.now < downUntil || simulation.isActive(.storeOutage) {
                outages.add(simulation.now - delay...simulation.now)
                recoveredAt = nil
                completion(.failure(.unavailable("down", isOutcomeKnown: true)))
                return
            }
            recoveredAt = recoveredAt ?? simulation.now
            switch fate {
            case .full: completion(.failure(.full("disk full")))
            case .lost: completion(.failure(.unavailable("no response", isOutcomeKnown: false)))
            case .replyLost:
                isResponseLost = true
                _ = transaction()
                isResponseLost = false
                completion(.failure(.unavailable("no response", isOutcomeKnown: false)))
            case .done: completion(.success(transaction()))
            }
        }
    }

    /// Decides at random how a call ends.
    private func sampleFate(of kind: Kind) -> Fate {
        if kind.needsDiskSpace, simulation.isActive(.storeFull) {
            simulation.trace(.storeFault, 0, 1)
            return .full
        }
        guard simulation.sampleFault(.storeLostReply, 0.04), kind.isWrite else { return .done }
        simulation.trace(.storeFault, 0, 2)
        return simulation.random.chance(0.7) ? .replyLost : .lost
    }

    /// Loses all uncommitted transactions.
    func crash(down: Ticks) {
        generation += 1
        downUntil = simulation.now + down
        outages.add(simulation.now...downUntil)
    }

    func heal() { downUntil = 0 }

    /// The wall time that `not_before` and due times are compared with.
    var wall: WallTime { simulation.plan.isEmbedded ? simulation.gateways[0].wall : simulation.wall }

    // MARK: Append

    func append(
        _ batches: [(truth: BatchGroundTruth, claim: Duration?)], by life: ProcessLife,
        completion: @escaping (Result<[Lease?], QueueError>) -> Void
    ) {
        let batches = simulation.bug == .requestWrittenPartly ? Array(batches.prefix(1)) : batches
        let all = batches.count
        perform(
            .append,
            { [self] in
                let leases = batches.map { commit($0.truth, claim: $0.claim, by: life) }
                return leases + Array(repeating: nil, count: max(0, all - leases.count))
            }, completion: completion)
    }

    private func commit(_ truth: BatchGroundTruth, claim: Duration?, by life: ProcessLife) -> Lease? {
        let row = Row(truth)
        live.append(row)
        emptySince = nil
        rows[truth.id] = row
        simulation.checker.committed(truth)
        simulation.trace(.committed, 0, truth.number, truth.batch.count)
        guard let claim, truth.batch.lastDue <= wall, !paused.contains(truth.batch.app) else { return nil }
        return startLease(row, for: claim.ticks, by: life, isolatedPush: nil)
    }

    /// Starts a lease.
    func startLease(
        _ row: Row, for duration: Ticks, by life: ProcessLife, isolatedPush: UInt16?, pending: [PendingPush]? = nil
    )
        -> Lease
    {
        let heldUntil = row.lease?.until
        if simulation.bug != .epochReused || row.epoch == 0 { row.epoch += 1 }
        row.settlementNumber = 0
        row.lease = HeldLease(
            holder: life, until: simulation.now + duration, duration: duration, isolatedPush: isolatedPush,
            isLeaked: isResponseLost && simulation.bug == .claimLeaked)
        simulation.checker.claimed(
            row.truth, epoch: row.epoch, indexes: pending, heldUntil: heldUntil, storeWall: wall
        )
        simulation.trace(.claimed, life.gateway, row.truth.number, Int(row.epoch))
        return Lease(batch: row.truth.id, epoch: row.epoch)
    }

    // MARK: End of leases

    func releaseExpired() {
        for row in live {
            guard let lease = row.lease, hasExpired(lease) else { continue }
            if simulation.hadTimeToRenew(row.lastLease, lease) {
                simulation.checker.leaseExpiredWithoutCause(row.truth, epoch: row.epoch)
            }
            leaseEnded(row)
        }
        removeFinished()
    }

    private func hasExpired(_ lease: HeldLease) -> Bool {
        if lease.isLeaked { return false }
        if simulation.bug == .takeoverAfterOutage, let recoveredAt, simulation.now - recoveredAt < .second,
            recoveredAt > 0
        {
            return true
        }
        return lease.until <= simulation.now
    }

    /// Ends all leases: the only process of an embedded store has ended.
    func releaseAll() {
        for row in live where row.lease != nil { leaseEnded(row) }
        removeFinished()
    }

    /// A lease ends without a release by its holder.
    private func leaseEnded(_ row: Row) {
        guard let lease = row.lease else { return }
        row.lease = nil
        simulation.trace(.leaseEnded, lease.holder.gateway, row.truth.number, Int(row.epoch))
        if lease.hasBegun { row.truth.crashes += 1 }
        guard lease.hasBegun || simulation.bug == .unbegunCounted, !lease.hasUpdates else { return }
        row.crashDeliveries += 1
        if let isolatedPush = lease.isolatedPush {
            row.truth.pushes[Int(isolatedPush)].isolatedCrashes += 1
            if row.truth.pushes[Int(isolatedPush)].isolatedCrashes >= PoisonLimits.isolatedRedeliveriesMax {
                giveUp([isolatedPush], of: row)
            }
        } else if simulation.bug == .poisonGivesUpBatch, row.isQuarantined {
            giveUp((0..<UInt16(row.ledger.count)).filter { !row.ledger.isSettled(Int($0)) }, of: row)
        }
    }

    /// Settles waiting pushes whose time is over.
    func expire() {
        guard simulation.bug != .expiredLate, live.contains(where: { !expired($0).isEmpty }) else { return }
        perform(
            .control,
            { [self] in
                for row in live {
                    for push in expired(row) {
                        end([push.index], of: row, .expired, push.code == .none ? .expired : push.code)
                    }
                }
                removeFinished()
            }, completion: { _ in })
    }

    private func expired(_ row: Row) -> [PendingPush] {
        guard row.lease == nil, row.truth.expires else { return [] }
        return row.ledger.pending(until: .distantFuture).filter { push in
            row.truth.deadline(of: push.index).map { $0 <= wall } ?? false
        }
    }

    private func giveUp(_ indexes: [UInt16], of row: Row) {
        end(indexes, of: row, .givenUp, .poison)
    }

    /// Settles pushes by a decision of the store.
    func end(_ indexes: [UInt16], of row: Row, _ verdict: Verdict, _ code: ErrorCode) {
        let attempts = Dictionary(
            row.ledger.pending(until: .distantFuture).map { ($0.index, $0.attempts) },
            uniquingKeysWith: { first, _ in first }
        )
        var update = BatchUpdate(at: wall)
        for index in indexes {
            update.outcomes.append(Outcome(index: index, verdict: verdict, code: code, attempts: attempts[index] ?? 0))
        }
        row.ledger.record(&update)
        for outcome in update.outcomes { simulation.checker.end(outcome, row.truth) }
        row.due = row.ledger.nextDue
    }

    func removeFinished() {
        live.removeAll(where: \.isFinished)
        emptySince = live.isEmpty ? emptySince ?? simulation.now : nil
    }
}
