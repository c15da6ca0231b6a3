public import APNSWire
import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// An APNs server for tests, with real TLS and HTTP/2 on loopback.
///
/// It follows Apple's documentation, and faults, token states and scenarios can be scripted. Any APNs client can use
/// it, because it communicates with the client only over sockets.
public final class Simulator: Sendable {
    /// The port that accepts pushes and broadcasts.
    public let port: Int
    /// The port of channel management; nil if it is disabled.
    public let channelPort: Int?
    /// The port of the control API; nil if it is disabled.
    public let controlPort: Int?
    /// The certificate authority that a client must trust, in PEM.
    public let certificateAuthorityPEM: String

    private let state: SimulatorState
    private let group: MultiThreadedEventLoopGroup
    private let listeners: [any Channel]
    private let control: ControlServer?
    private let runner: ScenarioRunner

    /// Starts a simulator and returns when it listens on all its ports.
    ///
    /// - Parameter scenario: A scenario to play from the start.
    /// - Throws: `SimulatorError`. Nothing keeps running after an error.
    public static func start(
        _ configuration: SimulatorConfiguration, scenario: Scenario? = nil
    ) async throws -> Simulator {
        let problems = configuration.problems()
        guard problems.isEmpty else { throw SimulatorError.badConfiguration(problems) }
        let certificate = try SimulatorCertificate(configuration.certificate)
        let tls = try certificate.makeContext(requestsClientCertificate: configuration.clientAuthority != nil)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.numberOfThreads)
        let state = SimulatorState(configuration, loop: group.next())
        let runner = ScenarioRunner(state, on: group.next())
        var listeners: [any Channel] = []
        do {
            listeners.append(try await listen(state, tls, group, configuration.port, .pushes))
            if let port = configuration.channelPort {
                listeners.append(try await listen(state, tls, group, port, .channelManagement))
            }
            let control = try await ControlServer.start(state, runner, group)
            let simulator = Simulator(state, runner, group, listeners, control, certificate.authorityPEM)
            if let scenario { try simulator.apply(scenario) }
            return simulator
        } catch {
            for listener in listeners { try? await listener.close() }
            try await group.shutdownGracefully()
            throw error
        }
    }

    private init(
        _ state: SimulatorState, _ runner: ScenarioRunner, _ group: MultiThreadedEventLoopGroup,
        _ listeners: [any Channel], _ control: ControlServer?, _ authorityPEM: String
    ) {
        self.state = state
        self.runner = runner
        self.group = group
        self.listeners = listeners
        self.control = control
        port = listeners[0].localAddress?.port ?? state.configuration.port
        channelPort = listeners.count > 1 ? listeners[1].localAddress?.port : nil
        controlPort = control?.port
        certificateAuthorityPEM = authorityPEM
    }

    private static func listen(
        _ state: SimulatorState, _ tls: NIOSSLContext, _ group: MultiThreadedEventLoopGroup, _ port: Int,
        _ api: SimulatorConnection.Port
    ) async throws -> any Channel {
        let host = state.configuration.host
        do {
            return try await ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 1024)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.maxMessagesPerRead, value: 4)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        guard state.tryAdmitConnection() else {
                            SimulatorConnection.resetOnClose(channel)
                            throw ConnectionRefused()
                        }
                        let delayLine = DelayLine(state.settings, seed: UInt64.random(in: .min ... .max))
                        try channel.pipeline.syncOperations.addHandlers(
                            delayLine, tlsHandler(tls, state.configuration),
                            SimulatorConnection(state: state, port: api, delayLine: delayLine)
                        )
                    }
                }
                .bind(host: host, port: port)
                .get()
        } catch {
            throw SimulatorError.cannotListen(host: host, port: port, reason: Self.reason(error))
        }
    }

    /// The cause of a failed bind, with a remedy for common errors.
    private static func reason(_ error: any Error) -> String {
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE: "the address is in use; choose another port"
        case EADDRNOTAVAIL: "the address does not belong to this machine"
        case EACCES: "permission denied; choose a port above 1023"
        default: "\(error)"
        }
    }

    /// Thrown to reject a connection over a limit.
    private struct ConnectionRefused: Error {}

    private static func tlsHandler(
        _ tls: NIOSSLContext, _ configuration: SimulatorConfiguration
    ) -> NIOSSLServerHandler {
        guard configuration.clientAuthority != nil else { return NIOSSLServerHandler(context: tls) }
        // The certificate is verified after the handshake, because APNs reports an invalid one with GOAWAY.
        return NIOSSLServerHandler(context: tls) { _, promise in promise.succeed(.certificateVerified) }
    }

    // MARK: Inspection

    /// Counts since the start or the last reset.
    public var counters: SimulatorCounters { state.counters }

    /// Received requests numbered above `sequence`, oldest first. Requests that have left the log are skipped.
    public func pushes(after sequence: UInt64 = 0, limit: Int = .max) -> [ReceivedPush] {
        state.pushes(after: sequence, limit: limit)
    }

    /// The IDs of accepted pushes in order of arrival, including duplicates; the newest `idLogMax` of them.
    public func takenIDs() -> [APNSID] { state.takenIDs(after: 0, limit: .max) }

    // MARK: Scripting

    /// Replaces the fault plan. The new plan's counts start at zero.
    public func setFaults(_ plan: FaultPlan) { state.setFaults(plan) }

    /// Sets the state of a device token; nil makes the token valid again.
    ///
    /// - Parameter delay: The time until the state takes effect. APNs deliberately reports an uninstall late.
    /// - Returns: false if a million other tokens already have a state. Always true with a delay.
    @discardableResult
    public func setTokenState(
        _ tokenState: SimulatedTokenState?, of token: DeviceToken, after delay: Duration = .zero
    ) -> Bool {
        state.setTokenState(tokenState, of: token.bytes, after: delay)
    }

    /// Replaces the rules that give a state to tokens without a state of their own.
    public func setTokenRules(_ rules: [TokenRule]) { state.setTokenRules(rules) }

    /// The current settings.
    public var settings: SimulatorSettings { state.settings }

    /// Changes settings, also for open connections.
    ///
    /// - Throws: `SimulatorError.badConfiguration` if the result is invalid. The settings are unchanged then.
    public func changeSettings(_ change: (inout SimulatorSettings) -> Void) throws(SimulatorError) {
        if let problems = state.changeSettings(change) { throw .badConfiguration(problems) }
    }

    /// Plays a scenario from its beginning. It replaces the current scenario, the fault plan and the token rules.
    ///
    /// - Throws: `SimulatorError.badConfiguration` if the scenario is invalid. Nothing changes then.
    public func apply(_ scenario: Scenario) throws(SimulatorError) {
        var settings = state.settings
        scenario.settings(&settings)
        let problems = scenario.problems() + settings.problems()
        guard problems.isEmpty else { throw .badConfiguration(problems) }
        runner.play(scenario)
    }

    /// Ends the scenario: restores the settings from before it, and removes all faults and token rules.
    public func endScenario() { runner.stop() }

    /// The name of the current scenario and the names of its active phases; nil if none is playing.
    public var scenario: (name: String, phases: [String])? { runner.status.map { ($0.scenario.name, $0.phases) } }

    /// The broadcast channels of an app, ordered by ID.
    public func channels(of bundleID: String) -> [SimulatedChannel] { state.channels.channels(of: bundleID) }

    /// Ends the scenario, deletes all records and scripted states, and restores the configured settings.
    public func reset() {
        runner.stop()
        state.reset()
    }

    // MARK: Shutdown

    /// Stops accepting connections, sends GOAWAY, waits up to `shutdownGrace` for pending responses, then closes all
    /// connections and releases the ports. Call it once.
    public func shutdown() async throws {
        runner.stop()
        for listener in listeners { try? await listener.close() }
        await control?.stop()
        let channels = state.openConnections
        for channel in channels {
            channel.pipeline.fireUserInboundEventTriggered(SimulatorConnection.ShutdownRequested())
        }
        let grace = TimeAmount(state.configuration.shutdownGrace)
        let timeout = group.next().scheduleTask(in: grace) {
            for channel in channels { channel.close(promise: nil) }
        }
        for channel in channels { try? await channel.closeFuture.get() }
        timeout.cancel()
        try await group.shutdownGracefully()
    }
}
