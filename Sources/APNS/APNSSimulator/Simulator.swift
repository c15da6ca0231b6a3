import APNSWire
import NIOCore
import NIOPosix
import NIOSSL

/// An APNs to test against: real TLS and HTTP/2 on loopback, faithful where APNs is documented, and open to script.
///
/// It knows nothing of the client under test: it speaks to it over the socket alone.
public final class Simulator: Sendable {
    /// Where it listens for pushes.
    public let port: Int
    /// Where the control API listens; nil without one.
    public let controlPort: Int?
    /// What a client must trust, in PEM.
    public let certificateAuthorityPEM: String

    private let state: SimulatorState
    private let group: MultiThreadedEventLoopGroup
    private let listener: any Channel
    private let control: ControlServer?

    /// Starts listening.
    ///
    /// - Throws: `SimulatorError`; nothing is left running then.
    public static func start(_ configuration: SimulatorConfiguration) async throws -> Simulator {
        let problems = configuration.problems()
        guard problems.isEmpty else { throw SimulatorError.badConfiguration(problems) }
        let certificate = try SimulatorCertificate(configuration.certificate)
        let tls = try certificate.makeContext()
        let state = SimulatorState(configuration)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.numberOfThreads)
        do {
            let listener = try await listen(state, tls, group)
            do {
                let control = try await ControlServer.start(state, group)
                return Simulator(state, group, listener, control, certificate.authorityPEM)
            } catch {
                try await listener.close()
                throw error
            }
        } catch {
            try await group.shutdownGracefully()
            throw error
        }
    }

    private init(
        _ state: SimulatorState, _ group: MultiThreadedEventLoopGroup, _ listener: any Channel,
        _ control: ControlServer?, _ authorityPEM: String
    ) {
        self.state = state
        self.group = group
        self.listener = listener
        self.control = control
        port = listener.localAddress?.port ?? state.configuration.port
        controlPort = control?.port
        certificateAuthorityPEM = authorityPEM
    }

    private static func listen(
        _ state: SimulatorState, _ tls: NIOSSLContext, _ group: MultiThreadedEventLoopGroup
    ) async throws -> any Channel {
        let (host, port) = (state.configuration.host, state.configuration.port)
        do {
            return try await ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 1024)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.maxMessagesPerRead, value: 4)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandlers(
                            NIOSSLServerHandler(context: tls), SimulatorConnection(state: state)
                        )
                    }
                }
                .bind(host: host, port: port)
                .get()
        } catch {
            throw SimulatorError.cannotListen(host: host, port: port, reason: "\(error)")
        }
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
    /// - Returns: false when a million tokens have a state already.
    @discardableResult
    public func setTokenState(_ tokenState: SimulatedTokenState?, of token: DeviceToken) -> Bool {
        state.setTokenState(tokenState, of: token.bytes)
    }

    /// Forgets all that was recorded and scripted.
    public func reset() { state.reset() }

    // MARK: Ending

    /// Takes no new connections, tells clients by GOAWAY, waits up to `shutdownGrace` for what is unanswered, then
    /// closes everything and releases the ports. Call it once.
    public func shutdown() async throws {
        try? await listener.close()
        await control?.stop()
        let channels = state.openChannels
        for channel in channels {
            channel.pipeline.fireUserInboundEventTriggered(SimulatorConnection.ShutdownRequested())
        }
        let grace = TimeAmount(state.configuration.shutdownGrace)
        let patience = group.next().scheduleTask(in: grace) {
            for channel in channels { channel.close(promise: nil) }
        }
        for channel in channels { try? await channel.closeFuture.get() }
        patience.cancel()
        try await group.shutdownGracefully()
    }
}
