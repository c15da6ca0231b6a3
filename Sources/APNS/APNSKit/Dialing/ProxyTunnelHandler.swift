package import NIOCore
package import NIOHTTP1

/// Asks a proxy for a tunnel with CONNECT (RFC 9110, section 9.3.6).
///
/// It is above the codec of HTTP/1.1. When the promise succeeds, all of them are to be removed. No byte of the tunnel is
/// lost then, because the client is the first to send in TLS. When the promise fails, the channel is to be closed.
package final class ProxyTunnelHandler: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = HTTPClientResponsePart
    package typealias OutboundOut = HTTPClientRequestPart

    /// No tunnel was opened; `status` of the handler may state why.
    package struct NoTunnel: Error {}

    private let head: HTTPRequestHead
    private let timeout: TimeAmount
    private let promise: EventLoopPromise<Void>
    private var timer: Scheduled<Void>?
    private var hasAsked = false
    private var isDone = false
    /// The status of the proxy's response; nil without one.
    package private(set) var status: UInt?

    /// - Parameters:
    ///   - authorization: the value of `proxy-authorization`.
    ///   - timeout: how long the response may take.
    package init(
        host: String, port: Int, authorization: String?, timeout: TimeAmount, promise: EventLoopPromise<Void>
    ) {
        let target = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        // RFC 9112, section 3.2: a proxy refuses a request without Host.
        var headers: HTTPHeaders = ["host": target]
        if let authorization { headers.add(name: "proxy-authorization", value: authorization) }
        head = HTTPRequestHead(version: .http1_1, method: .CONNECT, uri: target, headers: headers)
        self.timeout = timeout
        self.promise = promise
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { self.finish(isOpen: false) }
        if context.channel.isActive { connect(context) }
    }

    package func channelActive(context: ChannelHandlerContext) { connect(context) }

    /// May be called twice: a channel can be active before `channelActive`.
    private func connect(_ context: ChannelHandlerContext) {
        guard !hasAsked else { return }
        hasAsked = true
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            status = head.status.code
            if !(200..<300).contains(head.status.code) { finish(isOpen: false) }
        // A response that opens a tunnel has no body.
        case .body: finish(isOpen: false)
        case .end: finish(isOpen: true)
        }
    }

    package func channelInactive(context: ChannelHandlerContext) { finish(isOpen: false) }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { finish(isOpen: false) }

    package func handlerRemoved(context: ChannelHandlerContext) { finish(isOpen: false) }

    private func finish(isOpen: Bool) {
        guard !isDone else { return }
        isDone = true
        timer?.cancel()
        timer = nil
        if isOpen { promise.succeed() } else { promise.fail(NoTunnel()) }
    }
}
