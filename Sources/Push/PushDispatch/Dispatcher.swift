import APNSWire
import Logging
import PushModel
import PushOutcome
import PushQueue
import Synchronization

package struct DispatchConfiguration: Sendable {
    package var limits = DispatchStateMachine.Limits()
    package var policy = DeliveryPolicy()
    /// How long a claim stays ours without renewal.
    package var lease: Duration = .seconds(20)
    package var renewEvery: Duration = .seconds(5)
    /// How long a push may wait for APNs' answer once it was handed to the client. Well under `lease`, so that
    /// nothing is sent under a lease that has run out.
    package var requestTimeout: Duration = .seconds(10)
    /// How often the store is asked for batches that have become due.
    package var pollEvery: Duration = .milliseconds(250)

    package init() {}

    /// Every problem at once, so that an operator fixes the file in one go.
    package func problems() -> [String] {
        var problems: [String] = []
        if requestTimeout <= .zero { problems.append("request_timeout must be above zero") }
        if requestTimeout + renewEvery >= lease {
            problems.append("request_timeout (\(requestTimeout)) must be below \(lease - renewEvery)")
        }
        if policy.attemptsMax < 1 { problems.append("attempts_max must be at least 1") }
        if policy.retryBase <= .zero || policy.retryCap < policy.retryBase {
            problems.append("retry_base must be above zero and not above retry_cap")
        }
        return problems
    }
}

/// Takes claimed batches, hands them to the APNs clients and turns answers into outcomes and retries.
///
/// Works per batch and per piece of answers; per push it runs the delivery policy and nothing else.
package final class Dispatcher: Sendable {
    private let queue: any DurableQueue
    private let recorder: OutcomeRecorder
    private let senders: [AppID: any APNSSender]
    private let configuration: DispatchConfiguration
    private let clock: QueueClock
    private let logger: Logger
    private let machine: Mutex<DispatchStateMachine>
    private let wake = Signal()
    package let counters = DispatchCounters()

    package init(
        queue: any DurableQueue, recorder: OutcomeRecorder, senders: [AppID: any APNSSender],
        configuration: DispatchConfiguration, clock: QueueClock, logger: Logger
    ) {
        self.queue = queue
        self.recorder = recorder
        self.senders = senders
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        machine = Mutex(DispatchStateMachine(limits: configuration.limits))
    }

    package struct Snapshot: Sendable {
        package var pushesInMemory: Int
        package var pushesInFlight: Int
    }

    package func snapshot() -> Snapshot {
        machine.withLock { Snapshot(pushesInMemory: $0.pushesInMemory, pushesInFlight: $0.pushesInFlight) }
    }

    // MARK: Running

    /// Claims, renews and sends until the task is cancelled.
    ///
    /// - Throws: `QueueError.broken` or `.closed`.
    package func run() async throws {
        wake.set()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.claimContinually() }
            group.addTask { try await self.renewContinually() }
            group.addTask {
                // Retries and scheduled pushes become due without anybody telling us.
                while !Task.isCancelled {
                    try? await Task.sleep(for: self.configuration.pollEvery)
                    self.wake.set()
                }
            }
            // Not `waitForAll`: the first failure must end the others, which never end by themselves.
            while try await group.next() != nil {}
        }
    }

    private func claimContinually() async throws {
        while !Task.isCancelled {
            await wake.wait()
            var mayHoldMore = true
            while mayHoldMore, !Task.isCancelled, let plan = machine.withLock({ $0.claimPlan() }) {
                mayHoldMore = try await claim(plan)
            }
        }
    }

    private func claim(_ plan: DispatchStateMachine.ClaimPlan) async throws -> Bool {
        // The lease counts from before the question, so our idea of its end is never later than the store's.
        let leaseUntil = clock.monotonic() + configuration.lease
        let request = ClaimRequest(
            batchesMax: plan.batchesMax, lease: configuration.lease, excludedApps: plan.excludedApps
        )
        let batches: [ClaimedBatch]
        do {
            batches = try await queue.claim(request)
        } catch {
            guard error.isPassing else { throw error }
            logger.warning("claim failed, trying again", metadata: ["error": "\(error)"])
            return false
        }
        let draw = Double.random(in: 0..<1)
        let mayHoldMore = machine.withLock {
            $0.claimed(batches, plan: plan, leaseUntil: leaseUntil, draw: draw)
        }
        counters.batchesClaimed.add(batches.count, ordering: .relaxed)
        for app in Set(batches.map(\.batch.app)) { sendNext(of: app) }
        return mayHoldMore
    }

    private func renewContinually() async throws {
        while !Task.isCancelled {
            try? await Task.sleep(for: configuration.renewEvery)
            let leases = machine.withLock { $0.leases }
            guard !leases.isEmpty, !Task.isCancelled else { continue }
            let until = clock.monotonic() + configuration.lease
            do {
                let lost = try await queue.renew(leases, for: configuration.lease)
                let unfinished = machine.withLock { machine in
                    defer { machine.renewed(leases, until: until) }
                    return machine.lost(lost)
                }
                if unfinished > 0 {
                    counters.leasesLost.add(unfinished, ordering: .relaxed)
                    logger.warning("leases lost", metadata: ["batches": "\(unfinished)"])
                }
            } catch {
                guard error.isPassing else { throw error }
                logger.warning("leases could not be renewed", metadata: ["error": "\(error)"])
            }
        }
    }

    // MARK: Sending

    private func sendNext(of app: AppID) {
        for work in machine.withLock({ $0.nextToSend(of: app) }) { send(work) }
    }

    private func send(_ work: DispatchStateMachine.Work) {
        let now = clock.wall()
        guard let sender = senders[work.app] else {
            giveBack(work, code: .unknownApp, after: configuration.policy.credentialPause, now: now)
            return
        }
        guard work.leaseUntil > clock.monotonic() + configuration.requestTimeout else {
            // Too little of the lease is left to wait for an answer: somebody may own the batch by then.
            giveBack(work, code: .none, after: .zero, now: now)
            return
        }
        let (indexes, expired) = split(work, now: now)
        if !expired.isEmpty { conclude(work.ticket, outcomes: expired, retries: [], at: now) }
        guard indexes?.isEmpty != true else { return }
        counters.pushesSent.add(indexes?.count ?? work.claimed.batch.count, ordering: .relaxed)
        sender.send(
            work.claimed.batch.notifications, indexes: indexes, ticket: work.ticket,
            deadline: configuration.requestTimeout, to: self
        )
    }

    /// Which pushes to send (nil: all), and outcomes for those whose time is over.
    private func split(_ work: DispatchStateMachine.Work, now: WallTime) -> (indexes: [UInt16]?, expired: [Outcome]) {
        let batch = work.claimed.batch
        var expired: [Outcome] = []
        var indexes: [UInt16] = []
        for position in 0..<work.claimed.pendingCount {
            let index = work.claimed.pending?[position].index ?? UInt16(position)
            if now < deadline(of: Int(index), in: batch) {
                indexes.append(index)
            } else {
                let attempts = work.claimed.pending?[position].attempts ?? 0
                expired.append(Outcome(index: index, verdict: .expired, code: .expired, attempts: attempts))
            }
        }
        return (indexes.count == batch.count ? nil : indexes, expired)
    }

    private func deadline(of index: Int, in batch: Batch) -> WallTime {
        configuration.policy.deadline(
            expiration: batch.notifications.entries[index].expiration, acceptedAt: batch.acceptedAt,
            notBefore: batch.notBefore, lane: batch.lane
        )
    }

    private func giveBack(_ work: DispatchStateMachine.Work, code: ErrorCode, after pause: Duration, now: WallTime) {
        let retries = (0..<work.claimed.pendingCount).map { position in
            Retry(
                index: work.claimed.pending?[position].index ?? UInt16(position), code: code,
                attempts: work.claimed.pending?[position].attempts ?? 0, due: now + pause
            )
        }
        conclude(work.ticket, outcomes: [], retries: retries, at: now)
    }

    /// Passes decided pushes on to the recorder and sends what there is room for now.
    private func conclude(_ ticket: UInt64, outcomes: [Outcome], retries: [Retry], at now: WallTime) {
        guard let decided = machine.withLock({ $0.decided(outcomes.count + retries.count, of: ticket) }) else {
            counters.lateAnswers.add(outcomes.count + retries.count, ordering: .relaxed)
            return
        }
        let age = Duration.milliseconds(now.milliseconds - decided.work.claimed.batch.acceptedAt.milliseconds)
        counters.count(outcomes: outcomes, retries: retries, age: age)
        recorder.record(
            Settlement(
                lease: decided.work.claimed.lease, outcomes: outcomes, retries: retries,
                release: decided.isDone ? .release : .keep, at: now
            )
        )
        sendNext(of: decided.work.app)
    }

    // MARK: Draining

    /// Stops claiming and gives back what was not sent.
    package func beginDrain() {
        let now = clock.wall()
        for work in machine.withLock({ $0.drain() }) {
            recorder.record(Settlement(lease: work.claimed.lease, release: .release, at: now))
        }
    }

    /// Whether pushes are still waiting for an answer.
    package var hasUnanswered: Bool { machine.withLock { $0.hasUnanswered } }
}

extension Dispatcher: APNSAnswerReceiver {
    package func receive(_ answers: APNSAnswers) {
        let now = clock.wall()
        guard let work = machine.withLock({ $0.work(answers.ticket) }) else {
            counters.lateAnswers.add(answers.answers.count, ordering: .relaxed)
            return
        }
        let attempts = AttemptTable(work.claimed)
        var outcomes: [Outcome] = []
        var retries: [Retry] = []
        outcomes.reserveCapacity(answers.answers.count)
        for (position, answer) in answers.answers.enumerated() {
            let index = answers.indexes[position]
            let action = configuration.policy.action(
                after: answer, attempts: attempts[index], deadline: deadline(of: Int(index), in: work.claimed.batch),
                now: now, draw: work.draw
            )
            let reason = ReasonText(answer, at: index, in: answers)
            switch action {
            case .settle(let verdict, let code, let attempts):
                outcomes.append(
                    Outcome(
                        index: index, verdict: verdict, code: code, status: answer.status, attempts: attempts,
                        reason: reason, tokenDeadAt: answer.timestamp
                    )
                )
            case .retry(let code, let attempts, let due):
                retries.append(
                    Retry(index: index, code: code, status: answer.status, attempts: attempts, reason: reason, due: due)
                )
            }
            if answer.outcome == .ambiguous { counters.ambiguous.add(1, ordering: .relaxed) }
        }
        conclude(answers.ticket, outcomes: outcomes, retries: retries, at: now)
    }
}

extension Dispatcher: OutcomeObserver {
    package func settled(_ leases: [Lease]) {
        machine.withLock { $0.settled(leases) }
        // Room has become free.
        wake.set()
    }

    package func refused(_ leases: [Lease]) {
        machine.withLock { _ = $0.lost(leases) }
        counters.leasesLost.add(leases.count, ordering: .relaxed)
        wake.set()
    }
}

extension Dispatcher: HotHandoff {
    package func reserve(pushes: Int, for app: AppID) -> Bool {
        machine.withLock { $0.reserve(pushes: pushes, for: app) }
    }

    package func cancelReservation(pushes: Int, for app: AppID) {
        machine.withLock { $0.cancelReservation(pushes: pushes, for: app) }
    }

    package func handOver(_ batch: ClaimedBatch) {
        // The batch was claimed a moment ago, by the write that has just returned; renewal begins within 5 s.
        let leaseUntil = clock.monotonic() + configuration.lease
        let draw = Double.random(in: 0..<1)
        machine.withLock { $0.handedOver(batch, leaseUntil: leaseUntil, draw: draw) }
        counters.batchesHandedOver.add(1, ordering: .relaxed)
        sendNext(of: batch.batch.app)
    }

    package func batchesWait(of app: AppID) {
        machine.withLock { $0.batchesWait(of: app) }
        wake.set()
    }
}

/// Attempts made before, by push index. A fresh batch needs no table.
private struct AttemptTable {
    private var attempts: [UInt16] = []

    init(_ claimed: ClaimedBatch) {
        guard let pending = claimed.pending else { return }
        attempts = Array(repeating: 0, count: claimed.batch.count)
        for push in pending { attempts[Int(push.index)] = push.attempts }
    }

    subscript(index: UInt16) -> UInt16 { attempts.isEmpty ? 0 : attempts[Int(index)] }
}

extension ReasonText {
    fileprivate init(_ answer: APNSAnswer, at index: UInt16, in answers: APNSAnswers) {
        if answer.reason == .unknown, let text = answers.unknownReasons[index] {
            self = .verbatim(text)
        } else {
            self = .known(answer.reason)
        }
    }
}
