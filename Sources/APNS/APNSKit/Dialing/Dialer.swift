import NIOCore
import NIOExtras
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Makes the way to a server: DNS, TCP, a proxy if there is one, TLS.
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
    ///   - isWanted: asked before the handler goes in; when it says no, the connection is closed without a word.
    ///   - failed: there will be no connection.
    func dial(
        _ handler: some ChannelHandler, isWanted: @escaping () -> Bool, failed: @escaping (any Error) -> Void
    ) {
        let (host, port) = proxy.map { ($0.host, $0.port) } ?? (endpoint.host, endpoint.port)
        // The handlers are added afterwards: the bootstrap may try several addresses at once, with a channel each.
        bootstrap().connect(host: host, port: port).assumeIsolated().whenComplete { result in
            switch result {
            case .failure(let error): failed(error)
            case .success(let channel):
                guard isWanted() else { return channel.close(promise: nil) }
                self.tunnel(through: channel) { result in
                    guard isWanted() else { return channel.close(promise: nil) }
                    do {
                        try result.get()
                        try self.addTLS(and: handler, to: channel)
                    } catch {
                        channel.close(promise: nil)
                        failed(error)
                    }
                }
            }
        }
    }

    /// Asks the proxy for a tunnel (RFC 9110, section 9.3.6); without a proxy the way is free.
    private func tunnel(through channel: any Channel, then: @escaping (Result<Void, any Error>) -> Void) {
        guard let proxy else { return then(.success(())) }
        var headers = HTTPHeaders()
        if let authorization = proxy.authorization { headers.add(name: "proxy-authorization", value: authorization) }
        let promise = eventLoop.makePromise(of: Void.self)
        let encoder = HTTPRequestEncoder()
        let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes))
        let connect = NIOHTTP1ProxyConnectHandler(
            targetHost: endpoint.host, targetPort: endpoint.port, headers: headers, deadline: .now() + timeout,
            promise: promise
        )
        let pipeline = channel.pipeline.syncOperations
        promise.futureResult.assumeIsolated().whenComplete { result in
            guard case .success = result else { return then(result.mapError { ProxyError(cause: $0) }) }
            // The third handler has taken itself out.
            pipeline.removeHandler(encoder).and(pipeline.removeHandler(decoder)).assumeIsolated()
                .whenComplete { then($0.map { _ in }) }
        }
        do {
            try pipeline.addHandlers([encoder, decoder, connect])
        } catch {
            promise.fail(error)
        }
    }

    private func addTLS(and handler: some ChannelHandler, to channel: any Channel) throws {
        let isAddress = (try? SocketAddress(ipAddress: endpoint.host, port: endpoint.port)) != nil
        // Without a server name, the certificate must name the address itself.
        let tls = try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : endpoint.host)
        try channel.pipeline.syncOperations.addHandler(tls)
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    private func bootstrap() -> ClientBootstrap {
        let bootstrap = ClientBootstrap(group: eventLoop)
            .resolver(ShufflingResolver(eventLoop: eventLoop))
            .connectTimeout(timeout)
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
}

/// The proxy did not make a tunnel.
struct ProxyError: Error {
    let cause: any Error
}
