import APNSWire
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Opens channels to a server: DNS, TCP, an optional proxy, TLS.
///
/// Used on its event loop only.
struct Dialer {
    let eventLoop: any EventLoop
    let endpoint: APNSClientConfiguration.Endpoint
    let proxy: APNSClientConfiguration.Proxy?
    let tls: NIOSSLContext
    let timeout: TimeAmount

    /// Connects and puts `handler` on top of TLS.
    ///
    /// - Parameters:
    ///   - since: when the last connection failed; an earlier look-up of the host is not used.
    ///   - isWanted: called before `handler` is added; when it returns false, the channel is closed and nothing is
    ///     reported.
    ///   - failed: called when the connection could not be opened.
    func dial(
        _ handler: some ChannelHandler, since: NIODeadline, isWanted: @escaping () -> Bool,
        failed: @escaping (APNSConnectionFailure) -> Void
    ) {
        let (host, port) = proxy.map { ($0.host, $0.port) } ?? (endpoint.host, endpoint.port)
        // Handlers are added later: the bootstrap may try several addresses concurrently, with a channel for each.
        bootstrap(since).connect(host: host, port: port).assumeIsolated().whenComplete { result in
            switch result {
            case .failure(let error): failed(connectFailure(error))
            case .success(let channel):
                guard isWanted() else { return channel.close(promise: nil) }
                limitUnacknowledged(channel)
                self.tunnel(through: channel) { result in
                    guard isWanted() else { return channel.close(promise: nil) }
                    do {
                        try result.get()
                        try self.addTLS(and: handler, to: channel)
                    } catch {
                        channel.close(promise: nil)
                        failed(ConnectErrorMapping.classify(error, isReady: false, host: endpoint.host))
                    }
                }
            }
        }
    }

    /// The failure of the TCP connection, which with a proxy says nothing about APNs.
    private func connectFailure(_ error: any Error) -> APNSConnectionFailure {
        guard let proxy else { return ConnectErrorMapping.classify(error, isReady: false, host: endpoint.host) }
        let failure = ConnectErrorMapping.classify(error, isReady: false, host: proxy.host)
        return APNSConnectionFailure(
            .proxy, .proxyUnreachable, "the proxy \(proxy.host):\(proxy.port) cannot be reached: \(failure.detail)")
    }

    /// Opens a tunnel through the proxy (RFC 9110, section 9.3.6); succeeds immediately without a proxy.
    private func tunnel(through channel: any Channel, then: @escaping (Result<Void, any Error>) -> Void) {
        guard let proxy else { return then(.success(())) }
        let promise = eventLoop.makePromise(of: Void.self)
        let encoder = HTTPRequestEncoder()
        let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes))
        let tunnel = ProxyTunnelHandler(
            host: endpoint.host, port: endpoint.port, authorization: proxy.authorization, timeout: timeout,
            promise: promise)
        let pipeline = channel.pipeline.syncOperations
        promise.futureResult.assumeIsolated().whenComplete { result in
            guard case .success = result else { return then(.failure(ProxyError(proxy, status: tunnel.status))) }
            pipeline.removeHandler(encoder).and(pipeline.removeHandler(tunnel)).and(pipeline.removeHandler(decoder))
                .assumeIsolated().whenComplete { then($0.map { _ in }) }
        }
        do {
            try pipeline.addHandlers([encoder, decoder, tunnel])
        } catch {
            promise.fail(error)
        }
    }

    private func addTLS(and handler: some ChannelHandler, to channel: any Channel) throws {
        let isAddress = (try? SocketAddress(ipAddress: endpoint.host, port: endpoint.port)) != nil
        // Without a server name, the certificate must contain the IP address.
        let tls = try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : endpoint.host)
        try channel.pipeline.syncOperations.addHandlers([InterruptedReadHandler(), tls, handler])
    }

    private func bootstrap(_ since: NIODeadline) -> ClientBootstrap {
        ClientBootstrap(group: eventLoop)
            .resolver(ShufflingResolver(since: since, eventLoop: eventLoop))
            .connectTimeout(timeout)
            .channelOption(.writeBufferWaterMark, value: .init(low: 64 * 1024, high: 256 * 1024))
    }

    /// Ends the connection when data is not acknowledged for 9 s, instead of the quarter of an hour of Linux. The kernel
    /// drops the data, so pushes that are sent again after the 10 s for an answer do not arrive twice when the network is
    /// back. Not set while the connection is opened, which has a timeout of its own.
    private func limitUnacknowledged(_ channel: any Channel) {
        #if os(Linux)
        // TCP_USER_TIMEOUT (tcp(7)), milliseconds.
        let userTimeout = ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: 18))
        try? channel.syncOptions?.setOption(userTimeout, value: 9_000)
        #endif
    }
}

/// The proxy did not open a tunnel.
struct ProxyError: Error {
    let failure: APNSConnectionFailure

    /// - Parameter status: the status of the proxy's response; nil without one.
    init(_ proxy: APNSClientConfiguration.Proxy, status: UInt?) {
        let name = "the proxy \(proxy.host):\(proxy.port)"
        let detail =
            switch status {
            case nil: "\(name) closed the connection, or did not respond to CONNECT"
            case 407?: "\(name) requires other credentials (status 407)"
            case 403?: "\(name) does not allow the connection (status 403)"
            case let status?: "\(name) did not open a tunnel (status \(status))"
            }
        failure = APNSConnectionFailure(.proxy, .proxyRefused, detail)
    }
}
