import ArgumentParser
import Foundation
import Logging
import NIOCore
import PushGateway
import Telemetry

/// Runs the gateway.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the gateway.",
        discussion: """
            Accepts pushes over HTTP and sends them to APNs. SIGTERM and SIGINT drain the gateway and stop it; SIGINT \
            skips the grace period (shutdown.grace). A second signal shortens the drain. SIGHUP reads keys, certificates and \
            the log level again. The configuration is checked as 'godwit check' does.
            """
    )

    @Option(name: .shortAndLong, help: "Configuration file (YAML).", transform: UserPath.expanded)
    var config = "godwit.yaml"

    @Option(help: "Port to listen on instead of the configured one; 0 selects a free one.")
    var port: Int?

    @Option(help: "Folder of the database instead of the configured one.", transform: UserPath.expanded)
    var store: String?

    @Flag(help: "Take the database from a process whose heartbeat has been stale for three leases.")
    var takeover = false

    @Flag(help: "Start although acknowledged writes are missing in the database; a copy of its log is kept.")
    var acceptLoss = false

    func validate() throws { try ListenPort.check(port, "--port") }

    mutating func run() async throws {
        // First, so that SIGHUP does not end a process that is starting.
        let reloads = Termination.reloads()
        let (command, file) = (self, config)
        let configuration = try GatewayConfiguration.check(path: file, override: command.override).configuration
        let run = try await GatewayRun(configuration)
        try await run.run(
            reloading: (
                reloads,
                {
                    // Without a check of the files: one that cannot be used keeps its credential only.
                    var configuration = try GatewayConfiguration.read(path: file)
                    command.override(&configuration)
                    return configuration
                }
            )
        ) { url in Terminal.writeOutput("godwit: ready on \(url)") }
    }

    private func override(_ configuration: inout GatewayConfiguration) {
        if let port { configuration.listen.port = port }
        if let store { configuration.storePath = store }
        configuration.takesOver = takeover
        configuration.acceptsLoss = acceptLoss
    }
}

/// A gateway that the signals of this process stop.
struct GatewayRun {
    let gateway: Gateway
    private let level: SharedLogLevel
    private let serviceManager = ServiceManager()
    private let listen: GatewayConfiguration.Listen

    init(_ configuration: GatewayConfiguration) async throws {
        Termination.listen()
        Self.raiseDescriptorLimit()
        listen = configuration.listen
        if configuration.takesOver { try Self.requireFreePort(configuration.listen) }
        let level = SharedLogLevel(Logger.Level(rawValue: configuration.logLevel) ?? .info)
        self.level = level
        let logger = Logger(label: "godwit") { label in JSONLogHandler(label: label, level: level) }
        gateway = try await withPlainErrors { try Gateway.open(configuration, logger: logger) }
    }

    /// Permits as many open files as the system does: the usual 1,024 are fewer than the connections of clients.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// A process that hangs still holds its port. This check runs before the takeover: otherwise the new process would
    /// own the store but could not listen, and neither process would serve.
    private static func requireFreePort(_ listen: GatewayConfiguration.Listen) throws {
        guard ListenPort.isInUse(listen.port, host: listen.host) else { return }
        throw CommandError(
            "port \(listen.port) is in use, possibly by the previous owner; the database was not taken over; use another --port, or \(ListenPort.ownerAdvice(listen.port))"
        )
    }

    /// Serves until a signal arrives, then drains. A second signal forces the shutdown. Reports each step to the service
    /// manager.
    ///
    /// - Parameter reloading: when to reload, and how to read the configuration then; nil: never.
    func run(
        reloading: (signals: AsyncStream<Void>, read: @Sendable () throws -> GatewayConfiguration)? = nil,
        ready: @escaping @Sendable (String) -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let (signals, read) = reloading {
                group.addTask { [gateway, level, serviceManager] in
                    for await _ in signals {
                        serviceManager.reportReload { gateway.reload(read, level: level) }
                    }
                }
            }
            // The task of the reloads ends when it is cancelled only.
            defer { group.cancelAll() }
            try await serve(ready)
        }
    }

    private static func bindAdvice(_ code: Int32, port: Int) -> String {
        switch code {
        case EADDRINUSE: "\(ListenPort.ownerAdvice(port)), or change listen.port or --port"
        case EADDRNOTAVAIL: "listen.host must be an address of this host, such as 127.0.0.1 or 0.0.0.0"
        default: "a port below 1024 needs a privilege; change listen.port or --port"
        }
    }

    private func serve(_ ready: @escaping @Sendable (String) -> Void) async throws {
        try await withPlainErrors {
            do {
                try await gateway.run(
                    ready: { [serviceManager] url in
                        serviceManager.reportReady("serving on \(url)")
                        ready(url)
                    },
                    until: { [serviceManager] in
                        await Termination.wait()
                        serviceManager.reportStopping()
                        return !Termination.isInterrupt
                    },
                    forceShutdown: { await Termination.wait(times: 2) }
                )
            } catch let error as IOError where [EADDRINUSE, EADDRNOTAVAIL, EACCES].contains(error.errnoCode) {
                throw CommandError(
                    "cannot listen on \(listen.host):\(listen.port): \(PlainReason.of(errno: error.errnoCode)); "
                        + Self.bindAdvice(error.errnoCode, port: listen.port))
            }
        }
    }
}
