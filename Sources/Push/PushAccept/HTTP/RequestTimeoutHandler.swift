import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import PushModel
import Synchronization

/// Watches over one HTTP/1 connection: time limits that Hummingbird does not have, and errors that it answers with an
/// empty body.
///
/// Hummingbird's idle timeout is renewed by every byte of a body, so a trickled one would hold a connection for ever; and
/// what is not HTTP at all never reaches the routes. Lives on the event loop of its channel.
final class RequestTimeoutHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let headerTimeout: TimeAmount
    private let bodyTimeout: TimeAmount
    private let lingerTimeout: TimeAmount
    /// Requests whose answer is not written completely.
    private var requestsOpen = 0
    private var isBodyOpen = false
    private var isResponseStarted = false
    /// Answered in place of the routes: nothing more goes in or out, only the client's rest is waited for.
    private var isRefused = false
    /// The connection is closed at this moment, unless it moves on. Checked by the timer, which is set only when it
    /// has to be, because most requests are over before the next event.
    private var deadline: NIODeadline?
    private var timer: (deadline: NIODeadline, task: Scheduled<Void>)?

    init(configuration: AcceptConfiguration) {
        headerTimeout = TimeAmount(configuration.headerTimeout)
        bodyTimeout = TimeAmount(configuration.bodyTimeout)
        lingerTimeout = TimeAmount(configuration.lingerTimeout)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        deadline = .now() + headerTimeout
        setTimer(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.task.cancel()
        timer = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.task.cancel()
        timer = nil
        context.fireChannelInactive()
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isRefused { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            requestsOpen += 1
            isBodyOpen = true
            isResponseStarted = false
            let path = (head.path ?? "").prefix { $0 != "?" }
            deadline = RouteTable.isStreaming(path, head.headerFields) ? nil : .now() + bodyTimeout
            if head.headerFields[.expect]?.lowercased() == "100-continue" {
                // RFC 9110, 10.1.1: a client may wait for this before it sends the body.
                context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
            }
        case .body: break
        case .end:
            isBodyOpen = false
            deadline = nil
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        setTimer(context)
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if isRefused, case ChannelEvent.inputClosed = event {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if isRefused { return }
        // In the middle of a request its handler answers.
        guard let error = error as? HTTPParserError, requestsOpen == 0 else {
            context.fireErrorCaught(error)
            return
        }
        let isTooLarge = error == .headerOverflow
        refuse(
            context,
            Problem(
                isTooLarge ? .requestHeaderFieldsTooLarge : .badRequest, isTooLarge ? nil : .protocolViolation,
                isTooLarge ? "the request's header is too large" : "this is not an HTTP/1.1 request"
            )
        )
    }

    // MARK: ResponseJSON

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isRefused {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        switch unwrapOutboundIn(data) {
        case .head: isResponseStarted = true
        case .body: break
        case .end:
            requestsOpen -= 1
            if isBodyOpen, requestsOpen == 0 {
                // Answered early: the client gets a moment to read the answer, not for ever to send the rest.
                deadline = .now() + lingerTimeout
                setTimer(context)
            }
        }
        context.write(data, promise: promise)
    }

    /// ResponseJSON in place of the routes, and closes.
    ///
    /// Closing at once would make the kernel reset the connection when the client's bytes are still on their way, and the
    /// client would never read the answer. So our side is closed first, and the rest when the client has done so too.
    private func refuse(_ context: ChannelHandlerContext, _ problem: Problem) {
        let requestID = Self.newRequestID()
        let json = problem.json(requestID)
        var fields = problem.headers
        fields[.contentType] = Problem.contentType
        fields[.contentLength] = String(json.count)
        fields[.connection] = "close"
        fields[.requestID] = requestID
        let head = HTTPResponse(status: problem.status, headerFields: fields)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(ByteBuffer(bytes: json))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        isRefused = true
        context.close(mode: .output, promise: nil)
        deadline = .now() + lingerTimeout
        setTimer(context)
    }

    private static func newRequestID() -> String { String(UInt64.random(in: .min ... .max), radix: 16) }

    // MARK: Time

    private func setTimer(_ context: ChannelHandlerContext) {
        guard let deadline else { return }
        if let timer {
            guard deadline < timer.deadline else { return }
            timer.task.cancel()
        }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let task = context.eventLoop.scheduleTask(deadline: deadline) {
            let (handler, context) = bound.value
            handler.timer = nil
            handler.timerFired(context)
        }
        timer = (deadline, task)
    }

    private func timerFired(_ context: ChannelHandlerContext) {
        guard let deadline else { return }
        guard deadline <= .now() else {
            setTimer(context)
            return
        }
        self.deadline = nil
        if requestsOpen == 1, isBodyOpen, !isResponseStarted, !isRefused {
            refuse(
                context, Problem(.requestTimeout, .truncatedStream, "the body did not arrive in time")
            )
        } else {
            context.close(promise: nil)
        }
    }
}
