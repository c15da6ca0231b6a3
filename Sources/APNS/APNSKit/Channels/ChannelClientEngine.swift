import APNSWire
import NIOCore
import NIOSSL

/// The heart of an `APNSChannelClient`: the ways to its two hosts, and the calls that have not ended.
///
/// Used on the client's event loop only.
final class ChannelClientEngine {
    private let eventLoop: any EventLoop
    private let management: ChannelRoute
    private let push: ChannelRoute
    private let requestsMax: Int
    private var callsOpen = 0
    private var isClosing = false
    private var closed: [EventLoopPromise<Void>] = []

    init(
        _ configuration: APNSChannelClientConfiguration, tls: NIOSSLContext, eventLoop: any EventLoop
    ) {
        self.eventLoop = eventLoop
        requestsMax = configuration.requestsMax
        let limits = ChannelRoute.Limits(
            watch: IdleConnectionPolicy.Limits(
                pingInterval: TimeAmount(configuration.pingInterval),
                pingTimeout: TimeAmount(configuration.pingTimeout),
                idleBeforeProbe: TimeAmount(configuration.idleBeforeProbe),
                idleTimeout: TimeAmount(configuration.idleTimeout)
            ),
            drainTimeout: TimeAmount(configuration.drainTimeout)
        )
        func route(to endpoint: APNSClientConfiguration.Endpoint) -> ChannelRoute {
            let dialer = Dialer(
                eventLoop: eventLoop, endpoint: endpoint, proxy: configuration.proxy, tls: tls,
                timeout: TimeAmount(configuration.connectTimeout)
            )
            return ChannelRoute(dialer, configuration.credential, limits, configuration.logger)
        }
        management = route(to: configuration.managementEndpoint)
        // One server that does both, such as a simulator, gets one connection.
        push =
            configuration.pushEndpoint == configuration.managementEndpoint
            ? management : route(to: configuration.pushEndpoint)
    }

    func send(_ request: ChannelRequest, within time: TimeAmount, _ promise: EventLoopPromise<ChannelCall.Ending>) {
        guard !isClosing else { return promise.succeed(.failed(.failed(.clientClosed, .neverWritten))) }
        guard callsOpen < requestsMax else { return promise.succeed(.failed(.failed(.overloaded, .neverWritten))) }
        callsOpen += 1
        let route = request.operation == .publish ? push : management
        let call = ChannelCall(request) { [self] ending in
            callsOpen -= 1
            promise.succeed(ending)
            finishClosing()
        }
        call.timer = eventLoop.assumeIsolated().scheduleTask(in: time) { route.expire(call) }
        route.take(call)
    }

    /// Takes no new requests, waits up to `grace` for the answers to those it has, and closes.
    func close(grace: TimeAmount, promise: EventLoopPromise<Void>?) {
        if let promise { closed.append(promise) }
        guard !isClosing else { return finishClosing() }
        isClosing = true
        if callsOpen > 0 {
            eventLoop.assumeIsolated().scheduleTask(in: grace) { [self] in closeRoutes() }
        }
        finishClosing()
    }

    private func closeRoutes() {
        management.close()
        push.close()
    }

    private func finishClosing() {
        guard isClosing, callsOpen == 0 else { return }
        closeRoutes()
        let promises = closed
        closed = []
        for promise in promises { promise.succeed() }
    }
}
