import APNSWire
import HTTP2Session
import NIOCore

/// One connection for requests about channels: the HTTP/2 session, and the requests in flight on it.
///
/// Its states and close rules are those of `ConnectionStateMachine`, which `APNSConnection` uses as well. It has no
/// queue: requests that it cannot send stay with the route, and requests that were not processed return to the route.
///
/// Used on the client's event loop only.
final class ChannelConnection {
    private static let tickInterval = TimeAmount.seconds(1)

    private let route: ChannelRoute
    private let session = HTTP2Session(role: .client, settings: HTTP2Settings(isPushEnabled: false))
    private var machine = ConnectionStateMachine()
    /// Whether a request was answered here with anything but a server error.
    private(set) var isProven = false
    /// The provider token of the last request.
    private(set) var token: ProviderToken?
    private var context: ChannelHandlerContext?
    private var idlePolicy: IdleConnectionPolicy
    private var exchanges: [UInt32: (call: ChannelCall, exchange: ChannelExchange)] = [:]
    private var tags: UInt32 = 0
    private var pings: UInt64 = 0
    /// Whether a call of the session is on the stack; the session must not be called again then.
    private var isInSession = false

    init(route: ChannelRoute) {
        self.route = route
        idlePolicy = IdleConnectionPolicy(route.limits.idle, now: route.now)
    }

    var state: ConnectionStateMachine.State { machine.state }

    // MARK: Requests

    /// Probes the connection first if it was idle for long.
    ///
    /// - Returns: whether a request can be sent now.
    func prepareToSend() -> Bool {
        guard state == .ready, exchanges.count < Int(session.remoteStreamsMax) else { return false }
        if idlePolicy.beginProbeIfIdle(streamsOpen: exchanges.count, now: route.now) { sendPing() }
        return !idlePolicy.isProbing
    }

    func send(_ call: ChannelCall, _ token: ProviderToken?) {
        self.token = token
        tags += 1
        do throws(HTTP2SessionError) {
            let body = call.request.body.map { HTTP2Body($0) }
            let stream = try session.submitRequest(fields(of: call.request, token), body: body, tag: tags)
            exchanges[tags] = (call, ChannelExchange(call.request.operation, stream: stream))
            call.connection = self
            idlePolicy.used(now: route.now)
        } catch {
            // All stream IDs are used up, or the session is ending.
            drain()
            route.notProcessed(call, .failed(.goAway, .neverWritten), by: self)
        }
        flush()
    }

    private func fields(of request: ChannelRequest, _ token: ProviderToken?) -> HTTP2Headers {
        var headers = HTTP2Headers()
        headers.append(":method", request.method)
        headers.append(":scheme", "https" as StaticString)
        headers.append(":authority", route.authority)
        headers.append(":path", request.path)
        if let token { headers.append("authorization", token.authorization) }
        for field in request.headers {
            headers.append(named: field.name, field.value, isIndexed: field.name != "apns-request-id")
        }
        return headers
    }

    /// Cancels a call whose deadline has passed, or whose task was cancelled.
    ///
    /// - Returns: how far the request got.
    func abandon(_ call: ChannelCall) -> APNSAnswer.Disposition {
        guard let (tag, entry) = exchanges.first(where: { $0.value.call === call }) else { return .neverWritten }
        exchanges[tag] = nil
        session.reset(entry.exchange.stream, code: .cancel)
        flush()
        closeIfDone()
        return entry.exchange.isSent ? .ambiguous : .neverWritten
    }

    private func resolve(_ tag: UInt32, _ resolution: ChannelExchange.Resolution) {
        guard let call = exchanges.removeValue(forKey: tag)?.call else { return }
        idlePolicy.used(now: route.now)
        switch resolution {
        case .answered(let response):
            isProven = isProven || response.status < 500
            route.answered(call, response, by: self)
        case .notProcessed(let answer): route.notProcessed(call, answer, by: self)
        case .ambiguous(let answer): route.end(call, .failed(answer))
        }
    }

    /// Writes the session's pending output.
    private func flush() {
        guard !isInSession, state != .closed, let context else { return }
        var output = context.channel.allocator.buffer(capacity: 1024)
        isInSession = true
        let isAlive = (try? session.serialize(delegate: self) { output.writeBytes($0) }) != nil
        isInSession = false
        if output.readableBytes > 0 { context.writeAndFlush(NIOAny(output), promise: nil) }
        if !isAlive { close(.protocolError) }
    }

    // MARK: Draining and closing

    /// Takes no more requests; the connection closes when the requests in flight are done.
    func drain() {
        guard machine.drain() else { return }
        machine.limitDraining(until: route.now + route.limits.drainTimeout)
        route.connectionDraining(self)
    }

    func closeIfDone() {
        guard !isInSession else { return }
        let failure = machine.closeFailure(
            isIdle: exchanges.isEmpty, isSessionOver: !session.wantsToRead && !session.wantsToWrite)
        if let failure { close(failure) }
    }

    /// Ends the connection now: every request in flight ends, or returns to the route.
    func close(_ failure: APNSAnswer.Failure) {
        guard let failure = machine.close(failure) else { return }
        route.connectionClosed(self, failure, machine.goAway?.reason ?? .none)
        for (tag, entry) in exchanges.sorted(by: { $0.key < $1.key }) {
            let exchange = entry.exchange
            resolve(
                tag,
                exchange.resolution(
                    unanswered: machine.answerForLostStream(
                        exchange.stream, isSent: exchange.isSent, failure: failure))
            )
        }
        context?.close(promise: nil)
    }

    // MARK: Timeouts

    private func scheduleTick() {
        route.eventLoop.assumeIsolated().scheduleTask(in: Self.tickInterval) { [weak self] in self?.tick() }
    }

    private func tick() {
        guard state != .closed else { return }
        // Until the connection is ready, the connect timeout applies.
        guard state != .connecting else { return scheduleTick() }
        if machine.isDrainOverdue(now: route.now) { return close(.connectionClosed) }
        switch idlePolicy.nextAction(streamsOpen: exchanges.count, now: route.now) {
        case .nothing: break
        case .ping: sendPing()
        case .giveUp: return close(.pingTimeout)
        case .closeUnused: return close(.connectionClosed)
        }
        scheduleTick()
    }

    private func sendPing() {
        pings += 1
        session.ping(pings)
        idlePolicy.pingSent(now: route.now)
        flush()
    }
}

// MARK: - Session events

extension ChannelConnection: HTTP2SessionDelegate {
    func settingsReceived() {
        if machine.settingsReceived() { route.connectionReady(self) }
    }

    func requestEnded(stream: Int32, tag: UInt32) { exchanges[tag]?.exchange.isSent = true }

    func requestNotSent(stream: Int32, tag: UInt32) { resolve(tag, .notProcessed(machine.answerForDroppedRequest)) }

    func headersBegan(stream: Int32, tag: UInt32) { exchanges[tag]?.exchange.headersBegan() }

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        exchanges[tag]?.exchange
            .fieldReceived(String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self))
    }

    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard exchanges[tag]?.exchange.bodyReceived(bytes) == false else { return }
        session.reset(stream, code: .cancel)
        answered(tag)
    }

    func messageEnded(stream: Int32, tag: UInt32) {
        // The server may answer before the request is complete; the rest of the request is then cancelled.
        if exchanges[tag]?.exchange.isSent == false { session.reset(stream, code: .cancel) }
        answered(tag)
    }

    private func answered(_ tag: UInt32) {
        if let response = exchanges[tag]?.exchange.response { resolve(tag, .answered(response)) }
    }

    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {
        guard let exchange = exchanges[tag]?.exchange, exchange.stream == stream else { return }
        resolve(
            tag,
            exchange.resolution(
                // Unlike with a push, the server may have acted on a part of the request.
                unanswered: machine.answerForClosedStream(
                    stream, isSent: true, isRefused: code == .refusedStream))
        )
    }

    func goAwayReceived(_ goAway: HTTP2GoAway) {
        let reason = machine.goAwayReceived(goAway)
        route.goAwayReceived(reason, by: self)
        // Before its SETTINGS there is nothing to wait for.
        if state == .connecting { close(.goAway) } else { drain() }
    }

    func pingAcknowledged(_ number: UInt64) {
        guard number == pings else { return }
        idlePolicy.pingAcknowledged()
        route.pump()
    }
}

// MARK: - Channel events

extension ChannelConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        scheduleTick()
        if context.channel.isActive { flush() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        close(.connectionClosed)
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) { flush() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .closed else { return }
        idlePolicy.bytesReceived(now: route.now)
        isInSession = true
        do throws(HTTP2SessionError) {
            try Self.unwrapInboundIn(data).withUnsafeReadableBytes { bytes throws(HTTP2SessionError) in
                switch machine.bytesReceived(bytes) {
                case .wait: return
                case .goAway(let goAway): return goAwayReceived(goAway)
                case .pass(let held):
                    try held.withUnsafeBufferPointer { held throws(HTTP2SessionError) in
                        try session.receive(UnsafeRawBufferPointer(held), delegate: self)
                    }
                    try session.receive(bytes, delegate: self)
                }
            }
            isInSession = false
        } catch {
            isInSession = false
            // The session may have a GOAWAY for the server.
            flush()
            close(.protocolError)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush()
        closeIfDone()
        route.pump()
    }

    func channelInactive(context: ChannelHandlerContext) { close(.connectionClosed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        close(ConnectErrorMapping.classify(error, isReady: state != .connecting, host: route.authority).failure)
    }
}
