import APNSWire
import PushModel
import PushStore

/// Knows the truth about every push and says when an invariant does not hold.
///
/// It is told by the models, at the very place where something becomes true, and never asks a gateway what it thinks.
final class Checker {
    private let plan: RunPlan
    private(set) var batches: [BatchGroundTruth] = []
    private(set) var truths: [BatchID: BatchGroundTruth] = [:]
    private(set) var violation: Violation?
    private(set) var ended = 0
    private(set) var pushes = 0
    private(set) var deliveries = 0
    private(set) var duplicates = 0
    private(set) var ambiguities = 0
    /// Since when an app is known to be paused, by its number.
    var pausedSince: [Ticks?]
    var now: Ticks = 0

    init(plan: RunPlan) {
        self.plan = plan
        pausedSince = Array(repeating: nil, count: plan.apps.count)
    }

    func fail(_ invariant: Invariant, _ what: @autoclosure () -> String) {
        guard violation == nil else { return }
        // In a run whose only fault is the clocks, they are the cause of whatever goes wrong.
        let isByClocks = !plan.faults.isEmpty && plan.faults.allSatisfy(\.isAboutClocks)
        let invariants: Set<Invariant> = [.durable, .boundedDuplicates, .progress]
        violation = Violation(
            invariant: isByClocks && invariants.contains(invariant) ? .clocks : invariant, what: what(),
            at: Double(now) / Double(Ticks.second)
        )
    }

    // MARK: Applications

    func submitted(_ truth: BatchGroundTruth) {
        batches.append(truth)
        truths[truth.id] = truth
        pushes += truth.pushes.count
    }

    func told(_ answer: BatchGroundTruth.Answer, about truth: BatchGroundTruth) {
        truth.answer = answer
        if answer == .accepted, !truth.isCommitted {
            fail(.durable, "batch \(truth.number) was answered as accepted and is not committed")
        }
        if answer == .refused, truth.isCommitted {
            fail(.admission, "batch \(truth.number) was answered as refused and is committed")
        }
    }

    // MARK: The store

    func committed(_ truth: BatchGroundTruth) {
        truth.isCommitted = true
        truth.committedAt = now
        if truth.answer == .refused {
            fail(.admission, "batch \(truth.number) was answered as refused and committed later")
        }
        if truth.answer == .accepted {
            fail(.durable, "batch \(truth.number) was answered as accepted before it was committed")
        }
    }

    /// - Parameters:
    ///   - heldUntil: the end of the lease that another holder has, if one has.
    func claimed(
        _ truth: BatchGroundTruth, epoch: UInt64, indexes: [PendingPush]?, heldUntil: Ticks?, storeWall: WallTime
    ) {
        if epoch <= truth.lastEpoch {
            fail(.oneOwner, "batch \(truth.number) was claimed under epoch \(epoch) after \(truth.lastEpoch)")
        }
        // Once it was due, it stays due, even if the clock is put back.
        let wasDue = truth.lastEpoch > 0 && plan.faults.contains(.clockStep)
        truth.lastEpoch = epoch
        if let heldUntil, heldUntil > now {
            fail(.oneOwner, "batch \(truth.number) was claimed while another lease holds")
        }
        if let pausedAt = pausedSince[truth.appIndex], pausedAt <= now {
            fail(.noLateSend, "batch \(truth.number) was claimed while its app is paused")
        }
        if let notBefore = truth.batch.notBefore, storeWall < notBefore, !wasDue {
            fail(.noLateSend, "batch \(truth.number) was claimed before its not_before")
        }
        // What an earlier holder wrote and did not record may come twice from here on.
        for index in truth.pushes.indices where truth.pushes[index].unrecordedBy != nil { forgotten(truth, index) }
    }

    /// A lease ran out although its holder had every chance to renew it.
    func leaseRanOutForNothing(_ truth: BatchGroundTruth, epoch: UInt64) {
        fail(
            .oneOwner,
            "the lease \(epoch) of batch \(truth.number) ran out although nothing kept its holder from renewing")
    }

    /// A process that stopped in good order held leases still.
    func leaseLeftBehind(_ truth: BatchGroundTruth, epoch: UInt64) {
        fail(.progress, "a gateway stopped in good order and kept the lease \(epoch) of batch \(truth.number)")
    }

    /// News under a lease were applied.
    ///
    /// - Parameter isOwner: whether the lease was the batch's last and not given back.
    func applied(_ news: BatchUpdate, to truth: BatchGroundTruth, epoch: UInt64, isOwner: Bool) {
        if epoch != truth.lastEpoch || !isOwner {
            fail(.fencing, "news under epoch \(epoch) changed batch \(truth.number), whose epoch is \(truth.lastEpoch)")
        }
        for index in news.sends { truth.pushes[Int(index)].announcedEpoch = epoch }
        for retry in news.retries {
            let index = Int(retry.index)
            if let verdict = truth.pushes[index].verdict {
                fail(.oneEnd, "push \(truth.number)/\(index) is \(verdict) and goes back to the queue")
            }
            check(attempts: retry.attempts, of: truth, index)
            truth.pushes[index].unrecordedBy = nil
            truth.pushes[index].announcedEpoch = nil
            truth.pushes[index].isForgotten = false
        }
        for outcome in news.outcomes { end(outcome, truth) }
    }

    func end(_ outcome: Outcome, _ truth: BatchGroundTruth) {
        let index = Int(outcome.index)
        if let verdict = truth.pushes[index].verdict {
            fail(.oneEnd, "push \(truth.number)/\(index) is \(verdict) and became \(outcome.verdict)")
            return
        }
        truth.pushes[index].verdict = outcome.verdict
        truth.pushes[index].unrecordedBy = nil
        ended += 1
        check(attempts: outcome.attempts, of: truth, index)
        checkReason(of: outcome, truth, index)
    }

    private func check(attempts: UInt16, of truth: BatchGroundTruth, _ index: Int) {
        let push = truth.pushes[index]
        // The attempt that ends a push counts whatever its answer is.
        let announced = isLeftAnnounced(push, truth) ? 1 : 0
        if Int(attempts) > push.countable + announced {
            fail(
                .freeRetries,
                "push \(truth.number)/\(index) has \(attempts) attempts on record, \(push.countable) may count")
        }
    }

    /// Whether an earlier holder was about to send it, and nobody knows whether it did.
    private func isLeftAnnounced(_ push: PushGroundTruth, _ truth: BatchGroundTruth) -> Bool {
        push.announcedEpoch.map { $0 < truth.lastEpoch } ?? false
    }

    private func checkReason(of outcome: Outcome, _ truth: BatchGroundTruth, _ index: Int) {
        let push = truth.pushes[index]
        let name = "push \(truth.number)/\(index)"
        switch outcome.verdict {
        case .delivered:
            if push.deliveries == 0 { fail(.durable, "\(name) is recorded as delivered and APNs never had it") }
        case .rejected:
            if !push.isRejectedByAPNs { fail(.noSilentDrop, "\(name) is rejected, and not by APNs") }
        case .expired:
            if !truth.expiresByItself, !plan.faults.contains(.clockStep) {
                fail(.noSilentDrop, "\(name) is expired and has no expiration")
            }
        case .cancelled:
            if !push.isCancelWanted { fail(.noSilentDrop, "\(name) is cancelled and nobody asked for it") }
        case .suppressed:
            fail(.noSilentDrop, "\(name) is suppressed for nothing")
        case .givenUp:
            checkGivenUp(outcome, truth, index, name)
        }
        if outcome.verdict != .delivered, outcome.code == .none {
            fail(.noSilentDrop, "\(name) ended as \(outcome.verdict) without a code")
        }
    }

    private func checkGivenUp(_ outcome: Outcome, _ truth: BatchGroundTruth, _ index: Int, _ name: String) {
        let push = truth.pushes[index]
        switch outcome.code {
        case .poison:
            if push.deathsAlone < PoisonLimits.isolatedRedeliveriesMax {
                fail(.poisonAlone, "\(name) is given up as poison after \(push.deathsAlone) deaths of its own")
            }
        case .droppedUnanswered:
            if truth.batch.ambiguity != .drop || push.unanswered == 0 && !isLeftAnnounced(push, truth) {
                fail(.noSilentDrop, "\(name) is dropped as unanswered, and was answered or is to be sent again")
            }
        default:
            fail(.noSilentDrop, "\(name) is given up with code \(outcome.code.rawValue)")
        }
    }

    /// Suspects are handed to a process that holds others.
    func quarantined(beside held: Set<Lease>, arrive batches: [ClaimedBatch]) {
        if !held.isEmpty, !batches.isEmpty {
            fail(
                .poisonAlone,
                "a suspect comes to a process that holds \(held.count) others: whom would its death accuse?")
        }
    }

    /// A call that settles was answered as done.
    func settlementAcknowledged(_ settlement: Settlement, isRecorded: (Int) -> Bool) {
        guard let truth = truths[settlement.lease.batch] else { return }
        for outcome in settlement.outcomes where !isRecorded(Int(outcome.index)) {
            fail(.durable, "the outcome of push \(truth.number)/\(outcome.index) was acknowledged and is not recorded")
        }
    }

    // MARK: Connections and APNs

    /// A request is written to a connection.
    ///
    /// - Parameters:
    ///   - leaseUntil: of the lease it is written under, by the store's clock; nil when that lease is over.
    ///   - wall: what the writer's clock says.
    func wrote(
        _ truth: BatchGroundTruth, _ index: Int, epoch: UInt64, by life: ProcessLife, wall: WallTime, isLeaseHeld: Bool
    ) {
        let push = truth.pushes[index]
        let name = "push \(truth.number)/\(index)"
        if epoch != truth.lastEpoch || !isLeaseHeld {
            fail(.noLateSend, "\(name) is written under the lease \(epoch), which is over")
        }
        if push.isCancelAcknowledged { fail(.noLateSend, "\(name) is written after its cancellation was acknowledged") }
        let expiration = truth.batch.notifications.entries[index].expiration
        if expiration > 0, wall >= WallTime(seconds: expiration) {
            fail(.noLateSend, "\(name) is written after its expiration")
        }
        if let notBefore = truth.batch.notBefore, wall < notBefore,
            plan.faults.isDisjoint(with: [.clockStep, .clockDrift])
        {
            fail(.noLateSend, "\(name) is written before its not_before")
        }
        if truth.batch.ambiguity == .drop, push.isKnownUnanswered || push.isForgotten {
            fail(.boundedDuplicates, "\(name) is to be dropped when unanswered, and is written again")
        }
        if now < push.notBeforeByAPNs, plan.faults.isDisjoint(with: [.clockStep, .clockDrift]) {
            fail(.noLateSend, "\(name) is written before the end of APNs' Retry-After")
        }
        if push.verdict == .delivered { fail(.oneEnd, "\(name) is written after it was recorded as delivered") }
        truth.pushes[index].writes += 1
        truth.pushes[index].unrecordedBy = life
    }

    /// APNs delivers a push.
    func delivered(_ truth: BatchGroundTruth, _ index: Int) {
        if truth.answer == .refused {
            fail(.admission, "push \(truth.number)/\(index) was refused and is delivered")
        }
        if !truth.isCommitted {
            fail(.durable, "push \(truth.number)/\(index) is a phantom: delivered, and not durable")
        }
        truth.pushes[index].deliveries += 1
        deliveries += 1
        let push = truth.pushes[index]
        if push.deliveries > 1 { duplicates += 1 }
        if push.deliveries > 1 + push.ambiguities {
            fail(
                .boundedDuplicates,
                "push \(truth.number)/\(index) is delivered \(push.deliveries) times after \(push.ambiguities) ambiguous events"
            )
        }
        checkDwell(truth, index)
    }

    /// In a run without faults a push of one of the quiet apps is sent within two seconds of being durable.
    private func checkDwell(_ truth: BatchGroundTruth, _ index: Int) {
        let isQuiet = truth.appIndex > 0 && plan.faults.isEmpty && truth.batch.notBefore == nil && plan.pausing == 0
        guard isQuiet, truth.pushes[index].deliveries == 1 else { return }
        if now - truth.committedAt > 2 * .second {
            fail(
                .isolation,
                "push \(truth.number)/\(index) of a quiet app waited \((now - truth.committedAt) / .millisecond) ms")
        }
    }

    /// Nobody will ever know whether APNs has it, or whether that was written down.
    func ambiguous(_ truth: BatchGroundTruth, _ index: Int) {
        truth.pushes[index].ambiguities += 1
        ambiguities += 1
        if plan.faults.isEmpty {
            fail(.boundedDuplicates, "push \(truth.number)/\(index) may come twice in a run without faults")
        }
    }

    /// What a process knew of a push it had written is lost.
    private func forgotten(_ truth: BatchGroundTruth, _ index: Int) {
        ambiguous(truth, index)
        truth.pushes[index].unrecordedBy = nil
        truth.pushes[index].isKnownUnanswered = false
        truth.pushes[index].isForgotten = true
        truth.pushes[index].notBeforeByAPNs = 0
    }

    /// A request was written and never answered.
    func unanswered(_ truth: BatchGroundTruth, _ index: Int) {
        truth.pushes[index].unanswered += 1
        truth.pushes[index].isKnownUnanswered = true
        truth.pushes[index].countable += 1
        ambiguous(truth, index)
    }

    // MARK: Processes

    func died(_ life: ProcessLife) {
        for truth in batches {
            for index in truth.pushes.indices where truth.pushes[index].unrecordedBy == life { forgotten(truth, index) }
        }
    }

    func memory(of gateway: Int, pushes: Int) {
        if pushes > plan.memoryPushes {
            fail(.boundedMemory, "gateway \(gateway) holds \(pushes) pushes, its limit is \(plan.memoryPushes)")
        }
    }

    func memoryAtRest(of gateway: Int, pushes: Int) {
        if pushes != 0 {
            fail(.boundedMemory, "gateway \(gateway) holds \(pushes) pushes and nothing is left to do")
        }
    }
}
