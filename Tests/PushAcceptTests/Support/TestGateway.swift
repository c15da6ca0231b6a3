import APNSWire
import Foundation
import Logging
import PushAccept
import PushModel
import PushStore
import ServiceLifecycle
import Synchronization
import Telemetry

/// An `AcceptService` on a free loopback port, while `body` runs.
struct TestGateway: Sendable {
    let port: Int
    let queue: FaultyStore
    let handoff: FakeHandoff
    let metrics: MetricsRegistry
    let admission: AdmissionController
    /// The bytes that its connections hold.
    let held: HeldBytes
    let drainConnections: @Sendable () -> Void
    let stop: @Sendable () async -> Void

    static let now = WallTime(milliseconds: 1_763_899_200_123)
    static let oneApp = AppDirectory(apps: [ConfiguredApp(id: AppID("demo"), bundleID: "com.example.app")])
    static let twoApps = AppDirectory(apps: [
        ConfiguredApp(id: AppID("demo"), bundleID: "com.example.app"),
        ConfiguredApp(id: AppID("other"), bundleID: "com.example.other"),
    ])

    /// Its pushes are for the sandbox unless they name another environment.
    static let twoEnvironments = AppDirectory(apps: [
        ConfiguredApp(id: AppID("demo"), bundleID: "com.example.app", environments: [.sandbox, .production])
    ])

    static func run(
        apps: AppDirectory = oneApp, queue: FaultyStore = FaultyStore(), handoff: FakeHandoff = FakeHandoff(),
        dispatch: AcceptDispatch? = nil, stores: AcceptStores? = nil, reasons: [String] = [],
        notices: [String] = [],
        configuration: AcceptConfiguration = AcceptConfiguration(), clock: TestClock = TestClock(),
        log: Logger = silence,
        _ body: @Sendable (TestGateway) async throws -> Void
    ) async throws {
        var configuration = configuration
        configuration.port = 0
        configuration.servesPushesOnEventLoop = BothServers.servesPushesOnEventLoop
        let metrics = MetricsRegistry()
        let admission = AdmissionController(limits: configuration.admission, apps: apps.apps.map(\.id))
        let service = AcceptService(
            configuration: configuration, apps: apps,
            stores: stores
                ?? AcceptStores(
                    queue: queue, outcomes: queue, idempotent: queue, control: queue, deadLetters: queue,
                    search: queue
                ),
            dispatch: dispatch ?? AcceptDispatch(handoff: handoff), admission: admission, metrics: metrics,
            readiness: { reasons }, notices: { notices },
            clock: QueueClock(wall: { now + clock.elapsed }, monotonic: { clock.elapsed }), logger: log
        )
        let group = ServiceGroup(configuration: .init(services: [service], logger: silence))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            guard let port = await service.boundPort() else {
                try await tasks.waitForAll()
                return
            }
            let gateway = TestGateway(
                port: port, queue: queue, handoff: handoff, metrics: metrics, admission: admission, held: service.held,
                drainConnections: { service.drainConnections() }
            ) {
                await group.triggerGracefulShutdown()
            }
            do {
                try await body(gateway)
            } catch {
                queue.unblockAppends()
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// The value of a metric; nil if it does not exist.
    ///
    /// - Parameter series: name and labels.
    func metric(_ series: String) -> Double? {
        metrics.exposition().split(separator: "\n").first { $0.hasPrefix(series + " ") }
            .flatMap { Double($0.dropFirst(series.count + 1)) }
    }

    /// Returns once the metrics contain `line`.
    func waitUntil(_ line: String) async {
        while !metrics.exposition().contains("\n\(line)\n") { await Task.yield() }
    }

    // MARK: Requests

    func send(
        _ method: String, _ path: String, type: String? = "application/json", body: String? = nil,
        headers: [String] = []
    ) async throws -> WireResponse {
        let port = self.port
        return try await onThread {
            let client = try WireClient(port: port)
            var head = "\(method) \(path) HTTP/1.1\r\nConnection: close\r\n"
            if !headers.contains(where: { $0.hasPrefix("Host:") }) { head += "Host: localhost\r\n" }
            if let body {
                if let type { head += "Content-Type: \(type)\r\n" }
                head += "Content-Length: \(body.utf8.count)\r\n"
            }
            for header in headers { head += header + "\r\n" }
            try client.send(head + "\r\n" + (body ?? ""))
            return try client.readResponse(isHead: method == "HEAD")
        }
    }

    func post(
        _ path: String, _ body: String, type: String = "application/json", headers: [String] = []
    ) async throws -> WireResponse {
        try await send("POST", path, type: type, body: body, headers: headers)
    }
}

let silence: Logger = {
    var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    return logger
}()

/// A clock that is advanced by hand.
final class TestClock: Sendable {
    private let time = Mutex(Duration.zero)

    var elapsed: Duration { time.withLock { $0 } }
    func advance(by duration: Duration) { time.withLock { $0 += duration } }
}

extension AcceptConfiguration {
    /// Takes the address of the client from `X-Forwarded-For` of a proxy on this host.
    static var behindLocalProxy: AcceptConfiguration {
        var configuration = AcceptConfiguration()
        configuration.trustedProxies = [AddressRange("127.0.0.0/8")].compactMap(\.self)
        return configuration
    }

    /// The defaults, with one different setting.
    static func with<Value>(_ setting: WritableKeyPath<AcceptConfiguration, Value>, _ value: Value)
        -> AcceptConfiguration
    {
        var configuration = AcceptConfiguration()
        configuration[keyPath: setting] = value
        return configuration
    }
}

/// Runs blocking code on a thread of its own, because the server under test needs the cooperative threads.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
    }
}
