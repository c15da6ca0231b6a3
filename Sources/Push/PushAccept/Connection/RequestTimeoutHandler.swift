import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import PushModel
import Synchronization

/// Enforces the timeouts of one HTTP/1 connection, and responds to input that is not HTTP.
///
/// Hummingbird's idle timeout restarts with every byte of a body, so a client that sends slowly could hold a connection
/// indefinitely. Input that is not HTTP never reaches the routes; Hummingbird would respond with an empty body. Runs on
/// the event loop of its channel.
final class RequestTimeoutHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let headerTimeout: TimeAmount
    private let bodyTimeout: TimeAmount
    private let lingerTimeout: TimeAmount
    /// Requests whose response is not completely written.
    private var requestsOpen = 0
    private var isBodyOpen = false
    private var isResponseStarted = false
    /// A part of a request arrived in the reads that are not completed yet.
    private var hasRead = false
    /// The header of a request has begun, and is not complete.
    private var isHeaderOpen = false
    /// The handler has sent a problem itself: further input and output is dropped until the client closes.
    private var isRefused = false
    /// The refusal of a request that follows one whose response is not completely written.
    private var nextRefusal: MalformedRequest?
    /// When the connection is closed unless it makes progress. The timer that checks it is set after a batch of reads,
    /// because most requests are complete by then and need none.
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
        hasRead = true
        switch unwrapInboundIn(data) {
        case .head(let head):
            isHeaderOpen = false
            requestsOpen += 1
            isBodyOpen = true
            isResponseStarted = false
            let path = (head.path ?? "").prefix { $0 != "?" }
            deadline = RouteTable.isStreaming(path, head.headerFields) ? nil : .now() + bodyTimeout
            if head.headerFields[.expect]?.lowercased() == "100-continue" {
                // RFC 9110, 10.1.1: the client may wait for 100 before it sends the body.
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
        // Bytes that are no part of a request yet begin the header of the next one.
        if !hasRead, !isBodyOpen, requestsOpen == 0, !isRefused {
            isHeaderOpen = true
            if deadline == nil { deadline = .now() + headerTimeout }
        }
        hasRead = false
        setTimer(context)
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if isRefused, case ChannelEvent.inputClosed = event {
            context.close(promise: nil)
        } else if let refusal = event as? RequestRefusal {
            refuse(context, MalformedRequest(problem: refusal.problem, isHead: refusal.isHead))
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if isRefused { return }
        // Within a body, the route of the request responds.
        guard !isBodyOpen, let malformed = Self.malformed(error) else {
            context.fireErrorCaught(error)
            return
        }
        if requestsOpen == 0 { refuse(context, malformed) } else { nextRefusal = malformed }
    }

    /// - Returns: nil for an error that is not one of the request.
    private static func malformed(_ error: any Error) -> MalformedRequest? {
        if let malformed = error as? MalformedRequest { return malformed }
        guard let error = error as? HTTPParserError else { return nil }
        guard error == .headerOverflow else {
            return MalformedRequest(
                problem: Problem(
                    .badRequest, .protocolViolation,
                    "this is not an HTTP/1.1 request; check the scheme and port of the URL"
                )
            )
        }
        return MalformedRequest(
            problem: Problem(
                .requestHeaderFieldsTooLarge, nil,
                "the header of the request is too large; send fewer or shorter fields"
            )
        )
    }

    // MARK: Responses

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if isRefused {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        // When the rest of a body is malformed after an early response, Hummingbird responds a second time.
        guard requestsOpen > 0 else {
            promise?.succeed()
            return
        }
        switch unwrapOutboundIn(data) {
        case .head: isResponseStarted = true
        case .body: break
        case .end:
            requestsOpen -= 1
            if isBodyOpen, requestsOpen == 0 {
                // An early response: bounds the time in which the client may send the rest of the body.
                deadline = .now() + lingerTimeout
                setTimer(context)
            }
            if requestsOpen == 0, let nextRefusal {
                context.write(data, promise: promise)
                refuse(context, nextRefusal)
                return
            }
        }
        context.write(data, promise: promise)
    }

    /// Sends the problem instead of a route's response, and closes the connection.
    ///
    /// Only the output is closed immediately. If the input were closed while bytes of the client are in flight, the
    /// kernel would reset the connection, and the client could not read the response.
    private func refuse(_ context: ChannelHandlerContext, _ malformed: MalformedRequest) {
        let problem = malformed.problem
        let requestID = RequestIdentifier.new()
        let json = problem.json(requestID)
        var fields = problem.headers
        fields[.contentType] = Problem.contentType
        fields[.contentLength] = String(json.count)
        fields[.connection] = "close"
        fields[.requestID] = requestID
        let head = HTTPResponse(status: problem.status, headerFields: fields)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if !malformed.isHead { context.write(wrapOutboundOut(.body(ByteBuffer(bytes: json))), promise: nil) }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        isRefused = true
        context.close(mode: .output, promise: nil)
        deadline = .now() + lingerTimeout
        setTimer(context)
    }

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
                context,
                MalformedRequest(
                    problem: Problem(
                        .requestTimeout, .truncatedStream, "the body did not arrive in time; send the request again"
                    )
                )
            )
        } else if isHeaderOpen, requestsOpen == 0, !isRefused {
            refuse(
                context,
                MalformedRequest(
                    problem: Problem(
                        .requestTimeout, .truncatedStream, "the header did not arrive in time; send the request again"
                    )
                )
            )
        } else {
            context.close(promise: nil)
        }
    }
}
