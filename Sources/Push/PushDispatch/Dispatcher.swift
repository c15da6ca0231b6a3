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
    private let senders: [AppEnvironment: any APNSSender]
    private let turns: [AppEnvironment: Turn]
    private let configuration: DispatchConfiguration
    let clock: QueueClock
    let logger: Logger
    let stateMachine: DispatchStateMachine
    private let isShutdownForced = Atomic<Bool>(false)
    private let wake = AsyncSignal()
    /// Monotonic time before the last renewal of all leases.
    private let renewedAt: Mutex<Duration>
    package let counters = DispatchCounters()

    package init(
        queue: any DurableQueue, recorder: OutcomeRecorder, senders: [AppEnvironment: any APNSSender],
        configuration: DispatchConfiguration, clock: QueueClock, logger: Logger
    ) {
        self.queue = queue
        self.recorder = recorder
        self.senders = senders
        turns = senders.mapValues { _ in Turn() }
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        renewedAt = Mutex(clock.monotonic())
        stateMachine = DispatchStateMachine(
            configuration: configuration, apps: Array(senders.keys), seed: UInt64.random(in: 0 ... .max)
        )
    }

    package struct Snapshot: Sendable {
        package var pushesInMemory: Int
        package var pushesInFlight: Int
    }

    package func snapshot() -> Snapshot {
        Snapshot(pushesInMemory: stateMachine.pushesInMemory, pushesInFlight: stateMachine.pushesInFlight)
    }

    // MARK: Events and actions

    /// Applies an event to the state machine and performs the resulting actions.
    func apply<Result>(_ event: (DispatchStateMachine, Moment, inout DispatchActions) -> Result) -> Result {
        var actions = DispatchActions()
        let result = event(stateMachine, clock.now, &actions)
        perform(actions)
        return result
    }

    private func perform(_ actions: DispatchActions) {
        for write in actions.settlements {
            counters.count(write)
            recorder.record(write.settlement)
        }
        let begun = actions.sends.filter(\.isFirst).map(\.lease)
        if !begun.isEmpty { queue.begun(begun) }
        for send in actions.sends { begin(send) }
        for event in actions.events {
            counters.count(event)
            log(event)
        }
        if actions.wantsClaim { wake.set() }
    }

    /// Hands pushes to the APNs client of their app. The state machine sends only for apps that have one.
    private func begin(_ send: DispatchActions.Send) {
        guard let sender = senders[send.app], let turn = turns[send.app] else { return }
        sender.send(
            send.batch, indexes: send.indexes, ticket: send.ticket, timeouts: send.timeouts,
            to: AnswerReceiver(dispatcher: self, app: send.app, turn)
        )
    }

    /// Identifies an app in the queue of an APNs client that it shares with other apps, where the apps take turns.
    private final class Turn: Sendable {}

    /// Receives the answers to the pushes of one send.
    private final class AnswerReceiver: APNSAnswerReceiver {
        private let dispatcher: Dispatcher
        private let app: AppEnvironment
        private let turn: Turn

        init(dispatcher: Dispatcher, app: AppEnvironment, _ turn: Turn) {
            self.dispatcher = dispatcher
            self.app = app
            self.turn = turn
        }

        var owner: ObjectIdentifier { ObjectIdentifier(turn) }

        func receive(_ answers: APNSAnswers) {
            dispatcher.apply { $0.answered(answers, of: app, now: $1, &$2) }
        }
    }

    private func log(_ event: DispatchActions.Event) {
        switch event {
        case .lateAnswers, .ambiguous, .retryBudgetExhausted, .rateLimited: break
        case .leasesLost(let batches): logger.warning("leases lost", metadata: ["batches": .stringConvertible(batches)])
        case .endpointBreakerChanged(let name, let state, let cause):
            log(state, cause, metadata: ["apns.endpoint": "\(name)"])
        case .appBreakerChanged(let app, let state, let cause): log(state, cause, metadata: Self.metadata(of: app))
        case .credentialRefused(let app, let reason):
            logger.error(
                "credential refused by APNs, sending suspended",
                metadata: Self.metadata(of: app).merging(["apns.reason": "\(reason)"]) { $1 }
            )
        case .credentialAccepted(let app):
            logger.notice("credential accepted by APNs, sending resumed", metadata: Self.metadata(of: app))
        case .nothingDelivered(let app, let pushes):
            logger.warning(
                "no push delivered for a minute",
                metadata: Self.metadata(of: app).merging(["pushes.sent": .stringConvertible(pushes)]) { $1 }
            )
        }
    }

    private static func metadata(of app: AppEnvironment) -> Logger.Metadata {
        ["app": "\(app.app)", "environment": "\(app.environment.label)"]
    }

    private func log(_ state: CircuitBreaker.State, _ cause: ErrorCode, metadata: Logger.Metadata) {
        switch state {
        case .open:
            logger.warning(
                "circuit breaker opened, sending suspended",
                metadata: metadata.merging(["cause": "\(cause.entry.name)"]) { $1 }
            )
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
                    self.apply { $0.tick(now: $1, &$2) }
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
                let plan = stateMachine.claimPlan(now: clock.now)
            {
                mayHaveMore = try await claim(plan)
            }
        }
    }

    private func claim(_ plan: ClaimPlan) async throws -> Bool {
        // After a stop of the process, for example by SIGSTOP or of its machine, its leases may have run out. A claim would
        // end them, and send pushes again whose answers wait in the sockets.
        if clock.monotonic() - renewedAt.withLock({ $0 }) >= configuration.lease / 2 { try await renew() }
        let requestedAt = clock.monotonic()
        let batches: [ClaimedBatch]
        do {
            batches = try await queue.claim(plan.request(lease: configuration.lease))
        } catch {
            guard error.isTransient else { throw error }
            logger.warning("claim failed, retrying", metadata: ["error": "\(error)"])
            return false
        }
        counters.batchesClaimed.add(batches.count, ordering: .relaxed)
        return apply { $0.claimed(batches, plan: plan, requestedAt: requestedAt, now: $1, &$2) }
    }

    private func renewContinually() async throws {
        while !Task.isCancelled {
            try? await Task.sleep(for: configuration.renewEvery)
            if !Task.isCancelled { try await renew() }
        }
    }

    /// Renews all leases. They are lost only if another instance has taken their batches.
    private func renew() async throws {
        let requestedAt = clock.monotonic()
        let renewal = stateMachine.renewal()
        do throws(QueueError) {
            if !renewal.leases.isEmpty {
                let lost = try await queue.renew(renewal.leases, for: configuration.lease)
                apply { $0.renewed(renewal, lost: lost, requestedAt: requestedAt, now: $1, &$2) }
            }
            renewedAt.withLock { $0 = max($0, requestedAt) }
        } catch {
            guard error.isTransient else { throw error }
            logger.warning("lease renewal failed, retrying", metadata: ["error": "\(error)"])
        }
    }

    // MARK: Drain

    /// Stops claiming and returns unsent batches to the store.
    package func beginDrain() {
        apply { $0.drain(now: $1, &$2) }
    }

    /// Whether pushes are in flight and shutdown waits for their answers.
    package var hasUnanswered: Bool {
        !isShutdownForced.load(ordering: .relaxed) && stateMachine.hasUnanswered
    }

    /// Stops waiting for answers. Pushes that are unanswered when their client closes return to the queue.
    package func forceShutdown() { isShutdownForced.store(true, ordering: .relaxed) }
}

extension Dispatcher: OutcomeObserver {
    package func announced(_ leases: [Lease]) { apply { $0.announced(leases, now: $1, &$2) } }
    package func settled(_ leases: [Lease]) { apply { $0.settled(leases, now: $1, &$2) } }
    package func refused(_ leases: [Lease]) { apply { $0.refused(leases, now: $1, &$2) } }
}

extension Dispatcher: DirectHandoff {
    package func reserve(pushes: Int, for app: AppEnvironment, lane: Lane) -> HandoffReservation? {
        stateMachine.reserve(pushes: pushes, for: app, lane: lane, now: clock.now)
    }

    package func cancel(_ reservation: HandoffReservation) { stateMachine.cancel(reservation) }

    package func deliver(_ batch: ClaimedBatch, to reservation: HandoffReservation) {
        counters.batchesHandedOver.add(1, ordering: .relaxed)
        apply { $0.handoffDelivered(batch, to: reservation, now: $1, &$2) }
    }

    package func notifyBacklog(of app: AppEnvironment, lane: Lane) {
        stateMachine.notifyBacklog(of: app, lane: lane)
        wake.set()
    }
}
