import NIOCore
import NIOPosix

/// A TCP server without TLS that answers the first bytes of each connection with fixed bytes.
final class RawServer: Sendable {
    let port: Int
    private let channel: any Channel

    /// - Parameter response: nil closes the connection instead.
    init(_ response: String?) async throws {
        channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Responder(response: response))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress!.port!
    }

    deinit { channel.close(promise: nil) }

    private final class Responder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let response: String?

        init(response: String?) {
            self.response = response
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard let response else { return context.close(promise: nil) }
            context.writeAndFlush(NIOAny(ByteBuffer(string: response)), promise: nil)
        }
    }
}
