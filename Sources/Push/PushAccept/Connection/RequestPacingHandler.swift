import Foundation
import NIOCore

/// Hands the bytes of a connection to the HTTP decoder one request at a time, as the handlers behind it read.
///
/// The decoder decodes all it gets: 64 KiB with two thousand pipelined requests would become megabytes. So this handler
/// keeps what follows the end of a header, or of a body of known length, and hands it on with the next `read`. A chunked
/// body ends as a header does, and a cut within it, where it has an empty line, changes nothing. A pipelined request also
/// waits for a place in `PipelineLimit`. Runs on the event loop of its channel, in front of the decoder.
final class RequestPacingHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    private let requests: OpenRequests
    /// Bytes that were read and not handed on.
    private var waiting = ByteBuffer()
    private var share: HeldShare
    /// A `read` has not been satisfied.
    private var isReadWanted = false
    private var isHandingOn = false
    private var isInputClosed = false
    private var waiter: PipelineLimit.Waiter?
    private var isWaitingForPlace = false
    private var context: ChannelHandlerContext?

    init(requests: OpenRequests, held: HeldBytes) {
        self.requests = requests
        share = HeldShare(of: held)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        // It refers to this handler.
        waiter = nil
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        let isFirst = waiting.readableBytes == 0 && requests.count == 0
        if waiting.readableBytes == 0 {
            waiting = bytes
        } else {
            waiting.writeBuffer(&bytes)
        }
        isReadWanted = true
        if !isHandingOn, isFirst || mayHandOn(context) { handOnSlice(context) }
        share.set(waiting.readableBytes == 0 ? 0 : waiting.storageCapacity)
    }

    func read(context: ChannelHandlerContext) {
        guard waiting.readableBytes > 0 else {
            if requests.isBodyOpen { requests.waitForBody() }
            context.read()
            return
        }
        isReadWanted = true
        handOn(context)
    }

    // MARK: Handing on

    /// Hands on what was read before, while it is wanted and may be.
    ///
    /// - Parameter hasPlace: whether the next request has a place already.
    private func handOn(_ context: ChannelHandlerContext, hasPlace: Bool = false) {
        guard !isHandingOn else { return }
        isHandingOn = true
        var hasPlace = hasPlace
        while isReadWanted, waiting.readableBytes > 0, hasPlace || mayHandOn(context) {
            hasPlace = false
            handOnSlice(context)
            context.fireChannelReadComplete()
            // As the channel does after it has read, unless the handlers behind this one want no more.
            if context.channel.isActive { context.channel.read() }
        }
        isHandingOn = false
        guard waiting.readableBytes == 0 else { return }
        share.set(0)
        if isInputClosed {
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        } else if isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    private func handOnSlice(_ context: ChannelHandlerContext) {
        isReadWanted = false
        context.fireChannelRead(wrapInboundOut(nextSlice()))
        requests.returnUnusedPlaces()
    }

    // MARK: Places

    /// Whether the next bytes may be handed on: they belong to a body, or the request that they begin has a place. If
    /// not, they are handed on when it has one.
    private func mayHandOn(_ context: ChannelHandlerContext) -> Bool {
        if requests.isBodyOpen { return true }
        if isWaitingForPlace { return false }
        let waiter = self.waiter ?? makeWaiter(context.eventLoop)
        self.waiter = waiter
        isWaitingForPlace = !requests.takePlace(orWait: waiter)
        return !isWaitingForPlace
    }

    private func makeWaiter(_ eventLoop: any EventLoop) -> PipelineLimit.Waiter {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        return PipelineLimit.Waiter { eventLoop.execute { bound.value.receivePlace() } }
    }

    private func receivePlace() {
        isWaitingForPlace = false
        requests.receivePlace()
        guard let context, waiting.readableBytes > 0 else { return requests.returnAllPlaces() }
        handOn(context, hasPlace: true)
        requests.returnUnusedPlaces()
    }

    private func end() {
        waiting = ByteBuffer()
        share.set(0)
        if isWaitingForPlace, let waiter, requests.cancel(waiter) { isWaitingForPlace = false }
        requests.returnAllPlaces()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            isInputClosed = true
            if waiting.readableBytes > 0 { return }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    /// The bytes to the end of the body or of the first header, or all. Leaves no memory behind when all are taken.
    private func nextSlice() -> ByteBuffer {
        let length: Int
        if requests.isBodyOpen, let left = requests.bodyBytesLeft, left > 0 {
            length = left
        } else {
            length = waiting.withUnsafeReadableBytes(Self.endOfHeader) ?? waiting.readableBytes
        }
        guard length < waiting.readableBytes, let slice = waiting.readSlice(length: length) else {
            defer { waiting = ByteBuffer() }
            return waiting
        }
        return slice
    }

    /// The index after the first empty line; nil if there is none.
    static func endOfHeader(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        var index = 0
        while index + 4 <= bytes.count, let found = memchr(base + index, 0x0D, bytes.count - 3 - index) {
            index = base.distance(to: UnsafeRawPointer(found))
            if bytes[index + 1] == 0x0A, bytes[index + 2] == 0x0D, bytes[index + 3] == 0x0A { return index + 4 }
            index += 1
        }
        return nil
    }
}
