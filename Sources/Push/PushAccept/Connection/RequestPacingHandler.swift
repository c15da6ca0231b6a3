import Foundation
import NIOCore

/// Hands the bytes of a connection to the HTTP decoder one request at a time, as the handlers behind it read.
///
/// The decoder decodes all it gets: 64 KiB with two thousand pipelined requests would become megabytes. So this handler
/// keeps what follows the end of a request's header, and hands it on with the next `read`. It need not know where bodies
/// end: a cut within a body, where a body has an empty line, changes nothing. Runs on the event loop of its channel, in
/// front of the decoder.
final class RequestPacingHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    /// Bytes that were read and not handed on.
    private var waiting = ByteBuffer()
    private var share: HeldShare
    /// A `read` has not been satisfied.
    private var isReadWanted = false
    private var isHandingOn = false
    private var isInputClosed = false

    init(held: HeldBytes) {
        share = HeldShare(of: held)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if waiting.readableBytes == 0 {
            waiting = bytes
        } else {
            waiting.writeBuffer(&bytes)
        }
        isReadWanted = false
        if !isHandingOn { context.fireChannelRead(wrapInboundOut(nextSlice())) }
        share.set(waiting.readableBytes == 0 ? 0 : waiting.storageCapacity)
    }

    func read(context: ChannelHandlerContext) {
        guard waiting.readableBytes > 0 else {
            context.read()
            return
        }
        isReadWanted = true
        guard !isHandingOn else { return }
        isHandingOn = true
        while isReadWanted, waiting.readableBytes > 0 {
            isReadWanted = false
            context.fireChannelRead(wrapInboundOut(nextSlice()))
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

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            isInputClosed = true
            if waiting.readableBytes > 0 { return }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        waiting = ByteBuffer()
        share.set(0)
        context.fireChannelInactive()
    }

    /// The bytes to the end of the first header, or all. Leaves no memory behind when all are taken.
    private func nextSlice() -> ByteBuffer {
        let length = waiting.withUnsafeReadableBytes(Self.endOfHeader) ?? waiting.readableBytes
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
