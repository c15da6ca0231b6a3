import APNSKit
import APNSWire
package import Logging
import NIOPosix
import PushAccept
import PushDispatch
import PushModel
import PushOutcome
import PushStore
import SQLiteBackend
import ServiceLifecycle
import Synchronization
import Telemetry

/// A whole gateway: accept → queue → dispatch → APNs → outcome, put together, started and stopped in the right order.
package final class Gateway: Sendable {
    private let configuration: GatewayConfiguration
    private let logger: Logger
    private let store: SQLiteBackend
    private let clients: [AppID: APNSClient]
    private let recorder: OutcomeRecorder
    private let dispatcher: Dispatcher
    private let accept: AcceptService
    private let readiness: Readiness
    private let maintenance: StoreMaintenanceService
    private let links: ConnectivityMonitor
    private let failureSummaryLogger: FailureSummaryLogger
    private let isShutdownForced = Atomic<Bool>(false)

    /// Opens the store and loads the credentials; nothing is served and nothing is sent yet.
    ///
    /// - Throws: one sentence that says what to do. Nothing is left open then.
    package static func open(_ configuration: GatewayConfiguration, logger: Logger) throws -> Gateway {
        let problems = configuration.problems()
        guard problems.isEmpty else { throw ConfigurationError(file: "the configuration", problems: problems) }
        let clients = try GatewayClients.make(configuration, logger: logger)
        let store = try SQLiteBackend.open(
            folder: configuration.storePath,
            takeoverAfter: configuration.takesOver ? configuration.delivery.lease * 3 : nil, logger: logger
        )
        return Gateway(configuration, store: store, clients: clients, logger: logger)
    }

    private init(
        _ configuration: GatewayConfiguration, store: SQLiteBackend, clients: [AppID: APNSClient], logger: Logger
    ) {
        self.configuration = configuration
        self.logger = logger
        self.store = store
        self.clients = clients
        readiness = Readiness()
        recorder = OutcomeRecorder(queue: store, logger: logger)
        dispatcher = Dispatcher(
            queue: store, recorder: recorder, senders: clients, configuration: configuration.dispatch,
            clock: .system, logger: logger
        )
        links = ConnectivityMonitor(clients, logger: logger)
        failureSummaryLogger = FailureSummaryLogger(logger: logger)
        let directory = configuration.directory
        let admission = AdmissionController(limits: configuration.admission, apps: directory.apps.map(\.id))
        let delay: @Sendable (AppID) -> DeliveryDelay? = { [dispatcher, links] app in
            // A breaker needs some calls before it knows; the client knows after one.
            dispatcher.delay(of: app)
                ?? (links.isCut(app) ? DeliveryDelay(reason: .apnsUnreachable, estimate: nil) : nil)
        }
        maintenance = StoreMaintenanceService(
            queue: store, store: store, heartbeat: { store.heartbeat() }, retention: configuration.retention,
            wallClock: QueueClock.system.wall,
            observe: { [store, failureSummaryLogger] sample in
                admission.update(sample, delay, logger)
                failureSummaryLogger.look(store.settled(), now: QueueClock.system.monotonic())
            }, logger: logger
        )
        let metrics = MetricsRegistry()
        GatewayMetrics.register(
            in: metrics, dispatcher: dispatcher, clients: clients, links: links, maintenance: maintenance, store: store,
            readiness: readiness
        )
        GatewayMetrics.register(admission, of: directory, in: metrics)
        accept = AcceptService(
            configuration: configuration.accept, apps: directory,
            stores: AcceptStores(
                queue: store, outcomes: store, idempotent: store, control: store, deadLetters: store
            ),
            dispatch: AcceptDispatch(
                handoff: dispatcher, inMemory: dispatcher, delay: delay,
                pauseObserver: { [dispatcher] in dispatcher.setPaused($1, app: $0) }
            ),
            admission: admission, metrics: metrics,
            readiness: { [readiness] in readiness.problems }, clock: .system, logger: logger
        )
    }

    // MARK: Running

    /// How long requests in progress may take to end after the gateway was asked to stop: a client that does not read
    /// its answer must not hold up the rest.
    private static let requestTimeout: Duration = .seconds(5)

    private enum Part {
        case accept, dispatcher, recorder, links, maintenance
    }

    private enum Ending {
        case asked(isGraceful: Bool)
        case shutdownForced, graceOver, timedOut
        case ended(Part, (any Error)?)
    }

    /// Serves until `termination` returns, then drains: is not ready any more but goes on serving for the grace period,
    /// takes nothing new, waits for what is in flight, gives back what was not sent, and records every outcome.
    ///
    /// - Parameters:
    ///   - ready: called once with the base URL when pushes are taken.
    ///   - termination: returns when the gateway is to stop, or when its task is cancelled; true when there is to be a
    ///     grace period.
    ///   - impatience: returns when the stop is to take no longer than recording the outcomes.
    /// - Throws: when a part of it failed; then nothing was lost, but the process must not go on.
    package func run(
        ready: @escaping @Sendable (String) -> Void, until termination: @escaping @Sendable () async -> Bool,
        forceShutdown forceShutdownSignal: @escaping @Sendable () async -> Void
    ) async throws {
        dispatcher.setPausedApps(try await store.pausedApps().keys)
        reportBacklog(try await store.depth())
        let server = ServiceGroup(configuration: .init(services: [accept], logger: logger))
        let failure = await withTaskGroup(of: Ending.self) { group in
            start(.recorder, in: &group) { try await self.recorder.run(observer: self.dispatcher) }
            start(.dispatcher, in: &group) { try await self.dispatcher.run() }
            start(.accept, in: &group) { try await server.run() }
            start(.links, in: &group) { await self.links.run() }
            start(.maintenance, in: &group) { try await self.maintenance.run() }
            group.addTask { .asked(isGraceful: await termination()) }
            group.addTask {
                await forceShutdownSignal()
                self.isShutdownForced.store(true, ordering: .relaxed)
                self.dispatcher.forceShutdown()
                return .shutdownForced
            }
            if let port = await accept.boundPort() {
                readiness.set(.ready)
                ready("http://\(configuration.listen.host):\(port)")
            }
            return await supervise(server, &group)
        }
        await close()
        if let failure { throw failure }
        logger.notice("stopped")
    }

    /// What an earlier run has left, and what of it nobody will send.
    private func reportBacklog(_ depth: QueueDepth) {
        guard depth.pushes > 0 else { return }
        logger.notice("pushes of an earlier run wait", metadata: ["pushes": "\(depth.pushes)"])
        for row in depth.rows where clients[row.app] == nil {
            logger.error(
                "pushes of an app that is not configured wait until it is, or until they expire",
                metadata: ["app": "\(row.app)", "lane": "\(row.lane)", "pushes": "\(row.pushes)"]
            )
        }
    }

    /// A part that fails ends by telling so: cancelling the others at once would tear connections apart.
    private func start(
        _ part: Part, in group: inout TaskGroup<Ending>, _ run: @escaping @Sendable () async throws -> Void
    ) {
        group.addTask {
            do {
                try await run()
                return .ended(part, nil)
            } catch {
                return .ended(part, error)
            }
        }
    }

    /// Waits for the beginning of the end, and sees it through in order.
    ///
    /// - Returns: what went wrong, if something did.
    private func supervise(_ server: ServiceGroup, _ group: inout TaskGroup<Ending>) async -> (any Error)? {
        var failure: (any Error)?
        var isServing = true
        /// Waits for the next ending.
        func next(_ group: inout TaskGroup<Ending>) async -> Ending? {
            let ending = await group.next()
            if case .ended(let part, let error) = ending {
                if part == .accept { isServing = false }
                if failure == nil { failure = error }
            }
            return ending
        }
        let first = await next(&group)
        readiness.set(failure == nil ? .draining : .failed)
        logger.notice("stopping", metadata: ["in_flight": "\(dispatcher.snapshot().pushesInFlight)"])
        if case .asked(isGraceful: true) = first, isServing {
            // Whoever spreads the traffic has not noticed yet that this instance is leaving.
            Self.wait(configuration.shutdownGrace, then: .graceOver, in: &group)
            while isServing, failure == nil, !isShutdownForced.load(ordering: .relaxed), let ending = await next(&group)
            {
                if case .graceOver = ending { break }
            }
        }
        if isServing {
            await server.triggerGracefulShutdown()
            Self.wait(Self.requestTimeout, then: .timedOut, in: &group)
            while isServing, !isShutdownForced.load(ordering: .relaxed), let ending = await next(&group) {
                if case .timedOut = ending { break }
            }
        }
        if failure == nil {
            await drain()
            while failure == nil, let ending = await next(&group) {
                if case .ended(.recorder, _) = ending { break }
            }
        }
        group.cancelAll()
        return failure
    }

    private static func wait(_ duration: Duration, then ending: Ending, in group: inout TaskGroup<Ending>) {
        group.addTask {
            try? await Task.sleep(for: duration)
            return ending
        }
    }

    /// What is in flight ends, what was not sent goes back to the queue, and every outcome is recorded.
    private func drain() async {
        dispatcher.beginDrain()
        // With a long line in a client the answers would never be all there: what is not on its way goes back untouched.
        for client in clients.values { client.stopSending() }
        let end = ContinuousClock.now + configuration.drainTimeout
        while dispatcher.hasUnanswered, .now < end {
            try? await Task.sleep(for: .milliseconds(20))
        }
        // Whatever is still unanswered is reported now, and goes back to the queue.
        for client in clients.values { await client.shutdown(grace: .zero) }
        recorder.finish()
    }

    private func close() async {
        for client in clients.values { await client.shutdown(grace: .zero) }
        failureSummaryLogger.look(store.settled(), isLast: true, now: QueueClock.system.monotonic())
        await store.close()
    }
}

extension AdmissionController {
    /// Tells the log when new pushes are refused from now on, and when they are taken again.
    fileprivate func update(
        _ sample: StoreMaintenanceService.Sample, _ delay: (AppID) -> DeliveryDelay?, _ logger: Logger
    ) {
        let news = update(
            AdmissionSample(
                depth: sample.depth, now: sample.at, bytesFree: sample.usage?.bytesFree,
                memoryBytes: ProcessUsage.residentBytes, delay: delay
            )
        )
        for change in news {
            var metadata: Logger.Metadata = [:]
            if let app = change.app { metadata["app"] = "\(app)" }
            if let refusal = change.refusal {
                metadata["short_of"] = "\(refusal.label)"
                logger.error("new pushes are refused", metadata: metadata)
            } else {
                logger.notice("new pushes are taken again", metadata: metadata)
            }
        }
    }
}

/// Whether this instance should get traffic.
final class Readiness: Sendable {
    enum State: Sendable {
        case starting, ready, draining, failed
    }

    private let state = Mutex(State.starting)

    func set(_ new: State) {
        state.withLock { $0 = new }
    }

    /// Why not; empty when it should.
    var problems: [String] {
        switch state.withLock({ $0 }) {
        case .starting: ["starting"]
        case .ready: []
        case .draining: ["stopping"]
        case .failed: ["the store has failed"]
        }
    }
}
