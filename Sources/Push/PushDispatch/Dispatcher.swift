package import APNSWire
package import Logging
package import PushModel
package import PushOutcome
package import PushStore
import Synchronization

/// Takes claimed batches, hands them to the APNs clients and turns answers into outcomes and retries.
///
/// What is decided is decided by `DispatchStateMachine`; this asks the store, calls the clients and keeps the time. Works per
/// batch and per piece of answers; per push it runs the delivery policy and nothing else.
package final class Dispatcher: Sendable {
    let queue: any DurableQueue
    let recorder: OutcomeRecorder
    private let senders: [AppID: any APNSSender]
    private let configuration: DispatchConfiguration
    private let clock: QueueClock
    let logger: Logger
    let core: Mutex<DispatchStateMachine>
    let delays = Mutex<[AppID: DeliveryDelay]>([:])
    let hasDelays = Atomic<Bool>(false)
    private let isShutdownForced = Atomic<Bool>(false)
    private let wake = AsyncSignal()
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
        core = Mutex(
            DispatchStateMachine(
                configuration: configuration, apps: Array(senders.keys), seed: UInt64.random(in: 0 ... .max)
            )
        )
    }

    package struct Snapshot: Sendable {
        package var pushesInMemory: Int
        package var pushesInFlight: Int
    }

    package func snapshot() -> Snapshot {
        core.withLock { Snapshot(pushesInMemory: $0.pushesInMemory, pushesInFlight: $0.pushesInFlight) }
    }

    // MARK: Telling the core

    /// Tells the core what happened, and does what it says.
    func tell<Result: Sendable>(
        _ event: (inout DispatchStateMachine, Moment, inout DispatchActions) -> Result
    ) -> Result {
        let now = clock.now
        var effects = DispatchActions()
        let result = core.withLock { event(&$0, now, &effects) }
        perform(effects)
        return result
    }

    private func perform(_ effects: DispatchActions) {
        for news in effects.news {
            counters.count(news)
            recorder.record(news.settlement)
        }
        for send in effects.sends {
            counters.pushesSent.add(send.count, ordering: .relaxed)
            // The core sends for apps that have a client only.
            senders[send.app]?.send(
                send.batch, indexes: send.indexes, ticket: send.ticket, deadline: send.deadline, to: self
            )
        }
        for event in effects.events {
            counters.count(event)
            log(event)
        }
        if let new = effects.delays {
            delays.withLock { $0 = new }
            hasDelays.store(!new.isEmpty, ordering: .relaxed)
        }
        if effects.wantsClaim { wake.set() }
    }

    private func log(_ event: DispatchActions.Event) {
        switch event {
        case .late, .ambiguous, .overBudget, .rateWait: break
        case .leasesLost(let batches): logger.warning("leases lost", metadata: ["batches": "\(batches)"])
        case .environment(let name, let state): log(state, of: ["environment": "\(name)"])
        case .app(let app, let state): log(state, of: ["app": "\(app)"])
        case .credentialRefused(let app):
            logger.error("APNs refuses the credential: the app's pushes wait", metadata: ["app": "\(app)"])
        case .credentialAccepted(let app):
            logger.notice("APNs takes the credential again", metadata: ["app": "\(app)"])
        case .nothingDelivered(let app, let pushes):
            logger.warning(
                "nothing was delivered for a minute", metadata: ["app": "\(app)", "pushes_sent": "\(pushes)"]
            )
        }
    }

    private func log(_ state: Breaker.State, of metadata: Logger.Metadata) {
        switch state {
        case .open: logger.warning("APNs fails: pushes wait until it is back", metadata: metadata)
        case .halfOpen: logger.info("trying whether APNs is back", metadata: metadata)
        case .closed: logger.notice("APNs is back", metadata: metadata)
        }
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
                while !Task.isCancelled {
                    try? await Task.sleep(for: self.configuration.pollEvery)
                    self.tell { core, now, effects in core.tick(now: now, &effects) }
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
            while mayHoldMore, !Task.isCancelled, let plan = tell({ core, now, _ in core.claimPlan(now: now) }) {
                mayHoldMore = try await claim(plan)
            }
        }
    }

    private func claim(_ plan: DispatchBuffer.ClaimPlan) async throws -> Bool {
        let askedAt = clock.monotonic()
        let request = ClaimRequest(
            batchesMax: plan.batchesMax, lease: configuration.lease, excludedApps: plan.excludedApps,
            excludedLanes: plan.excludedLanes, quarantinedMax: plan.quarantinedMax,
            excludedQuarantined: plan.excludedQuarantined
        )
        let batches: [ClaimedBatch]
        do {
            batches = try await queue.claim(request)
        } catch {
            guard error.isPassing else { throw error }
            logger.warning("claim failed, trying again", metadata: ["error": "\(error)"])
            return false
        }
        counters.batchesClaimed.add(batches.count, ordering: .relaxed)
        return tell { core, now, effects in
            core.claimed(batches, plan: plan, askedAt: askedAt, now: now, &effects)
        }
    }

    private func renewContinually() async throws {
        while !Task.isCancelled {
            try? await Task.sleep(for: configuration.renewEvery)
            let leases = core.withLock { $0.leases }
            guard !leases.isEmpty, !Task.isCancelled else { continue }
            let askedAt = clock.monotonic()
            do {
                let lost = try await queue.renew(leases, for: configuration.lease)
                tell { core, _, effects in core.renewed(leases, lost: lost, askedAt: askedAt, &effects) }
            } catch {
                guard error.isPassing else { throw error }
                logger.warning("leases could not be renewed", metadata: ["error": "\(error)"])
            }
        }
    }

    // MARK: Draining

    /// Stops claiming and gives back what was not sent.
    package func beginDrain() {
        tell { core, now, effects in core.drain(now: now, &effects) }
    }

    /// Whether pushes are still waiting for an answer that is worth waiting for.
    package var hasUnanswered: Bool {
        !isShutdownForced.load(ordering: .relaxed) && core.withLock { $0.hasUnanswered }
    }

    /// Nobody waits for answers any more. What is unanswered when its client closes goes back to the queue.
    package func forceShutdown() { isShutdownForced.store(true, ordering: .relaxed) }
}

extension Dispatcher: APNSAnswerReceiver {
    package func receive(_ answers: APNSAnswers) {
        // What the answers mean is found out without the lock.
        guard let work = core.withLock({ $0.work(answers.ticket) }) else {
            counters.lateAnswers.add(answers.answers.count, ordering: .relaxed)
            return
        }
        let classification = AnswerClassification(
            answers, for: work, policy: configuration.policy, slowAfter: configuration.breaker.slowAfter,
            now: clock.wall()
        )
        tell { core, now, effects in core.classified(classification, now: now, &effects) }
    }
}

extension Dispatcher: OutcomeObserver {
    package func announced(_ leases: [Lease]) {
        tell { core, now, effects in core.announced(leases, now: now, &effects) }
    }

    package func settled(_ leases: [Lease]) {
        tell { core, _, effects in core.settled(leases, &effects) }
    }

    package func refused(_ leases: [Lease]) {
        tell { core, _, effects in core.refused(leases, &effects) }
    }
}

extension Dispatcher: DirectHandoff {
    package func reserve(pushes: Int, for app: AppID, lane: Lane) -> HandoffReservation? {
        tell { core, now, _ in core.reserve(pushes: pushes, for: app, lane: lane, now: now) }
    }

    package func cancel(_ capacity: HandoffReservation) {
        core.withLock { $0.cancel(capacity) }
    }

    package func deliver(_ batch: ClaimedBatch, to capacity: HandoffReservation) {
        counters.batchesHandedOver.add(1, ordering: .relaxed)
        tell { core, now, effects in core.handedOver(batch, to: capacity, now: now, &effects) }
    }

    package func notifyBacklog(of app: AppID, lane: Lane) {
        core.withLock { $0.notifyBacklog(of: app, lane: lane) }
        wake.set()
    }
}
