#if SimulatorControl
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// Serves the control API over HTTP/1.1 on its own port, on the simulator's threads.
final class ControlServer: Sendable {
    let port: Int
    private let services: ServiceGroup
    private let running: Task<Void, any Error>

    /// - Returns: nil if the configuration disables the control API.
    static func start(
        _ state: SimulatorState, _ runner: ScenarioRunner, _ threads: MultiThreadedEventLoopGroup
    ) async throws -> ControlServer? {
        guard let port = state.configuration.controlPort else { return nil }
        let host = state.configuration.host
        var logger = Logger(label: "simulator.control")
        logger.logLevel = .critical
        let listening = threads.any().makePromise(of: Int.self)
        let application = Application(
            router: ControlAPI(state: state, runner: runner).router(),
            configuration: ApplicationConfiguration(address: .hostname(host, port: port)),
            onServerRunning: { channel in listening.succeed(channel.localAddress?.port ?? port) },
            eventLoopGroupProvider: .shared(threads),
            logger: logger
        )
        var services = ServiceGroupConfiguration(services: [application], logger: logger)
        services.maximumGracefulShutdownDuration = state.configuration.shutdownGrace
        let group = ServiceGroup(configuration: services)
        // The only unstructured task of this library: Hummingbird's server is a `run()` that lasts until it is stopped.
        let running = Task {
            do {
                try await group.run()
            } catch {
                listening.fail(SimulatorError.cannotListen(host: host, port: port, reason: "\(error)"))
                throw error
            }
        }
        return ControlServer(port: try await listening.futureResult.get(), services: group, running: running)
    }

    private init(port: Int, services: ServiceGroup, running: Task<Void, any Error>) {
        self.port = port
        self.services = services
        self.running = running
    }

    func stop() async {
        await services.triggerGracefulShutdown()
        _ = await running.result
    }
}
#else
import NIOPosix

/// Without the package trait `SimulatorControl` there is no control API; the configuration reports a port for it.
struct ControlServer: Sendable {
    let port: Int

    static func start(
        _ state: SimulatorState, _ runner: ScenarioRunner, _ threads: MultiThreadedEventLoopGroup
    ) async throws -> ControlServer? {
        nil
    }

    func stop() async {}
}
#endif
