import APNSWire
import NIOCore
import NIOPosix
import NIOSSL

/// A place for one connection: makes it, waits between failed tries, and replaces it when it is lost or retired.
///
/// Used on the client's event loop only.
final class ConnectionSlot {
    private enum State {
        case idle
        case connecting(APNSConnection)
        case ready(APNSConnection)
        case waiting
    }

    private unowned let core: ClientCore
    private let tls: NIOSSLContext
    private var state = State.idle
    private var policy = ReconnectPolicy()
    /// Connections that take no new streams, on their way out. Bounded: each ends within the drain timeout, and new ones
    /// come no faster than the reconnect policy allows.
    private(set) var draining: [APNSConnection] = []

    init(core: ClientCore, tls: NIOSSLContext) {
        self.core = core
        self.tls = tls
    }

    /// The connection that takes new streams.
    var ready: APNSConnection? {
        if case .ready(let connection) = state { connection } else { nil }
    }

    /// Every connection there is.
    var connections: [APNSConnection] {
        switch state {
        case .connecting(let connection), .ready(let connection): [connection] + draining
        case .idle, .waiting: draining
        }
    }

    var streamsOpen: Int {
        draining.reduce(ready?.streams.openCount ?? 0) { $0 + $1.streams.openCount }
    }

    var label: APNSClientSnapshot.State {
        switch state {
        case .idle: .idle
        case .connecting: .connecting
        case .ready: .ready
        case .waiting: .waiting
        }
    }

    /// Has somebody to send to, at once or as soon as the reconnect policy allows.
    func connectIfNeeded() {
        guard case .idle = state else { return }
        let delay = policy.delay(random: Double.random(in: 0..<1))
        guard delay > .zero else { return connect() }
        state = .waiting
        core.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(delay)) { [weak self] in
            guard let self, case .waiting = self.state else { return }
            self.state = .idle
            if self.core.wantsConnection { self.connect() }
        }
    }

    private func connect() {
        let configuration = core.configuration
        let connection = APNSConnection(core: core, authority: core.authority, limits: core.limits)
        state = .connecting(connection)
        let timeout = TimeAmount(configuration.connectTimeout)
        // The host is looked up anew each time, so that load spreads over Apple's servers. The handlers are added
        // afterwards: the bootstrap may try several addresses at once, with a channel each.
        Self.bootstrap(on: core.eventLoop, timeout: timeout)
            .connect(host: configuration.endpoint.host, port: configuration.endpoint.port)
            .assumeIsolated()
            .whenComplete { [weak self] result in
                switch result {
                case .success(let channel): self?.attach(connection, to: channel)
                case .failure(let error): connection.finish(ConnectFailure.classify(error, isReady: false))
                }
            }
        // Covers what the bootstrap's own time-out does not: the TLS handshake and the server's SETTINGS.
        core.eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
            guard let self, case .connecting(let pending) = self.state, pending === connection else { return }
            connection.finish(.connectTimeout)
        }
    }

    private func attach(_ connection: APNSConnection, to channel: any Channel) {
        guard case .connecting(let pending) = state, pending === connection else {
            // It came too late.
            channel.close(promise: nil)
            return
        }
        let endpoint = core.configuration.endpoint
        let isAddress = (try? SocketAddress(ipAddress: endpoint.host, port: endpoint.port)) != nil
        do {
            // Without a server name, the certificate must name the address itself.
            let tls = try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : endpoint.host)
            try channel.pipeline.syncOperations.addHandler(tls)
            try channel.pipeline.syncOperations.addHandler(connection)
        } catch {
            channel.close(promise: nil)
            connection.finish(ConnectFailure.classify(error, isReady: false))
        }
    }

    private static func bootstrap(on eventLoop: any EventLoop, timeout: TimeAmount) -> ClientBootstrap {
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(.writeBufferWaterMark, value: .init(low: 64 * 1024, high: 256 * 1024))
        #if os(Linux)
        // TCP_USER_TIMEOUT (tcp(7)), milliseconds: unacknowledged data ends the connection after 15 s, not after the
        // quarter of an hour that Linux tries by default.
        let userTimeout = ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: 18))
        return bootstrap.channelOption(userTimeout, value: 15_000)
        #else
        return bootstrap
        #endif
    }

    // MARK: What became of a connection

    func becameReady(_ connection: APNSConnection) { state = .ready(connection) }

    func retired(_ connection: APNSConnection) {
        guard ready === connection else { return }
        draining.append(connection)
        leave(connection)
    }

    /// A connection is gone, or could not be made.
    func ended(_ connection: APNSConnection, _ failure: APNSAnswer.Failure) {
        if let place = draining.firstIndex(where: { $0 === connection }) {
            draining.remove(at: place)
            return
        }
        switch state {
        case .connecting(let mine) where mine === connection, .ready(let mine) where mine === connection:
            leave(connection)
            core.connectionLost(failure)
        default: break
        }
    }

    private func leave(_ connection: APNSConnection) {
        if connection.wasOfUse { policy.succeeded() } else { policy.failed() }
        state = .idle
    }
}
