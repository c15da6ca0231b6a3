import APNSWire
import HTTP2Session
import NIOCore

/// One connection for requests about channels: the HTTP/2 session and the requests in flight on it.
///
/// Used on the client's event loop only. It keeps nothing waiting: what it cannot send stays with its route, and what it
/// could not get answered goes back there.
final class ChannelConnection {
    enum State: Equatable {
        /// Until the server's first SETTINGS frame.
        case connecting
        case ready
        /// Takes no more requests; closes when those it has are done.
        case draining
        case closed
    }

    private static let tickInterval = TimeAmount.seconds(1)

    private let route: ChannelRoute
    private let session = HTTP2Session(role: .client, settings: HTTP2Settings(isPushEnabled: false))
    private(set) var state = State.connecting
    /// Whether anything was ever answered here, and not with an error of the server's own.
    private(set) var wasOfUse = false
    /// The token of the last request.
    private(set) var token: ProviderToken?
    private var context: ChannelHandlerContext?
    private var watch: IdleConnectionPolicy
    private var exchanges: [UInt32: (call: ChannelCall, exchange: ChannelExchange)] = [:]
    private var tags: UInt32 = 0
    private var pings: UInt64 = 0
    private var goAway: (lastStream: Int32, reason: APNSReason)?
    private var drainDeadline = NIODeadline.distantFuture
    private var hasRead = false
    /// Inside a call of the session, which then must not be called again.
    private var isInside = false

    init(route: ChannelRoute) {
        self.route = route
        watch = IdleConnectionPolicy(route.limits.watch, now: route.now)
    }

    // MARK: Requests

    /// Whether a request can go out now; an idle connection is asked for a sign of life first.
    func isFree() -> Bool {
        guard state == .ready, exchanges.count < Int(session.remoteStreamsMax) else { return false }
        if watch.mustProbe(streamsOpen: exchanges.count, now: route.now) { sendPing() }
        return !watch.isProbing
    }

    func send(_ call: ChannelCall, _ token: ProviderToken?) {
        self.token = token
        tags += 1
        do throws(HTTP2SessionError) {
            let body = call.request.body.map { HTTP2Body($0) }
            let stream = try session.submitRequest(fields(of: call.request, token), body: body, tag: tags)
            exchanges[tags] = (call, ChannelExchange(call.request.operation, stream: stream))
            call.connection = self
            watch.hasUse(now: route.now)
        } catch {
            // All stream ids are used up, or the session is ending.
            retire()
            route.turnedAway(call, .failed(.goAway, .neverWritten), by: self)
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

    /// Gives up a call whose time is over.
    ///
    /// - Returns: how far it got.
    func abandon(_ call: ChannelCall) -> APNSAnswer.Outcome {
        guard let (tag, entry) = exchanges.first(where: { $0.value.call === call }) else { return .neverWritten }
        exchanges[tag] = nil
        session.reset(entry.exchange.stream, code: .cancel)
        flush()
        closeIfDone()
        return entry.exchange.isSent ? .ambiguous : .neverWritten
    }

    private func conclude(_ tag: UInt32, _ ending: ChannelExchange.Ending) {
        guard let call = exchanges.removeValue(forKey: tag)?.call else { return }
        watch.hasUse(now: route.now)
        switch ending {
        case .answered(let response):
            wasOfUse = wasOfUse || response.status < 500
            route.answered(call, response, by: self)
        case .turnedAway(let answer): route.turnedAway(call, answer, by: self)
        case .ambiguous(let answer): route.end(call, .failed(answer))
        }
    }

    private func flush() {
        guard !isInside, state != .closed, let context else { return }
        var output = context.channel.allocator.buffer(capacity: 1024)
        isInside = true
        let isAlive = (try? session.drain(delegate: self) { output.writeBytes($0) }) != nil
        isInside = false
        if output.readableBytes > 0 { context.writeAndFlush(NIOAny(output), promise: nil) }
        if !isAlive { finish(.protocolError) }
    }

    // MARK: Ending

    /// Takes no more requests.
    func retire() {
        guard state == .ready else { return }
        state = .draining
        drainDeadline = route.now + route.limits.drainTimeout
        route.retired(self)
    }

    func closeIfDone() {
        guard state != .closed, !isInside else { return }
        if state == .draining, exchanges.isEmpty {
            finish(.connectionClosed)
        } else if !session.wantsToRead, !session.wantsToWrite {
            // The session has ended because one side broke the protocol.
            finish(.protocolError)
        }
    }

    /// Ends the connection now: every request on it goes back to the route or gets its end.
    func finish(_ failure: APNSAnswer.Failure) {
        guard state != .closed else { return }
        state = .closed
        let failure = goAway == nil ? failure : .goAway
        route.closed(self, failure, goAway?.reason ?? .none)
        for (tag, entry) in exchanges.sorted(by: { $0.key < $1.key }) {
            conclude(tag, entry.exchange.ending(lostBecause: failure, goAway: goAway))
        }
        context?.close(promise: nil)
    }

    // MARK: Time

    private func scheduleTick() {
        route.eventLoop.assumeIsolated().scheduleTask(in: Self.tickInterval) { [weak self] in self?.tick() }
    }

    private func tick() {
        guard state != .closed else { return }
        // While it comes up, the dialer's time-out and ours watch over it.
        guard state != .connecting else { return scheduleTick() }
        if state == .draining, drainDeadline <= route.now { return finish(.connectionClosed) }
        switch watch.look(streamsOpen: exchanges.count, now: route.now) {
        case .nothing: break
        case .ping: sendPing()
        case .giveUp: return finish(.pingTimeout)
        case .closeUnused: return finish(.connectionClosed)
        }
        scheduleTick()
    }

    private func sendPing() {
        pings += 1
        session.ping(pings)
        watch.pingSent(now: route.now)
        flush()
    }
}

// MARK: - What the session tells

extension ChannelConnection: HTTP2SessionDelegate {
    func settingsReceived() {
        guard state == .connecting else { return }
        state = .ready
        route.becameReady(self)
    }

    func requestEnded(stream: Int32, tag: UInt32) { exchanges[tag]?.exchange.isSent = true }

    func requestNotSent(stream: Int32, tag: UInt32) {
        conclude(tag, .turnedAway(.failed(goAway == nil ? .streamRefused : .goAway, .neverWritten)))
    }

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
        // Answered before the request was complete: the rest of it is of no use to anybody.
        if exchanges[tag]?.exchange.isSent == false { session.reset(stream, code: .cancel) }
        answered(tag)
    }

    private func answered(_ tag: UInt32) {
        if let response = exchanges[tag]?.exchange.response { conclude(tag, .answered(response)) }
    }

    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {
        guard let exchange = exchanges[tag]?.exchange, exchange.stream == stream else { return }
        conclude(tag, exchange.ending(isRefused: code == .refusedStream, goAway: goAway))
    }

    func goAwayReceived(_ goAway: HTTP2GoAway) {
        let reason = ErrorBody(goAway.debugData).reason
        // A polite server says GOAWAY twice: first with the highest id there is, then with the true one.
        self.goAway = (goAway.lastStream, reason == .none ? self.goAway?.reason ?? .none : reason)
        route.goAwayReceived(reason, by: self)
        // Before its SETTINGS: there is nothing on it to wait for.
        if state == .connecting { finish(.goAway) } else { retire() }
    }

    func pingAcknowledged(_ number: UInt64) {
        guard number == pings else { return }
        watch.pingAcknowledged()
        route.pump()
    }
}

// MARK: - What the channel tells

extension ChannelConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        scheduleTick()
        if context.channel.isActive { flush() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish(.connectionClosed)
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) { flush() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .closed else { return }
        watch.hasRead(now: route.now)
        isInside = true
        do throws(HTTP2SessionError) {
            try Self.unwrapInboundIn(data).withUnsafeReadableBytes { bytes throws(HTTP2SessionError) in
                if !hasRead {
                    hasRead = true
                    if let goAway = EarlyGoAway.read(bytes) { return goAwayReceived(goAway) }
                }
                try session.receive(bytes, delegate: self)
            }
            isInside = false
        } catch {
            isInside = false
            // The session may have a last word for the server.
            flush()
            finish(.protocolError)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush()
        closeIfDone()
        route.pump()
    }

    func channelInactive(context: ChannelHandlerContext) { finish(.connectionClosed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(ConnectErrorMapping.classify(error, isReady: state != .connecting))
    }
}
