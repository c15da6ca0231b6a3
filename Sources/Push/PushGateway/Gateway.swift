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

/// A gateway: creates all components of the path accept → queue → dispatch → APNs → outcome, and starts and stops them
/// in order.
package final class Gateway: Sendable {
    let configuration: GatewayConfiguration
    let logger: Logger
    private let store: any GatewayStore
    let clients: GatewayClients
    let certificates: CertificateMonitor
    private let recorder: OutcomeRecorder
    private let dispatcher: Dispatcher
    private let accept: AcceptService
    private let readiness: Readiness
    private let maintenance: StoreMaintenanceService
    private let connectivity: ConnectivityMonitor
    private let failureSummaryLogger: FailureSummaryLogger
    private let isShutdownForced = Atomic<Bool>(false)

    /// Opens the store and loads the credentials. The gateway does not serve or send yet.
    ///
    /// - Throws: an error whose description says what to change. Nothing is left open then.
    package static func open(_ configuration: GatewayConfiguration, logger: Logger) throws -> Gateway {
        let problems = configuration.problems()
        guard problems.isEmpty else { throw ConfigurationError(file: "the configuration", problems: problems) }
        let clients = try GatewayClients(configuration, logger: logger)
        for (_, file, mode) in FileCheck(configuration, now: QueueClock.system.wall()).exposedFiles {
            logger.warning(
                "file with a secret can be read or changed by every user",
                metadata: ["path": "\(file)", "mode": "\(mode)"])
        }
        var settings = SQLiteConfiguration()
        settings.policy = configuration.dispatch.policy
        let store = try SQLiteBackend.open(
            folder: configuration.storePath, configuration: settings,
            takeoverAfter: configuration.takesOver ? configuration.delivery.lease * 3 : nil,
            acceptsLoss: configuration.acceptsLoss, logger: logger
        )
        return Gateway(configuration, store: store, clients: clients, logger: logger)
    }

    private init(
        _ configuration: GatewayConfiguration, store: any GatewayStore, clients: GatewayClients, logger: Logger
    ) {
        self.configuration = configuration
        self.logger = logger
        self.store = store
        self.clients = clients
        readiness = Readiness()
        recorder = OutcomeRecorder(queue: store, logger: logger)
        let senders = clients.clients.mapValues { AppSender($0) }
        dispatcher = Dispatcher(
            queue: store, recorder: recorder, senders: senders, configuration: configuration.dispatch,
            clock: store.clock, logger: logger
        )
        connectivity = ConnectivityMonitor(clients.clients, logger: logger)
        certificates = CertificateMonitor(
            clients,
            bundleIDs: Dictionary(configuration.apps.map { (AppID($0.name), $0.bundleID) }) { first, _ in first },
            wallClock: store.clock.wall, logger: logger
        )
        failureSummaryLogger = FailureSummaryLogger(logger: logger)
        let directory = configuration.directory
        let admission = AdmissionController(limits: configuration.admission, apps: directory.apps.map(\.id))
        let delay: @Sendable (AppEnvironment) -> DeliveryDelay? = { [dispatcher, connectivity] app in
            connectivity.explain(dispatcher.delay(of: app), of: app)
        }
        maintenance = StoreMaintenanceService(
            queue: store, store: store, heartbeat: { store.heartbeat() }, retention: configuration.retention,
            wallClock: store.clock.wall,
            observe: { [store, failureSummaryLogger] sample in
                admission.update(sample, { directory.delay(of: $0, delay) }, logger)
                failureSummaryLogger.log(store.settled(), now: store.clock.monotonic())
            }, logger: logger
        )
        let metrics = MetricsRegistry()
        GatewayMetrics.register(
            in: metrics, dispatcher: dispatcher, senders: senders, connectivity: connectivity, maintenance: maintenance,
            store: store, readiness: readiness
        )
        GatewayMetrics.register(admission, of: directory, in: metrics)
        GatewayMetrics.register(certificates, apps: directory.apps.map(\.id), in: metrics)
        GatewayMetrics.registerProcess(startedAt: QueueClock.system.wall(), in: metrics)
        accept = AcceptService(
            configuration: configuration.accept, apps: directory,
            stores: AcceptStores(
                queue: store, outcomes: store, idempotent: store, control: store, deadLetters: store,
                search: store
            ),
            dispatch: AcceptDispatch(
                handoff: dispatcher, canceller: dispatcher, delay: delay,
                pauseObserver: { [dispatcher] in dispatcher.setPaused($1, app: $0) }
            ),
            admission: admission, metrics: metrics,
            readiness: { [readiness] in readiness.problems }, notices: { [connectivity] in connectivity.notices },
            clock: store.clock, logger: logger
        )
    }

    // MARK: Running

    /// How long requests in progress may take to end during a shutdown. A client that does not read its response must
    /// not block it.
    private static let requestTimeout: Duration = .seconds(5)

    private enum Component {
        case accept, dispatcher, recorder, connectivity, maintenance, certificates
    }

    private enum Event {
        case stopRequested(isGraceful: Bool)
        case shutdownForced, graceEnded, requestsTimedOut
        case ended(Component, (any Error)?)
    }

    /// Serves until `termination` returns, then drains. The drain has these steps:
    ///
    /// 1. Report that the gateway is not ready, and serve for the grace period.
    /// 2. Accept no new requests.
    /// 3. Wait for the answers of pushes in flight, return unsent pushes to the queue, and record every outcome.
    ///
    /// - Parameters:
    ///   - ready: called once with the base URL when the gateway accepts pushes.
    ///   - termination: returns when the gateway is to stop, or when its task is cancelled; true requests the grace
    ///     period.
    ///   - forceShutdownSignal: returns when the shutdown must be forced: then it only records the outcomes.
    /// - Throws: the error of a component that failed. No accepted push is lost, but the process must exit.
    package func run(
        ready: @escaping @Sendable (String) -> Void, until termination: @escaping @Sendable () async -> Bool,
        forceShutdown forceShutdownSignal: @escaping @Sendable () async -> Void
    ) async throws {
        dispatcher.setPausedApps(try await store.pausedApps().keys)
        reportBacklog(try await store.depth())
        let server = ServiceGroup(configuration: .init(services: [accept], logger: logger))
        let failure = await withTaskGroup(of: Event.self) { group in
            start(.recorder, in: &group) { try await self.recorder.run(observer: self.dispatcher) }
            start(.dispatcher, in: &group) { try await self.dispatcher.run() }
            start(.accept, in: &group) { try await server.run() }
            start(.connectivity, in: &group) { await self.connectivity.run() }
            start(.maintenance, in: &group) { try await self.maintenance.run() }
            start(.certificates, in: &group) { await self.certificates.run() }
            group.addTask { .stopRequested(isGraceful: await termination()) }
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

    /// Logs the pushes that an earlier run left, and those of apps that are not configured.
    private func reportBacklog(_ depth: QueueDepth) {
        guard depth.pushes > 0 else { return }
        logger.notice("pushes of an earlier run are waiting", metadata: ["pushes": .stringConvertible(depth.pushes)])
        for row in depth.rows where !clients.clients.keys.contains(where: { $0.app == row.app }) {
            logger.error(
                "pushes of an unconfigured app wait until it is configured or they expire",
                metadata: ["app": "\(row.app)", "lane": "\(row.lane)", "pushes": .stringConvertible(row.pushes)]
            )
        }
    }

    /// Adds a component to the group. Its error becomes an event instead of an error of the group, which would cancel
    /// the other components and abort their connections.
    private func start(
        _ component: Component, in group: inout TaskGroup<Event>, _ run: @escaping @Sendable () async throws -> Void
    ) {
        group.addTask {
            do {
                try await run()
                return .ended(component, nil)
            } catch {
                return .ended(component, error)
            }
        }
    }

    /// Waits for a reason to stop, then runs the steps of the drain in order.
    ///
    /// - Returns: the first error of a component; nil if none failed.
    private func supervise(_ server: ServiceGroup, _ group: inout TaskGroup<Event>) async -> (any Error)? {
        var failure: (any Error)?
        var isServing = true
        func next(_ group: inout TaskGroup<Event>) async -> Event? {
            let event = await group.next()
            if case .ended(let component, let error) = event {
                if component == .accept { isServing = false }
                if failure == nil { failure = error }
            }
            return event
        }
        let first = await next(&group)
        readiness.set(failure == nil ? .draining : .failed)
        logger.notice(
            "stopping", metadata: ["pushes.in_flight": .stringConvertible(dispatcher.snapshot().pushesInFlight)])
        accept.drainConnections()
        if case .stopRequested(isGraceful: true) = first, isServing {
            // The load balancer still sends requests until it detects that this instance is not ready.
            Self.wait(configuration.shutdownGrace, then: .graceEnded, in: &group)
            while isServing, failure == nil, !isShutdownForced.load(ordering: .relaxed), let event = await next(&group)
            {
                if case .graceEnded = event { break }
            }
        }
        if isServing {
            await server.triggerGracefulShutdown()
            Self.wait(Self.requestTimeout, then: .requestsTimedOut, in: &group)
            while isServing, !isShutdownForced.load(ordering: .relaxed), let event = await next(&group) {
                if case .requestsTimedOut = event { break }
            }
        }
        if failure == nil {
            await drain()
            while failure == nil, let event = await next(&group) {
                if case .ended(.recorder, _) = event { break }
            }
        }
        group.cancelAll()
        return failure
    }

    private static func wait(_ duration: Duration, then event: Event, in group: inout TaskGroup<Event>) {
        group.addTask {
            try? await Task.sleep(for: duration)
            return event
        }
    }

    /// Waits for answers in flight, returns unsent pushes to the queue, and records every outcome.
    private func drain() async {
        dispatcher.beginDrain()
        // Pushes that the clients have not written yet return to the queue unchanged; waiting for them could exceed the
        // timeout.
        for client in clients.clients.values { client.stopSending() }
        let end = ContinuousClock.now + configuration.drainTimeout
        while dispatcher.hasUnanswered, .now < end {
            try? await Task.sleep(for: .milliseconds(20))
        }
        // Reports the pushes that are still unanswered; they return to the queue.
        for client in clients.clients.values { await client.shutdown(grace: .zero) }
        recorder.finish()
    }

    private func close() async {
        for client in clients.clients.values { await client.shutdown(grace: .zero) }
        failureSummaryLogger.log(store.settled(), isFinal: true, now: store.clock.monotonic())
        await store.close()
    }
}

extension AdmissionController {
    /// Updates the controller and logs each start and end of a refusal.
    fileprivate func update(
        _ sample: StoreMaintenanceService.Sample, _ delay: (AppID) -> DeliveryDelay?, _ logger: Logger
    ) {
        let changes = update(
            AdmissionSample(
                depth: sample.depth, now: sample.at, bytesFree: sample.usage?.bytesFree,
                memoryBytes: ProcessUsage.residentBytes, delay: delay
            )
        )
        for change in changes {
            var metadata: Logger.Metadata = [:]
            if let app = change.app { metadata["app"] = "\(app)" }
            if let refusal = change.refusal {
                metadata["admission.reason"] = "\(refusal.label)"
                logger.error("new pushes are refused", metadata: metadata)
            } else {
                logger.notice("new pushes are accepted again", metadata: metadata)
            }
        }
    }
}

/// Whether this instance should receive traffic.
final class Readiness: Sendable {
    enum State: Sendable {
        case starting, ready, draining, failed
    }

    private let state = Mutex(State.starting)

    func set(_ new: State) {
        state.withLock { $0 = new }
    }

    /// The reasons why it should not; empty if it should.
    var problems: [String] {
        switch state.withLock({ $0 }) {
        case .starting: ["starting"]
        case .ready: []
        case .draining: ["stopping"]
        case .failed: ["the store has failed"]
        }
    }
}
