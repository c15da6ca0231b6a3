import NIOCore

/// Completes a read that an error interrupts, so that the bytes received before the error are not lost.
///
/// A server that closes a connection while requests are unread resets it. Its last answers and its GOAWAY arrive before
/// the reset. NIO passes these bytes up, and then the error without `channelReadComplete`; the TLS handler passes
/// decrypted bytes up only with `channelReadComplete`. Without this handler, pushes that were answered or refused would
/// be reported as ambiguous and sent twice.
///
/// To be placed below TLS.
final class InterruptedReadHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var isReading = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isReading = true
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        completeRead(context)
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        completeRead(context)
        context.fireChannelInactive()
    }

    private func completeRead(_ context: ChannelHandlerContext) {
        guard isReading else { return }
        isReading = false
        context.fireChannelReadComplete()
    }
}
