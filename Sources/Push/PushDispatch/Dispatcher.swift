package import APNSWire
package import Logging
import PushConcurrency
package import PushModel
package import PushOutcome
package import PushStore
import Synchronization

/// Claims batches, hands them to the APNs clients and turns answers into outcomes and retries.
///
/// `DispatchStateMachine` makes the decisions; the dispatcher reads the clocks and calls the store and the clients.
/// Work is done per batch and per group of answers; the only work per push is the delivery policy.
package final class Dispatcher: Sendable {
    let queue: any DurableQueue
    let recorder: OutcomeRecorder
    private let senders: [AppID: any APNSSender]
    private let configuration: DispatchConfiguration
    private let clock: QueueClock
    let logger: Logger
    let stateMachine: Mutex<DispatchStateMachine>
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
        stateMachine = Mutex(
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
        stateMachine.withLock { Snapshot(pushesInMemory: $0.pushesInMemory, pushesInFlight: $0.pushesInFlight) }
    }

    // MARK: Events and actions

    /// Applies an event to the state machine and performs the resulting actions.
    func apply<Result: Sendable>(
        _ event: (inout DispatchStateMachine, Moment, inout DispatchActions) -> Result
    ) -> Result {
        let now = clock.now
        var actions = DispatchActions()
        let result = stateMachine.withLock { event(&$0, now, &actions) }
        perform(actions)
        return result
    }

    private func perform(_ actions: DispatchActions) {
        for write in actions.settlements {
            counters.count(write)
            recorder.record(write.settlement)
        }
        for send in actions.sends {
            counters.pushesSent.add(send.count, ordering: .relaxed)
            // The state machine sends only for apps that have a client.
            senders[send.app]?.send(
                send.batch, indexes: send.indexes, ticket: send.ticket, timeouts: send.timeouts, to: self
            )
        }
        for event in actions.events {
            counters.count(event)
            log(event)
        }
        if let new = actions.delays {
            delays.withLock { $0 = new }
            hasDelays.store(!new.isEmpty, ordering: .relaxed)
        }
        if actions.wantsClaim { wake.set() }
    }

    private func log(_ event: DispatchActions.Event) {
        switch event {
        case .lateAnswers, .ambiguous, .retryBudgetExhausted, .rateLimited: break
        case .leasesLost(let batches): logger.warning("leases lost", metadata: ["batches": "\(batches)"])
        case .endpointBreakerChanged(let name, let state): log(state, metadata: ["apns.endpoint": "\(name)"])
        case .appBreakerChanged(let app, let state): log(state, metadata: ["app": "\(app)"])
        case .credentialRefused(let app):
            logger.error("credential refused by APNs, sending suspended", metadata: ["app": "\(app)"])
        case .credentialAccepted(let app):
            logger.notice("credential accepted by APNs, sending resumed", metadata: ["app": "\(app)"])
        case .nothingDelivered(let app, let pushes):
            logger.warning("no push delivered for a minute", metadata: ["app": "\(app)", "pushes.sent": "\(pushes)"])
        }
    }

    private func log(_ state: Breaker.State, metadata: Logger.Metadata) {
        switch state {
        case .open: logger.warning("circuit breaker opened, sending suspended", metadata: metadata)
        case .halfOpen: logger.info("circuit breaker half open, sending probes", metadata: metadata)
        case .closed: logger.notice("circuit breaker closed, sending resumed", metadata: metadata)
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
                    self.apply { stateMachine, now, actions in stateMachine.tick(now: now, &actions) }
                }
            }
            // Not `waitForAll`: the first failure must cancel the other tasks, which never return.
            while try await group.next() != nil {}
        }
    }

    private func claimContinually() async throws {
        while !Task.isCancelled {
            await wake.wait()
            var mayHaveMore = true
            while mayHaveMore, !Task.isCancelled,
                let plan = apply({ stateMachine, now, _ in stateMachine.claimPlan(now: now) })
            {
                mayHaveMore = try await claim(plan)
            }
        }
    }

    private func claim(_ plan: DispatchBuffer.ClaimPlan) async throws -> Bool {
        let requestedAt = clock.monotonic()
        let request = ClaimRequest(
            batchesMax: plan.batchesMax, lease: configuration.lease, excludedApps: plan.excludedApps,
            excludedLanes: plan.excludedLanes, quarantinedMax: plan.quarantinedMax,
            excludedQuarantined: plan.excludedQuarantined
        )
        let batches: [ClaimedBatch]
        do {
            batches = try await queue.claim(request)
        } catch {
            guard error.isTransient else { throw error }
            logger.warning("claim failed, retrying", metadata: ["error": "\(error)"])
            return false
        }
        counters.batchesClaimed.add(batches.count, ordering: .relaxed)
        return apply { stateMachine, now, actions in
            stateMachine.claimed(batches, plan: plan, requestedAt: requestedAt, now: now, &actions)
        }
    }

    private func renewContinually() async throws {
        while !Task.isCancelled {
            try? await Task.sleep(for: configuration.renewEvery)
            let leases = stateMachine.withLock { $0.leases }
            guard !leases.isEmpty, !Task.isCancelled else { continue }
            let requestedAt = clock.monotonic()
            do {
                let lost = try await queue.renew(leases, for: configuration.lease)
                apply { stateMachine, _, actions in
                    stateMachine.renewed(leases, lost: lost, requestedAt: requestedAt, &actions)
                }
            } catch {
                guard error.isTransient else { throw error }
                logger.warning("lease renewal failed, retrying", metadata: ["error": "\(error)"])
            }
        }
    }

    // MARK: Drain

    /// Stops claiming and returns unsent batches to the store.
    package func beginDrain() {
        apply { stateMachine, now, actions in stateMachine.drain(now: now, &actions) }
    }

    /// Whether pushes are in flight and shutdown waits for their answers.
    package var hasUnanswered: Bool {
        !isShutdownForced.load(ordering: .relaxed) && stateMachine.withLock { $0.hasUnanswered }
    }

    /// Stops waiting for answers. Pushes that are unanswered when their client closes return to the queue.
    package func forceShutdown() { isShutdownForced.store(true, ordering: .relaxed) }
}

extension Dispatcher: APNSAnswerReceiver {
    package func receive(_ answers: APNSAnswers) {
        // Answers are classified without holding the lock.
        guard let work = stateMachine.withLock({ $0.work(answers.ticket) }) else {
            counters.lateAnswers.add(answers.answers.count, ordering: .relaxed)
            return
        }
        let classification = AnswerClassification(
            answers, for: work, policy: configuration.policy, slowAfter: configuration.breaker.slowAfter,
            now: clock.wall()
        )
        apply { stateMachine, now, actions in stateMachine.classified(classification, now: now, &actions) }
    }
}

extension Dispatcher: OutcomeObserver {
    package func announced(_ leases: [Lease]) {
        apply { stateMachine, now, actions in stateMachine.announced(leases, now: now, &actions) }
    }

    package func settled(_ leases: [Lease]) {
        apply { stateMachine, _, actions in stateMachine.settled(leases, &actions) }
    }

    package func refused(_ leases: [Lease]) {
        apply { stateMachine, _, actions in stateMachine.refused(leases, &actions) }
    }
}

extension Dispatcher: DirectHandoff {
    package func reserve(pushes: Int, for app: AppID, lane: Lane) -> HandoffReservation? {
        apply { stateMachine, now, _ in stateMachine.reserve(pushes: pushes, for: app, lane: lane, now: now) }
    }

    package func cancel(_ reservation: HandoffReservation) {
        stateMachine.withLock { $0.cancel(reservation) }
    }

    package func deliver(_ batch: ClaimedBatch, to reservation: HandoffReservation) {
        counters.batchesHandedOver.add(1, ordering: .relaxed)
        apply { stateMachine, now, actions in
            stateMachine.handoffDelivered(batch, to: reservation, now: now, &actions)
        }
    }

    package func notifyBacklog(of app: AppID, lane: Lane) {
        stateMachine.withLock { $0.notifyBacklog(of: app, lane: lane) }
        wake.set()
    }
}
