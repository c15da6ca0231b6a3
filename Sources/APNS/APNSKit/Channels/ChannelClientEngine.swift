import APNSWire
import NIOCore
import NIOSSL

/// The engine of an `APNSChannelClient`: the routes to its two hosts, and the calls that have not ended.
///
/// Used on the client's event loop only.
final class ChannelClientEngine {
    private let eventLoop: any EventLoop
    private let management: ChannelRoute
    private let push: ChannelRoute
    private let requestsMax: Int
    private var callsOpen = 0
    private var isClosing = false
    private var closePromises: [EventLoopPromise<Void>] = []

    init(
        _ configuration: APNSChannelClientConfiguration, tls: NIOSSLContext, eventLoop: any EventLoop
    ) {
        self.eventLoop = eventLoop
        requestsMax = configuration.requestsMax
        let limits = ChannelRoute.Limits(
            idle: IdleConnectionPolicy.Limits(
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
        // A server that serves both, such as a simulator, gets one connection.
        push =
            configuration.pushEndpoint == configuration.managementEndpoint
            ? management : route(to: configuration.pushEndpoint)
    }

    func send(_ request: ChannelRequest, within time: TimeAmount, _ promise: EventLoopPromise<ChannelCall.Resolution>) {
        guard !isClosing else { return promise.succeed(.failed(.failed(.clientClosed, .neverWritten))) }
        guard callsOpen < requestsMax else { return promise.succeed(.failed(.failed(.overloaded, .neverWritten))) }
        callsOpen += 1
        let route = request.operation == .publish ? push : management
        let call = ChannelCall(request) { [self] resolution in
            callsOpen -= 1
            promise.succeed(resolution)
            closeIfDone()
        }
        call.deadlineTimer = eventLoop.assumeIsolated().scheduleTask(in: time) { route.expire(call) }
        route.send(call)
    }

    /// Takes no new requests, waits up to `grace` for the responses to those in flight, and closes.
    func close(grace: TimeAmount, promise: EventLoopPromise<Void>?) {
        if let promise { closePromises.append(promise) }
        guard !isClosing else { return closeIfDone() }
        isClosing = true
        if callsOpen > 0 {
            eventLoop.assumeIsolated().scheduleTask(in: grace) { [self] in closeRoutes() }
        }
        closeIfDone()
    }

    private func closeRoutes() {
        management.close()
        push.close()
    }

    private func closeIfDone() {
        guard isClosing, callsOpen == 0 else { return }
        closeRoutes()
        let promises = closePromises
        closePromises = []
        for promise in promises { promise.succeed() }
    }
}
