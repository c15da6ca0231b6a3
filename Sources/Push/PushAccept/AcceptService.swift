import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import PushConcurrency
import PushModel
package import PushStore
import ServiceLifecycle
import Synchronization
package import Telemetry

/// The HTTP server of the gateway: accepts pushes, and serves status queries and control requests.
///
/// Run it in a `ServiceGroup`. On graceful shutdown it stops listening, ends streams after the items already read, lets
/// other requests finish, commits all accepted pushes, and returns.
package final class AcceptService: Service {
    private let configuration: AcceptConfiguration
    private let collector: SinglePushCollector
    private let push: PushRoute
    private let checks: RequestChecks
    private let responder: AcceptResponder
    private let logger: Logger
    private let port = BoundPort()
    private let stopFlag = StopFlag()
    private let connections: ConnectionRegistry
    private let pipelines = PipelineLimit()
    /// The bytes that all connections hold in memory.
    package let held: HeldBytes

    /// - Parameters:
    ///   - configuration: without `problems()`.
    ///   - admission: for the apps of `apps`; the caller updates it once a second.
    ///   - readiness: the reasons why the gateway is not ready; empty if it is. Must not block.
    ///   - notices: what an operator should know although the gateway is ready: one line each. Must not block.
    package init(
        configuration: AcceptConfiguration, apps: AppDirectory, stores: AcceptStores, dispatch: AcceptDispatch,
        admission: AdmissionController, metrics registry: MetricsRegistry,
        readiness: @escaping @Sendable () -> [String],
        notices: @escaping @Sendable () -> [String] = { [] },
        clock: QueueClock, logger: Logger
    ) {
        self.configuration = configuration
        self.logger = logger
        let metrics = AcceptMetrics(registry: registry)
        connections = ConnectionRegistry(
            limits: configuration.connections, registry: registry, logger: logger,
            isExempt: { address in configuration.trustedProxies.contains { $0.contains(address) } }
        )
        held = HeldBytes(max: configuration.heldBytesMax, logger: logger)
        registry.gauge(
            "godwit_accept_held_bytes", help: "Bytes of requests, results and responses that connections hold."
        ) { [held] in Double(held.bytes) }
        registry.gauge(
            "godwit_accept_pipelined_requests", help: "Pipelined requests in work, of all connections."
        ) { [pipelines] in Double(pipelines.inUse) }
        registry.gauge(
            "godwit_accept_pipelines_waiting", help: "Connections whose next pipelined request waits for others."
        ) { [pipelines] in Double(pipelines.waitingCount) }
        let devices = configuration.rateLimits.device.map { DeviceLimiter(limit: $0, clock: clock.monotonic) }
        let committer = BatchCommitter(
            queue: stores.queue, idempotentQueue: stores.idempotent, handoff: dispatch.handoff,
            leaseDuration: configuration.leaseDuration,
            bytesMax: configuration.appendBytesMax, delay: dispatch.delay, devices: devices, metrics: metrics,
            wallClock: clock.wall, logger: logger
        )
        let idempotency = stores.idempotent.map {
            Idempotency(
                queue: $0, limit: configuration.storedResponses, retryAfter: configuration.retryAfterSeconds,
                metrics: metrics, wallClock: clock.wall
            )
        }
        if let queue = stores.idempotent {
            registry.gauge(
                "godwit_accept_stored_responses", help: "Stored responses of requests with an Idempotency-Key."
            ) { Double(queue.idempotencyUsage().records) }
            registry.gauge("godwit_accept_stored_response_bytes", help: "Their size, without keys and hashes.") {
                Double(queue.idempotencyUsage().bytes)
            }
        }
        collector = SinglePushCollector(
            committer: committer, apps: apps, pushesMax: configuration.singlePushesMax,
            batchPushesMax: configuration.batchPushesMax
        )
        registry.gauge(
            "godwit_accept_waiting_pushes", help: "Pushes of single-push requests that wait for the next write."
        ) { [collector] in Double(collector.waitingCount) }
        checks = RequestChecks(
            configuration: configuration, admission: admission, held: held, metrics: metrics, clock: clock.monotonic
        )
        push = PushRoute(
            apps: apps, collector: collector, committer: committer, idempotency: idempotency, admission: admission,
            devices: devices, configuration: configuration, metrics: metrics
        )
        let routes = AcceptRoutes(
            push: push,
            bulk: BulkRoute(
                apps: apps, committer: committer, idempotency: idempotency,
                bufferedBodies: BufferedBodyReader(configuration: configuration), admission: admission,
                devices: devices, held: held,
                configuration: configuration, metrics: metrics, stopFlag: stopFlag
            ),
            validate: ValidateRoute(apps: apps, configuration: configuration, wallClock: clock.wall),
            status: StatusRoutes(
                outcomes: stores.outcomes, delay: dispatch.delay, held: held, configuration: configuration,
                stopFlag: stopFlag
            ),
            search: SearchRoutes(
                store: stores.search, apps: apps, delay: dispatch.delay, configuration: configuration
            ),
            control: ControlRoutes(
                queue: stores.queue, control: stores.control, dispatch: dispatch, apps: apps,
                configuration: configuration, wallClock: clock.wall, audit: ControlAudit(logger: logger)
            ),
            deadLetters: DeadLetterRoutes(
                store: stores.deadLetters, handoff: dispatch.handoff, apps: apps, configuration: configuration,
                wallClock: clock.wall, audit: ControlAudit(logger: logger)
            ),
            checks: checks,
            readiness: readiness, notices: notices, stopFlag: stopFlag, registry: registry
        )
        responder = AcceptResponder(router: routes.router(), checks: checks, metrics: metrics, logger: logger)
    }

    /// The `Server` field of every response.
    static let serverName = "godwit"

    /// Waits until the server listens.
    ///
    /// - Returns: the port; nil if the service ended without listening.
    package func boundPort() async -> Int? { await port.value }

    /// Asks clients to close their connections, with `Connection: close` in each further response, because this instance
    /// is about to stop. Requests are still served.
    package func drainConnections() { connections.drain() }

    /// Serves until graceful shutdown or cancellation.
    ///
    /// - Throws: if the address cannot be bound.
    package func run() async throws {
        defer { port.set(nil) }
        try await withGracefulShutdownHandler {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await self.collector.run() }
                do {
                    try await application().run()
                } catch {
                    collector.stop()
                    try await group.waitForAll()
                    throw error
                }
                collector.stop()
                try await group.waitForAll()
            }
        } onGracefulShutdown: {
            self.connections.drain()
            self.stopFlag.set()
        }
    }

    private func application() -> Application<AcceptResponder> {
        let date = DateField()
        let server = HTTPServerBuilder { [configuration, connections, pipelines, held, push, checks] responder in
            GatewayChannel(
                configuration: configuration, connections: connections, pipelines: pipelines, held: held,
                responder: responder
            ) {
                configuration.servesPushesOnEventLoop ? PushHandler(route: push, checks: checks, date: date) : nil
            }
        }
        return Application(
            responder: responder, server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port), serverName: Self.serverName,
                backlog: 1024
            ),
            onServerRunning: { [port] channel in
                // An event loop under load polls its sockets some twenty times a second.
                try? await channel.setOption(.maxMessagesPerRead, value: 256).get()
                port.set(channel.localAddress?.port)
            }, logger: logger
        )
    }
}

/// The port of the server, which is known once it listens. The first value is kept.
private final class BoundPort: Sendable {
    private let port = Mutex<Int??>(nil)
    private let isKnown = AsyncLatch()

    func set(_ port: Int?) {
        self.port.withLock { if $0 == nil { $0 = .some(port) } }
        isKnown.open()
    }

    var value: Int? {
        get async {
            await isKnown.wait()
            return port.withLock { $0 ?? nil }
        }
    }
}
