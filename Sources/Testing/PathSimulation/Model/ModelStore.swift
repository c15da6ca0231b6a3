import Foundation
import PushModel
import PushStore

/// A queue that keeps to the contract of `DurableQueue`, in memory and in virtual time.
///
/// What a transaction changes becomes visible and durable in the same instant, its commit. A crash before it leaves
/// nothing, a crash after it takes at most the answer.
final class ModelStore {
    struct Held {
        var holder: ProcessLife
        var until: Ticks
        var duration: Ticks
        /// The push that was handed out alone.
        var alone: UInt16?
        var hasUpdates = false
    }

    final class Row {
        let truth: BatchGroundTruth
        /// What a backend would have on its disk.
        let bytes: Data
        var ledger: BatchLedger
        var epoch: UInt64 = 0
        var lease: Held?
        /// When the first of the unsettled pushes is due.
        var due: WallTime
        var crashDeliveries = 0

        init(_ truth: BatchGroundTruth) {
            self.truth = truth
            bytes = BatchCodec.encode(truth.batch)
            due = truth.batch.notBefore ?? truth.batch.acceptedAt
            ledger = BatchLedger(count: truth.batch.count, firstDue: due)
        }

        /// The last lease that was given out.
        var lastLease: Lease { Lease(batch: truth.id, epoch: epoch) }
        var isQuarantined: Bool { crashDeliveries >= PoisonLimits.redeliveriesBeforeQuarantine }
        var isTriedAlone: Bool { crashDeliveries > PoisonLimits.redeliveriesBeforeQuarantine }
    }

    unowned let world: World
    /// In the order of their commits.
    var live: [Row] = []
    var rows: [BatchID: Row] = [:]
    /// Since when nothing waits; nil when something does.
    private(set) var emptySince: Ticks? = 0
    var paused: Set<AppID> = []
    /// The app that is first in the next claim of a lane.
    var turns: [Int]
    /// Transactions of an earlier generation are lost.
    private var generation = 0
    private var downUntil: Ticks = 0
    /// When it did not do, or not answer in time, what it was asked.
    let outages = OutageLog()

    init(world: World) {
        self.world = world
        turns = Array(repeating: 0, count: Lane.allCases.count)
    }

    // MARK: Transactions

    enum Kind {
        case append, claim, renew, settle, control

        var isWrite: Bool { self != .renew }
        var needsCapacity: Bool { self == .append || self == .settle }
    }

    private enum Fate {
        case done, answerLost, lost, full
    }

    /// Runs `transaction` after a while, unless a fault stands in its way, and tells `answer` what came of it.
    func perform<Value>(
        _ kind: Kind, _ transaction: @escaping () -> Value, answer: @escaping (Result<Value, QueueError>) -> Void
    ) {
        let generation = generation
        var delay = world.random.around(world.plan.storeDelay)
        if world.isActive(.storeSlow) {
            delay += world.random.within(50...3_000) * .millisecond
            outages.add(world.now...world.now + delay)
        }
        let fate = fate(of: kind)
        if fate != .done { outages.add(world.now...world.now + delay) }
        world.after(delay) { [self] in
            if generation != self.generation {
                // The machine went down under it; the caller's connection ends some time.
                world.after(500 * .millisecond) { answer(.failure(.unavailable("power cut", isOutcomeKnown: false))) }
                return
            }
            if world.now < downUntil || world.isActive(.storeOutage) {
                outages.add(world.now - delay...world.now)
                answer(.failure(.unavailable("down", isOutcomeKnown: true)))
                return
            }
            switch fate {
            case .full: answer(.failure(.full("disk full")))
            case .lost: answer(.failure(.unavailable("no answer", isOutcomeKnown: false)))
            case .answerLost:
                _ = transaction()
                answer(.failure(.unavailable("no answer", isOutcomeKnown: false)))
            case .done: answer(.success(transaction()))
            }
        }
    }

    private func fate(of kind: Kind) -> Fate {
        if kind.needsCapacity, world.isActive(.storeFull) {
            world.trace(.storeFault, 0, 1)
            return .full
        }
        guard world.draws(.storeLostReply, 0.04), kind.isWrite else { return .done }
        world.trace(.storeFault, 0, 2)
        return world.random.chance(0.7) ? .answerLost : .lost
    }

    /// Everything that has not committed is gone.
    func crash(down: Ticks) {
        generation += 1
        downUntil = world.now + down
        outages.add(world.now...downUntil)
    }

    /// It works again.
    func heal() { downUntil = 0 }

    /// The wall clock that `not_before` and retries are compared with.
    var wall: WallTime { world.plan.isEmbedded ? world.gateways[0].wall : world.wall }

    // MARK: Append

    func append(
        _ batches: [(truth: BatchGroundTruth, claim: Duration?)], by life: ProcessLife,
        answer: @escaping (Result<[Lease?], QueueError>) -> Void
    ) {
        let batches = world.bug == .requestTorn ? Array(batches.prefix(1)) : batches
        let all = batches.count
        perform(
            .append,
            { [self] in
                let leases = batches.map { commit($0.truth, claim: $0.claim, by: life) }
                return leases + Array(repeating: nil, count: max(0, all - leases.count))
            }, answer: answer)
    }

    private func commit(_ truth: BatchGroundTruth, claim: Duration?, by life: ProcessLife) -> Lease? {
        let row = Row(truth)
        live.append(row)
        emptySince = nil
        rows[truth.id] = row
        world.checker.committed(truth)
        world.trace(.committed, 0, truth.number, truth.batch.count)
        guard let claim, row.due <= wall, !paused.contains(truth.batch.app) else { return nil }
        return take(row, for: claim.ticks, by: life, alone: nil)
    }

    /// Gives out a lease.
    func take(_ row: Row, for duration: Ticks, by life: ProcessLife, alone: UInt16?, pending: [PendingPush]? = nil)
        -> Lease
    {
        let heldUntil = row.lease?.until
        if world.bug != .epochReused || row.epoch == 0 { row.epoch += 1 }
        row.lease = Held(holder: life, until: world.now + duration, duration: duration, alone: alone)
        world.checker.claimed(
            row.truth, epoch: row.epoch, indexes: pending, heldUntil: heldUntil, storeWall: wall
        )
        world.trace(.claimed, life.gateway, row.truth.number, Int(row.epoch))
        return Lease(batch: row.truth.id, epoch: row.epoch)
    }

    // MARK: The end of leases

    func releaseExpired() {
        for row in live {
            guard let lease = row.lease, lease.until <= world.now else { continue }
            if world.couldRenew(row.lastLease, lease) {
                world.checker.leaseRanOutForNothing(row.truth, epoch: row.epoch)
            }
            leaseEnded(row)
        }
        forgetFinished()
    }

    /// The holder of a store in its own process is dead, and its leases with it.
    func releaseAll() {
        for row in live where row.lease != nil { leaseEnded(row) }
        forgetFinished()
    }

    /// A lease ends without having been given back.
    private func leaseEnded(_ row: Row) {
        guard let lease = row.lease else { return }
        row.lease = nil
        world.trace(.leaseEnded, lease.holder.gateway, row.truth.number, Int(row.epoch))
        guard !lease.hasUpdates else { return }
        row.crashDeliveries += 1
        if let alone = lease.alone {
            row.truth.pushes[Int(alone)].deathsAlone += 1
            if row.truth.pushes[Int(alone)].deathsAlone >= PoisonLimits.isolatedRedeliveriesMax {
                giveUp([alone], of: row)
            }
        } else if world.bug == .poisonTakesNeighbours, row.isQuarantined {
            giveUp((0..<UInt16(row.ledger.count)).filter { !row.ledger.isSettled(Int($0)) }, of: row)
        }
    }

    private func giveUp(_ indexes: [UInt16], of row: Row) {
        end(indexes, of: row, .givenUp, .poison)
    }

    /// Ends pushes by the store's own decision.
    func end(_ indexes: [UInt16], of row: Row, _ verdict: Verdict, _ code: ErrorCode) {
        let attempts = Dictionary(
            row.ledger.pending(at: .distantFuture).map { ($0.index, $0.attempts) },
            uniquingKeysWith: { first, _ in first }
        )
        var news = BatchUpdate(at: wall)
        for index in indexes {
            news.outcomes.append(Outcome(index: index, verdict: verdict, code: code, attempts: attempts[index] ?? 0))
        }
        row.ledger.record(&news)
        for outcome in news.outcomes { world.checker.end(outcome, row.truth) }
        row.due = row.ledger.nextDue
    }

    func forgetFinished() {
        live.removeAll { $0.ledger.isFinished }
        emptySince = live.isEmpty ? emptySince ?? world.now : nil
    }
}
