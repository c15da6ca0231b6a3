import NIOCore
import NIOHTTPTypes

/// Closes a connection whose client reads nothing for the write timeout although a response waits.
///
/// NIO's `IdleStateHandler` cannot be used: a write of a large response completes only at its end, so a slow client would
/// count as idle. A client that is still sending a stream is not closed, because it may read after its last byte. While a
/// client reads, this handler only compares a flag. Runs on the event loop of its channel.
final class WriteTimeoutHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart

    private let connection: Connection
    private let registry: ConnectionRegistry
    private let timeout: TimeAmount
    private var share: HeldShare
    /// The last progress, while the client does not read; nil while it does.
    private var lastProgress: NIODeadline?
    private var waitingBytes = 0
    private var timer: Scheduled<Void>?

    init(
        connection: Connection, registry: ConnectionRegistry, held: HeldBytes, configuration: AcceptConfiguration
    ) {
        self.connection = connection
        self.registry = registry
        timeout = TimeAmount(configuration.writeTimeout)
        share = HeldShare(of: held)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if lastProgress != nil { lastProgress = registry.now }
        context.fireChannelRead(data)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            end()
        } else if lastProgress == nil {
            let now = registry.now
            lastProgress = now
            connection.unreadSince = now
            measure(context)
            setTimer(context)
        }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    private func end() {
        lastProgress = nil
        connection.unreadSince = nil
        share.set(0)
        timer?.cancel()
        timer = nil
    }

    /// - Returns: whether the client has read something since the last call.
    @discardableResult
    private func measure(_ context: ChannelHandlerContext) -> Bool {
        let bytes = Int((try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0)
        defer { waitingBytes = bytes }
        share.set(bytes)
        return bytes != waitingBytes
    }

    private func setTimer(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let interval = min(timeout, .seconds(1))
        timer = context.eventLoop.scheduleTask(in: interval) { bound.value.0.timerFired(bound.value.1) }
    }

    private func timerFired(_ context: ChannelHandlerContext) {
        guard var last = lastProgress else { return }
        let now = registry.now
        if measure(context) {
            last = now
            lastProgress = now
            connection.unreadSince = now
        }
        guard now - last < timeout else {
            registry.report(.writeTimeout, now: now)
            context.close(promise: nil)
            return
        }
        setTimer(context)
    }
}
