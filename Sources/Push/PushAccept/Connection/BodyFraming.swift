import NIOCore
import NIOHTTP1

/// Bounds what a client sends around the data of a body: sizes and extensions of chunks, and trailers.
///
/// NIO's decoder skips the extensions of chunks, whatever their length, so a client could send for hours and no route
/// would see a byte. The handler counts the bytes before the decoder; `HTTP1Codec` subtracts what the decoder returned.
/// Runs on the event loop of its channel.
final class BodyFraming: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// What a chunk may have in addition to its data without being counted: its size, two line ends, and some more.
    private static let bytesPerChunk = 24

    private let bytesMax: Int
    private var isBodyOpen = false
    /// Bytes around the data of the current body.
    private var bytes = 0
    private var isRefused = false

    /// - Parameter bytesMax: limit of the bytes around the data of one body, beyond 24 for each chunk.
    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isRefused { return }
        bytes += unwrapInboundIn(data).readableBytes
        // Decodes the bytes, so that the data is subtracted when this returns.
        context.fireChannelRead(data)
        guard isBodyOpen, bytes > bytesMax else { return }
        isRefused = true
        context.fireErrorCaught(HTTPParserError.invalidChunkSize)
    }

    func bodyBegins() {
        isBodyOpen = true
        bytes = 0
    }

    /// - Parameter count: bytes of data that the decoder has returned.
    func received(_ count: Int) { bytes = max(0, bytes - count - Self.bytesPerChunk) }

    func bodyEnds() { isBodyOpen = false }
}
