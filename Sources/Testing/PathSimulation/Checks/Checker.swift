import APNSWire
import PushModel
import PushStore

/// Keeps the ground truth of every push and detects violations of invariants.
///
/// The models report each event where it happens. The checker never reads the state of a gateway.
final class Checker {
    private let plan: RunPlan
    private(set) var batches: [BatchGroundTruth] = []
    private(set) var batchesByID: [BatchID: BatchGroundTruth] = [:]
    private(set) var violation: Violation?
    private(set) var ended = 0
    private(set) var pushes = 0
    private(set) var deliveries = 0
    private(set) var duplicates = 0
    private(set) var ambiguities = 0
    /// When the pause of an app was confirmed, by app index.
    var pausedSince: [Ticks?]
    var now: Ticks = 0

    init(plan: RunPlan) {
        self.plan = plan
        pausedSince = Array(repeating: nil, count: plan.apps.count)
    }

    func fail(_ invariant: Invariant, _ detail: @autoclosure () -> String) {
        guard violation == nil else { return }
        // If the only faults are wrong clocks, they are the cause.
        let onlyClocksFail = !plan.faults.isEmpty && plan.faults.allSatisfy(\.affectsClock)
        let dependOnClocks: Set<Invariant> = [.durable, .boundedDuplicates, .progress]
        violation = Violation(
            invariant: onlyClocksFail && dependOnClocks.contains(invariant) ? .clocks : invariant, detail: detail(),
            at: Double(now) / Double(Ticks.second)
        )
    }

    // MARK: Applications

    func submitted(_ truth: BatchGroundTruth) {
        batches.append(truth)
        batchesByID[truth.id] = truth
        pushes += truth.pushes.count
    }

    /// The application received a response to the request of a batch.
    func responded(_ response: BatchGroundTruth.Response, to truth: BatchGroundTruth) {
        truth.response = response
        if response == .accepted, !truth.isCommitted {
            fail(.durable, "batch \(truth.number) was reported as accepted and is not committed")
        }
        if response == .refused, truth.isCommitted {
            fail(.admission, "batch \(truth.number) was reported as refused and is committed")
        }
    }

    // MARK: Gateways

    /// A gateway is going to record a settlement.
    func decided(_ settlement: Settlement) {
        guard let truth = batchesByID[settlement.lease.batch] else { return }
        for retry in settlement.retries {
            let index = Int(retry.index)
            truth.pushes[index].writesAtRetry[retry.due] = truth.pushes[index].writes
        }
    }

    // MARK: The store

    func committed(_ truth: BatchGroundTruth) {
        truth.isCommitted = true
        truth.committedAt = now
        if truth.response == .refused {
            fail(.admission, "batch \(truth.number) was reported as refused and committed later")
        }
        if truth.response == .accepted {
            fail(.durable, "batch \(truth.number) was reported as accepted before it was committed")
        }
    }

    /// A batch is handed out under a new lease.
    ///
    /// - Parameter heldUntil: the end of the previous lease, if it was not released.
    func claimed(
        _ truth: BatchGroundTruth, epoch: UInt64, indexes: [PendingPush]?, heldUntil: Ticks?, storeWall: WallTime
    ) {
        if epoch <= truth.lastEpoch {
            fail(.oneOwner, "batch \(truth.number) was claimed under epoch \(epoch) after \(truth.lastEpoch)")
        }
        // A batch that was due stays due, even if the clock is set back.
        let wasDue = truth.lastEpoch > 0 && plan.faults.contains(.clockStep)
        truth.lastEpoch = epoch
        if let heldUntil, heldUntil > now {
            fail(.oneOwner, "batch \(truth.number) was claimed while another lease is valid")
        }
        if let pausedAt = pausedSince[truth.appIndex], pausedAt <= now {
            fail(.noLateSend, "batch \(truth.number) was claimed while its app is paused")
        }
        if storeWall < truth.batch.firstDue, truth.batch.firstDue > truth.batch.acceptedAt, !wasDue {
            fail(.noLateSend, "batch \(truth.number) was claimed before its not_before")
        }
        // Pushes that an earlier holder wrote and did not record may be sent again from here on.
        for index in truth.pushes.indices where truth.pushes[index].unrecordedBy != nil { recordLost(truth, index) }
    }

    /// A lease expired although its holder was able to renew it.
    func leaseExpiredWithoutCause(_ truth: BatchGroundTruth, epoch: UInt64) {
        fail(
            .oneOwner,
            "lease \(epoch) of batch \(truth.number) expired although its holder was able to renew it")
    }

    /// A process exited after a drain without releasing a lease.
    func leaseNotReleased(_ truth: BatchGroundTruth, epoch: UInt64) {
        fail(.progress, "a gateway drained, exited and did not release lease \(epoch) of batch \(truth.number)")
    }

    /// The store has applied an update under a lease.
    ///
    /// - Parameter isOwner: whether the lease is the batch's latest and was not released.
    func applied(_ update: BatchUpdate, to truth: BatchGroundTruth, epoch: UInt64, isOwner: Bool) {
        if epoch != truth.lastEpoch || !isOwner {
            fail(
                .fencing,
                "an update under epoch \(epoch) changed batch \(truth.number), whose epoch is \(truth.lastEpoch)"
            )
        }
        for index in update.sends { truth.pushes[Int(index)].announcedEpoch = epoch }
        for retry in update.retries {
            let index = Int(retry.index)
            if let verdict = truth.pushes[index].verdict {
                fail(.oneVerdict, "push \(truth.number)/\(index) is \(verdict) and returned to the queue")
            }
            check(attempts: retry.attempts, of: truth, index)
            // A held push may be sent again before its retry is recorded.
            if truth.pushes[index].writesAtRetry[retry.due] ?? .max >= truth.pushes[index].writes {
                truth.pushes[index].unrecordedBy = nil
            }
            truth.pushes[index].announcedEpoch = nil
            truth.pushes[index].isRecordLost = false
        }
        for outcome in update.outcomes { end(outcome, truth) }
    }

    func end(_ outcome: Outcome, _ truth: BatchGroundTruth) {
        let index = Int(outcome.index)
        if let verdict = truth.pushes[index].verdict {
            fail(.oneVerdict, "push \(truth.number)/\(index) is \(verdict) and became \(outcome.verdict)")
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
        // An announced send of an earlier owner counts, whether it was performed or not.
        let announced = isLeftAnnounced(push, truth) ? 1 : 0
        if Int(attempts) > push.countable + announced {
            fail(
                .unprocessedNotCounted,
                "push \(truth.number)/\(index) has \(attempts) recorded attempts, but only \(push.countable) may count")
        }
    }

    /// Whether an earlier owner announced the send and did not record a result.
    private func isLeftAnnounced(_ push: PushGroundTruth, _ truth: BatchGroundTruth) -> Bool {
        push.announcedEpoch.map { $0 < truth.lastEpoch } ?? false
    }

    private func checkReason(of outcome: Outcome, _ truth: BatchGroundTruth, _ index: Int) {
        let push = truth.pushes[index]
        let name = "push \(truth.number)/\(index)"
        switch outcome.verdict {
        case .delivered:
            if push.deliveries == 0 { fail(.durable, "\(name) is recorded as delivered and APNs never received it") }
        case .rejected:
            if !push.isRejectedByAPNs { fail(.noSilentDrop, "\(name) is rejected and APNs did not reject it") }
        case .expired:
            if truth.deadline(of: outcome.index).map({ Simulation.wall(at: now) < $0 }) ?? true,
                !plan.faults.contains(.clockStep)
            {
                fail(.noSilentDrop, "\(name) is expired before its expiration, or has none")
            }
        case .cancelled:
            if !push.isCancelRequested { fail(.noSilentDrop, "\(name) is cancelled without a request") }
        case .suppressed:
            fail(.noSilentDrop, "\(name) is suppressed without a newer push")
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
            if push.isolatedCrashes < PoisonLimits.isolatedRedeliveriesMax {
                fail(
                    .poisonIsolated, "\(name) is given up as poison after \(push.isolatedCrashes) crashes in isolation")
            }
        case .droppedUnanswered:
            if truth.batch.ambiguity != .drop || push.unanswered == 0 && !isLeftAnnounced(push, truth) {
                fail(.noSilentDrop, "\(name) is dropped as unanswered, but was answered or is to be resent")
            }
        default:
            fail(.noSilentDrop, "\(name) is given up with code \(outcome.code.rawValue)")
        }
    }

    /// Quarantined batches are handed to a process. A crash must identify one trial, so it must not hold others.
    func claimedQuarantined(_ batches: [ClaimedBatch], whileHolding held: Set<Lease>) {
        if !held.isEmpty, !batches.isEmpty {
            fail(.poisonIsolated, "a process with \(held.count) quarantined batches claimed another one")
        }
        for batch in batches {
            guard let truth = batchesByID[batch.lease.batch] else { continue }
            if truth.crashes < PoisonLimits.redeliveriesBeforeQuarantine {
                fail(.poisonIsolated, "batch \(truth.number) is quarantined after \(truth.crashes) crashes")
            }
        }
    }

    /// The store has confirmed a settlement.
    func settlementConfirmed(_ settlement: Settlement, isRecorded: (Int) -> Bool) {
        guard let truth = batchesByID[settlement.lease.batch] else { return }
        for outcome in settlement.outcomes where !isRecorded(Int(outcome.index)) {
            fail(.durable, "the outcome of push \(truth.number)/\(outcome.index) was confirmed and is not recorded")
        }
    }

    // MARK: Connections and APNs

    /// A request is written to a connection.
    ///
    /// - Parameters:
    ///   - wall: the writer's wall time.
    ///   - isLeaseHeld: whether the store considers the lease valid.
    func wrote(
        _ truth: BatchGroundTruth, _ index: Int, epoch: UInt64, by life: ProcessLife, wall: WallTime, isLeaseHeld: Bool
    ) {
        let push = truth.pushes[index]
        let name = "push \(truth.number)/\(index)"
        if epoch != truth.lastEpoch || !isLeaseHeld {
            fail(.noLateSend, "\(name) is written under lease \(epoch), which has ended")
        }
        if push.isCancelConfirmed { fail(.noLateSend, "\(name) is written after its cancellation was confirmed") }
        let expiration = truth.batch.notifications.entries[index].expiration
        if expiration > 0, wall >= WallTime(seconds: expiration) {
            fail(.noLateSend, "\(name) is written after its expiration")
        }
        if let notBefore = truth.batch.dueTimes[index], wall < notBefore,
            plan.faults.isDisjoint(with: [.clockStep, .clockDrift])
        {
            fail(.noLateSend, "\(name) is written before its not_before")
        }
        if truth.batch.ambiguity == .drop, push.isKnownUnanswered || push.isRecordLost {
            fail(.boundedDuplicates, "\(name) is an at-most-once push and is written again")
        }
        if now < push.notBeforeByAPNs, plan.faults.isDisjoint(with: [.clockStep, .clockDrift]) {
            fail(.noLateSend, "\(name) is written before the end of APNs' Retry-After")
        }
        if push.verdict == .delivered { fail(.oneVerdict, "\(name) is written after it was recorded as delivered") }
        truth.pushes[index].writes += 1
        truth.pushes[index].unrecordedBy = life
    }

    /// APNs delivers a push.
    func delivered(_ truth: BatchGroundTruth, _ index: Int) {
        if truth.response == .refused {
            fail(.admission, "push \(truth.number)/\(index) was refused and is delivered")
        }
        if !truth.isCommitted {
            fail(.durable, "push \(truth.number)/\(index) is delivered and was never durable")
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

    /// In a run without faults, a push of an app without a backlog is delivered at most two seconds after it is
    /// durable.
    private func checkDwell(_ truth: BatchGroundTruth, _ index: Int) {
        let isQuiet = truth.appIndex > 0 && plan.faults.isEmpty && truth.batch.dueTimes.isAbsent && plan.pausing == 0
        guard isQuiet, truth.pushes[index].deliveries == 1 else { return }
        if now - truth.committedAt > 2 * .second {
            fail(
                .isolation,
                "push \(truth.number)/\(index) of an app without a backlog waited \((now - truth.committedAt) / .millisecond) ms"
            )
        }
    }

    /// A gateway cannot know whether APNs has the push, or whether the answer was recorded.
    func ambiguous(_ truth: BatchGroundTruth, _ index: Int) {
        truth.pushes[index].ambiguities += 1
        ambiguities += 1
        if plan.faults.isEmpty {
            fail(.boundedDuplicates, "push \(truth.number)/\(index) may be sent twice in a run without faults")
        }
    }

    /// A process wrote the push and ended, or lost its lease, before it recorded the result.
    private func recordLost(_ truth: BatchGroundTruth, _ index: Int) {
        ambiguous(truth, index)
        truth.pushes[index].unrecordedBy = nil
        truth.pushes[index].isKnownUnanswered = false
        truth.pushes[index].isRecordLost = true
        truth.pushes[index].notBeforeByAPNs = 0
    }

    /// A request was written and ended without an answer.
    func unanswered(_ truth: BatchGroundTruth, _ index: Int) {
        truth.pushes[index].unanswered += 1
        truth.pushes[index].isKnownUnanswered = true
        truth.pushes[index].countable += 1
        ambiguous(truth, index)
    }

    // MARK: Processes

    func crashed(_ life: ProcessLife) {
        for truth in batches {
            for index in truth.pushes.indices where truth.pushes[index].unrecordedBy == life {
                recordLost(truth, index)
            }
        }
    }

    func memory(of gateway: Int, pushes: Int) {
        if pushes > plan.memoryPushes {
            fail(.boundedMemory, "gateway \(gateway) holds \(pushes) pushes, its limit is \(plan.memoryPushes)")
        }
    }

    func memoryWhenIdle(of gateway: Int, pushes: Int) {
        if pushes != 0 {
            fail(.boundedMemory, "gateway \(gateway) holds \(pushes) pushes although every push is settled")
        }
    }
}
