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
    /// The calls that have not ended, by number.
    private var calls: [UInt64: (call: ChannelCall, route: ChannelRoute)] = [:]
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

    /// - Parameter number: unique among the calls of the client.
    func send(
        _ request: ChannelRequest, _ number: UInt64, within time: TimeAmount,
        _ promise: EventLoopPromise<ChannelCall.Resolution>
    ) {
        guard !isClosing else { return promise.succeed(.failed(.failed(.clientClosed, .neverWritten))) }
        guard calls.count < requestsMax else { return promise.succeed(.failed(.failed(.overloaded, .neverWritten))) }
        let route = request.operation == .publish ? push : management
        let call = ChannelCall(request) { [self] resolution in
            calls[number] = nil
            promise.succeed(resolution)
            closeIfDone()
        }
        calls[number] = (call, route)
        call.deadlineTimer = eventLoop.assumeIsolated().scheduleTask(in: time) { route.expire(call) }
        route.send(call)
    }

    /// Ends a call whose task was cancelled, unless it has ended.
    func cancel(_ number: UInt64) {
        if let (call, route) = calls[number] { route.cancel(call) }
    }

    /// Takes no new requests, waits up to `grace` for the responses to those in flight, and closes.
    func close(grace: TimeAmount, promise: EventLoopPromise<Void>?) {
        if let promise { closePromises.append(promise) }
        isClosing = true
        if !calls.isEmpty {
            eventLoop.assumeIsolated().scheduleTask(in: grace) { [self] in closeRoutes() }
        }
        closeIfDone()
    }

    private func closeRoutes() {
        management.close()
        push.close()
    }

    private func closeIfDone() {
        guard isClosing, calls.isEmpty else { return }
        closeRoutes()
        let promises = closePromises
        closePromises = []
        for promise in promises { promise.succeed() }
    }
}
