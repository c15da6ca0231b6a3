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

/// An APNs to test against: real TLS and HTTP/2 on loopback, faithful where APNs is documented, and open to script.
///
/// It knows nothing of the client under test: it speaks to it over the socket alone.
public final class Simulator: Sendable {
    /// Where it listens for pushes.
    public let port: Int
    /// Where channel management listens; nil without it.
    public let channelPort: Int?
    /// Where the control API listens; nil without one.
    public let controlPort: Int?
    /// What a client must trust, in PEM.
    public let certificateAuthorityPEM: String

    private let state: SimulatorState
    private let group: MultiThreadedEventLoopGroup
    private let listeners: [any Channel]
    private let control: ControlServer?
    private let runner: ScenarioRunner

    /// Starts listening.
    ///
    /// - Parameter scenario: played from the start.
    /// - Throws: `SimulatorError`; nothing is left running then.
    public static func start(
        _ configuration: SimulatorConfiguration, scenario: Scenario? = nil
    ) async throws -> Simulator {
        let problems = configuration.problems()
        guard problems.isEmpty else { throw SimulatorError.badConfiguration(problems) }
        let certificate = try SimulatorCertificate(configuration.certificate)
        let tls = try certificate.makeContext(asksForCertificate: configuration.clientAuthority != nil)
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
                        guard state.admitsConnection() else {
                            SimulatorConnection.resetOnClose(channel)
                            throw ConnectionRefused()
                        }
                        let line = DelayLine(state.settings, seed: UInt64.random(in: .min ... .max))
                        try channel.pipeline.syncOperations.addHandlers(
                            line, tlsHandler(tls, state.configuration),
                            SimulatorConnection(state: state, port: api, line: line)
                        )
                    }
                }
                .bind(host: host, port: port)
                .get()
        } catch {
            throw SimulatorError.cannotListen(host: host, port: port, reason: Self.reason(error))
        }
    }

    /// What to do, where it is known.
    private static func reason(_ error: any Error) -> String {
        switch (error as? IOError)?.errnoCode {
        case EADDRINUSE: "the address is in use; choose another port"
        case EADDRNOTAVAIL: "the address is not one of this machine's"
        case EACCES: "the system does not allow this port"
        default: "\(error)"
        }
    }

    /// A client that may not connect now.
    private struct ConnectionRefused: Error {}

    private static func tlsHandler(
        _ tls: NIOSSLContext, _ configuration: SimulatorConfiguration
    ) -> NIOSSLServerHandler {
        guard configuration.clientAuthority != nil else { return NIOSSLServerHandler(context: tls) }
        // Whose certificate it is is judged after the handshake, since APNs tells its faults by GOAWAY.
        return NIOSSLServerHandler(context: tls) { _, promise in promise.succeed(.certificateVerified) }
    }

    // MARK: Looking

    public var counters: SimulatorCounters { state.counters }

    /// Requests numbered above `sequence`, oldest first; those that the log no longer holds are left out.
    public func pushes(after sequence: UInt64 = 0, limit: Int = .max) -> [ReceivedPush] {
        state.pushes(after: sequence, limit: limit)
    }

    /// Ids of the pushes taken, in order of arrival, repetitions included; the newest `idLogMax` of them.
    public func takenIDs() -> [APNSID] { state.takenIDs(after: 0, limit: .max) }

    // MARK: Scripting

    /// Replaces the faults.
    public func setFaults(_ plan: FaultPlan) { state.setFaults(plan) }

    /// Says what APNs knows of a token; nil makes it an ordinary one again.
    ///
    /// - Parameter delay: APNs tells of an uninstall late, on purpose; until then the token is as it was.
    /// - Returns: false when a million tokens have a state already.
    @discardableResult
    public func setTokenState(
        _ tokenState: SimulatedTokenState?, of token: DeviceToken, after delay: Duration = .zero
    ) -> Bool {
        state.setTokenState(tokenState, of: token.bytes, after: delay)
    }

    /// Replaces the states of all tokens that have none of their own.
    public func setTokenRules(_ rules: [TokenRule]) { state.setTokenRules(rules) }

    public var settings: SimulatorSettings { state.settings }

    /// Turns switches, for open connections too.
    ///
    /// - Throws: `SimulatorError.badConfiguration`; nothing has changed then.
    public func changeSettings(_ change: (inout SimulatorSettings) -> Void) throws(SimulatorError) {
        if let problems = state.changeSettings(change) { throw .badConfiguration(problems) }
    }

    /// Plays a scenario from its beginning, in place of any other. Faults and token rules set before are gone.
    ///
    /// - Throws: `SimulatorError.badConfiguration`; nothing has changed then.
    public func apply(_ scenario: Scenario) throws(SimulatorError) {
        var settings = state.settings
        scenario.settings(&settings)
        let problems = scenario.problems() + settings.problems()
        guard problems.isEmpty else { throw .badConfiguration(problems) }
        runner.play(scenario)
    }

    /// Ends the scenario: settings are what they were before it, its faults are gone.
    public func endScenario() { runner.stop() }

    /// The name of the scenario that is being played and of its phases that are active.
    public var scenario: (name: String, phases: [String])? { runner.status.map { ($0.scenario.name, $0.phases) } }

    /// The broadcast channels of an app.
    public func channels(of bundleID: String) -> [SimulatedChannel] { state.channels.channels(of: bundleID) }

    /// Forgets all that was recorded and scripted, and ends the scenario.
    public func reset() {
        runner.stop()
        state.reset()
    }

    // MARK: Ending

    /// Takes no new connections, tells clients by GOAWAY, waits up to `shutdownGrace` for what is unanswered, then
    /// closes everything and releases the ports. Call it once.
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
