import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// A connection of the server: HTTP/1.1 with the gateway's own handlers, in front of Hummingbird.
struct GatewayChannel: HTTPChannelHandler {
    typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    let configuration: AcceptConfiguration
    let responder: Responder
    /// Serves single pushes; nil: Hummingbird serves them.
    let pushHandler: @Sendable () -> PushHandler?

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
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
            try pipeline.addHandler(RequestTimeoutHandler(configuration: configuration))
            try pipeline.addHandler(
                HTTPConnectionStateHandler(idleTimeout: configuration.idleTimeout, logger: logger)
            )
            if let pushHandler = pushHandler() { try pipeline.addHandler(pushHandler) }
            return try NIOAsyncChannel(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true)
            )
        }
    }

    func handle(value: Value, logger: Logger) async { await handleHTTP(asyncChannel: value, logger: logger) }
}
