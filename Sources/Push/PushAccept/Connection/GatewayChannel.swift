import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// A connection of the server: HTTP/1.1 with the gateway's own handlers, in front of Hummingbird.
///
/// `RequestPacingHandler` hands bytes to the decoder one request at a time, pipelined ones within the `PipelineLimit`;
/// `OpenRequestsHandler` bounds open requests and reads nothing while the client does not read; `WriteTimeoutHandler`
/// closes if the client does not read, and `RequestTimeoutHandler` if it does not send.
struct GatewayChannel: HTTPChannelHandler {
    typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    let configuration: AcceptConfiguration
    let connections: ConnectionRegistry
    let pipelines: PipelineLimit
    let held: HeldBytes
    let responder: Responder
    /// Serves single pushes; nil: Hummingbird serves them.
    let pushHandler: @Sendable () -> PushHandler?

    /// The limit of bytes of one read. Large enough for bulk requests, and small enough for 2,000 connections.
    private static let readBytesMax = 32 * 1024
    /// The limit of bytes that the kernel buffers and has not sent yet.
    private static let unsentBytesMax: SocketOptionValue = 64 * 1024

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        guard
            let connection = connections.admit(
                ClientAddress(channel.remoteAddress), close: { channel.close(promise: nil) })
        else {
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
        }
        channel.closeFuture.whenComplete { _ in connections.remove(connection) }
        return channel.eventLoop.makeCompletedFuture {
            let options = channel.syncOptions
            try options?.setOption(.maxMessagesPerRead, value: 1)
            try options?.setOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 2048, maximum: Self.readBytesMax))
            try options?.setOption(.writeBufferWaterMark, value: .init(low: 16 * 1024, high: 32 * 1024))
            #if os(Linux)
            // TCP_NOTSENT_LOWAT: otherwise the kernel buffers up to 4 MiB of responses that the client does not read,
            // and each is work that delays the requests of others.
            try options?.setOption(.tcpOption(NIOBSDSocket.Option(rawValue: 25)), value: Self.unsentBytesMax)
            #endif
            let pipeline = channel.pipeline.syncOperations
            let requests = OpenRequests(limit: pipelines)
            try pipeline.addHandler(RequestPacingHandler(requests: requests, held: held))
            let framing = BodyFraming(bytesMax: configuration.headerBytesMax)
            try pipeline.addHandler(framing)
            var limits = NIOHTTPDecoderLimitConfiguration()
            limits.maxHeaderFieldSize = configuration.headerBytesMax
            limits.maxHeaderListSize = configuration.headerBytesMax
            limits.maxHeaderFieldCount = configuration.headerFieldsMax
            try pipeline.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
                withEncoderConfiguration: HTTPResponseEncoder.Configuration(), withDecoderLimitConfiguration: limits
            )
            try pipeline.addHandler(HTTP1Codec(framing: framing))
            try pipeline.addHandler(
                OpenRequestsHandler(
                    requests: requests, connection: connection, registry: connections, held: held,
                    configuration: configuration))
            try pipeline.addHandler(
                WriteTimeoutHandler(
                    connection: connection, registry: connections, held: held, configuration: configuration))
            try pipeline.addHandler(RequestTimeoutHandler(configuration: configuration))
            try pipeline.addHandler(
                HTTPConnectionStateHandler(idleTimeout: configuration.idleTimeout, logger: logger)
            )
            if let pushHandler = pushHandler() { try pipeline.addHandler(pushHandler) }
            return try NIOAsyncChannel(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true)
            )
        }.flatMapErrorThrowing { error in
            channel.close(promise: nil)
            throw error
        }
    }

    func handle(value: Value, logger: Logger) async { await handleHTTP(asyncChannel: value, logger: logger) }
}
