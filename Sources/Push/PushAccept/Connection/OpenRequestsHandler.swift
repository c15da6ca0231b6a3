import HTTPTypes
import NIOCore
import NIOHTTPTypes
import PushModel

/// Bounds the open requests of one connection, and closes it after a response if it is not to be kept.
///
/// A request is open from its header to the end of its response. Nothing is read while too many are open, or while the
/// client does not read responses. The one exception is the body of a stream: a client may send all of it before it
/// reads anything, and `HeldBytes` bounds what that costs. NIO's `BackPressureHandler` knows no exception.
///
/// Runs on the event loop of its channel, behind the HTTP decoder and in front of all handlers that respond.
final class OpenRequestsHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    static let requestsMax = 8

    private let connection: Connection
    private let registry: ConnectionRegistry
    private let lingerTimeout: TimeAmount
    private let retryAfter: Int
    /// The body bytes of each open request whose body is not a stream, oldest request first.
    private var bodyBytes = CircularBuffer<Int>(initialCapacity: 1)
    private var share: HeldShare
    private let requests: OpenRequests
    private var isStream = false
    private var isReadHeld = false
    /// The connection is closed after the response in progress; no further request is taken.
    private var isClosing = false
    private var hasResponded = false

    init(
        requests: OpenRequests, connection: Connection, registry: ConnectionRegistry, held: HeldBytes,
        configuration: AcceptConfiguration
    ) {
        self.requests = requests
        self.connection = connection
        self.registry = registry
        share = HeldShare(of: held)
        lingerTimeout = TimeAmount(configuration.lingerTimeout)
        retryAfter = configuration.retryAfterSeconds
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(var head):
            if isClosing { return }
            requests.begin(bodyBytes: head.headerFields[.contentLength].flatMap { Int($0) })
            if head.headerFields[.connection] == "close" {
                isClosing = true
                // The handlers behind this one would close the input with the output, and so reset the connection.
                head.headerFields[.connection] = nil
            }
            connection.idleSince = nil
            let path = (head.path ?? "").prefix { $0 != "?" }
            isStream = RouteTable.isStreaming(path, head.headerFields)
            bodyBytes.append(0)
            if let restriction = connection.restriction, !RouteTable.isServedUnderPressure(head.method, path: path) {
                isClosing = true
                context.fireUserInboundEventTriggered(
                    RequestRefusal(
                        problem: Problem(restriction, retryAfter: retryAfter), isHead: head.method == .head))
                return
            }
            context.fireChannelRead(wrapInboundOut(.head(head)))
            return
        case .body(let bytes):
            if isClosing, !requests.isBodyOpen || hasResponded { return }
            requests.received(bytes.readableBytes)
            if !isStream, !bodyBytes.isEmpty {
                bodyBytes[bodyBytes.index(before: bodyBytes.endIndex)] += bytes.readableBytes
                share.set(share.bytes + bytes.readableBytes)
            }
        case .end:
            if isClosing, !requests.isBodyOpen || hasResponded { return }
            requests.endBody()
        }
        context.fireChannelRead(data)
    }

    /// The client asked for the end of the connection, so what follows its request is not decoded: it is no error.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if isClosing, !requests.isBodyOpen || hasResponded { return }
        context.fireErrorCaught(error)
    }

    func read(context: ChannelHandlerContext) {
        if mayRead(context) { context.read() } else { isReadHeld = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if !context.channel.isWritable { requests.returnAllPlaces() }
        releaseRead(context)
        context.fireChannelWritabilityChanged()
    }

    private func mayRead(_ context: ChannelHandlerContext) -> Bool {
        // A body that has begun is read to its end: the requests before it are complete, and their responses are not
        // delayed by it.
        if requests.isBodyOpen, isStream { return true }
        return (requests.count < Self.requestsMax || requests.isBodyOpen) && context.channel.isWritable
    }

    private func releaseRead(_ context: ChannelHandlerContext) {
        guard isReadHeld, mayRead(context) else { return }
        isReadHeld = false
        context.read()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if hasResponded, isClosing, case ChannelEvent.inputClosed = event {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: Responses

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head) where head.status.kind != .informational:
            // A pipelined request that is already open would be carried out without a response.
            if requests.count <= 1, registry.isDraining || connection.restriction != nil { isClosing = true }
            if isClosing, requests.count <= 1 {
                head.headerFields[.connection] = "close"
                context.write(wrapOutboundOut(.head(head)), promise: promise)
                return
            }
        case .head, .body: break
        case .end:
            requests.end()
            if let bytes = bodyBytes.popFirst(), bytes > 0 { share.set(share.bytes - bytes) }
            if requests.count == 0 {
                connection.idleSince = registry.now
                if isClosing {
                    context.writeAndFlush(data, promise: promise)
                    closeAfterResponse(context)
                    return
                }
            }
            context.write(data, promise: promise)
            releaseRead(context)
            return
        }
        context.write(data, promise: promise)
    }

    /// Closes the output, and the rest when the client has closed its side or after the linger timeout. If both were
    /// closed while bytes of the client are in flight, the kernel would reset the connection, and the client could lose
    /// the response.
    private func closeAfterResponse(_ context: ChannelHandlerContext) {
        guard !hasResponded else { return }
        hasResponded = true
        context.close(mode: .output, promise: nil)
        releaseRead(context)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: lingerTimeout) { bound.value.close(promise: nil) }
    }
}

/// An event in the pipeline: the request whose header was just read is refused, and the connection is closed.
struct RequestRefusal: Sendable {
    let problem: Problem
    /// Whether its response must have no body.
    let isHead: Bool
}

extension Problem {
    /// The refusal of a request on a restricted connection.
    fileprivate init(_ pressure: ConnectionRegistry.Pressure, retryAfter: Int) {
        let reason =
            pressure == .client
            ? "this client address has too many open connections; close some or keep fewer"
            : "all connections of this instance are in use"
        self.init(
            busy: .overloaded, "\(reason); nothing was accepted, send it again in \(retryAfter) s",
            retryAfter: retryAfter
        )
    }
}
