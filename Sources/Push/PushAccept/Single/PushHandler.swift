import DequeModule
import HTTPTypes
import NIOCore
import NIOHTTPTypes
import PushConcurrency
import PushModel

// Serves `POST /push` on the event loop of its connection; passes all other requests on to Hummingbird.
//
// A route of Hummingbird costs a task, several hops between threads and a copy of every part of the message. A lone push
// is so cheap that these cost more than the push itself. Here its body is collected, checked and parsed where it was
// read, and the result of the commit comes back with those of all other connections of the loop.
//
// The handler is the last one before Hummingbird's. The handlers before it see the parts of its requests and responses
// like those of any other request, so their limits, timeouts and their shutdown apply. It uses the parts that all
// versions of HTTP share: a stream of HTTP/2 can have the same handler.
//
//                 head ──► whose request? ──► Hummingbird's: wait until no response of ours is due, then pass it on
//                             │
//                             ▼ ours
//                checks of the head ── refused ──► problem; the body is read and dropped
//                             │
//                     body ──► collect ── too large, cut off ──► problem
//                             │
//                      end ──► parse, add to the next commit ── refused ──► problem
//                             │
//                             ▼
//                    result of the commit ──► response
//
// A push with `device_tokens` is accepted in a task; its result comes back in the same way.
//
// Requests may be pipelined. Responses are written in the order of the requests: each of our requests has a slot, and a
// response waits for those before it. A request of the other kind waits (`held`) until all responses before it are
// written, and whatever follows waits behind it. While something waits, or `openMax` of our requests are open, or the
// client does not read its responses, nothing more is read from the connection.
//
// The end of the input is held back in the same way: Hummingbird closes a connection on which it has nothing to do.

/// Serves `POST /push` in front of Hummingbird. Runs on the event loop of its channel.
final class PushHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// Limit of our requests of one connection whose response is not written.
    private static let openMax = 8

    /// A request whose response is not written yet.
    private struct Slot {
        let requestID: String
        /// Of every response of the request.
        let fields: HTTPFields
        /// Whether the output ends after the response: nothing after a malformed body can be read.
        var closesConnection = false
        var response: (status: HTTPResponse.Status, fields: HTTPFields, body: ByteBuffer)?
    }

    /// What the parts that arrive belong to.
    private enum Input {
        /// The next part is a head.
        case idle
        /// The body of a request of ours, in this slot.
        case collecting(slot: Int)
        /// The rest of a request of ours that has its response.
        case dropping
        /// A request of Hummingbird.
        case passing
        /// The body of a request of ours is malformed: nothing after it is read.
        case ended
    }

    private let route: PushRoute
    private let checks: RequestChecks
    private let date: DateField
    private var parser: PushParser
    private var peer: ClientAddress?
    private var input = Input.idle
    /// What has arrived of the body that is collected.
    private var body = ByteBuffer()
    private var slots: Deque<Slot> = []
    /// The number of the first slot, counted from the first request of the connection.
    private var firstSlot = 0
    /// Requests of Hummingbird whose response is not completely written.
    private var passed = 0
    /// Parts that wait for the responses before them. At most what the reads of one event returned.
    private var held: Deque<HTTPRequestPart> = []
    private var isHandlingHeld = false
    private var isInputClosed = false
    private var isReadDelayed = false
    private var needsFlush = false
    private var context: ChannelHandlerContext?

    init(route: PushRoute, checks: RequestChecks, date: DateField) {
        self.route = route
        self.checks = checks
        self.date = date
        parser = route.parser()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        peer = ClientAddress(context.remoteAddress)
    }

    // MARK: Input

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if !held.isEmpty || !handle(part, context) { held.append(part) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush(context)
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if canRead { context.read() } else { isReadDelayed = true }
    }

    /// While Hummingbird responds, it decides itself.
    private var canRead: Bool {
        held.isEmpty && slots.count < Self.openMax && (passed > 0 || context?.channel.isWritable != false)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        readAgain(context)
        context.fireChannelWritabilityChanged()
    }

    private func readAgain(_ context: ChannelHandlerContext) {
        guard isReadDelayed, canRead else { return }
        isReadDelayed = false
        context.read()
    }

    /// - Returns: false if the part has to wait for earlier responses.
    private func handle(_ part: HTTPRequestPart, _ context: ChannelHandlerContext) -> Bool {
        switch (input, part) {
        case (.idle, .head(let request)):
            if isOurs(request) {
                guard passed == 0, slots.count < Self.openMax else { return false }
                begin(request, context)
            } else {
                guard slots.isEmpty else { return false }
                passed += 1
                input = .passing
                context.fireChannelRead(wrapInboundOut(part))
            }
        case (.passing, .end):
            input = .idle
            context.fireChannelRead(wrapInboundOut(part))
        case (.passing, _): context.fireChannelRead(wrapInboundOut(part))
        case (.collecting(let slot), .body(let bytes)): collect(bytes, slot, context)
        case (.collecting(let slot), .end): add(slot, context)
        case (.dropping, .end): input = slots.last?.closesConnection == true ? .ended : .idle
        case (.idle, _), (.collecting, .head), (.dropping, _), (.ended, _): break
        }
        return true
    }

    private func handleHeld(_ context: ChannelHandlerContext) {
        // A part may be refused, and its response calls this again.
        guard !isHandlingHeld else { return }
        isHandlingHeld = true
        defer { isHandlingHeld = false }
        while let part = held.popFirst() {
            guard handle(part, context) else {
                held.prepend(part)
                break
            }
        }
        // Hummingbird reads what it was passed at the end of a read only.
        if passed > 0 { context.fireChannelReadComplete() }
        if slots.isEmpty, held.isEmpty, isInputClosed {
            isInputClosed = false
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        }
        readAgain(context)
    }

    // MARK: Our requests

    /// Whether the handler serves a request. A stored response is looked up in the store, so a request with an
    /// `Idempotency-Key` needs a task.
    private func isOurs(_ request: HTTPRequest) -> Bool {
        guard request.method == .post, let path = request.path, path == "/push" || path == "/api/v1/push" else {
            return false
        }
        return !request.headerFields.contains(.idempotencyKey)
    }

    private func begin(_ request: HTTPRequest, _ context: ChannelHandlerContext) {
        let head = checks.head(request, peer: peer)
        var fields: HTTPFields = [:]
        let refusal =
            checks.refusal(of: head, &fields) ?? checks.refusal(of: head, to: .push, &fields)
            ?? refusal(ofHeader: head.fields)
        let number = firstSlot + slots.count
        slots.append(
            Slot(
                requestID: RequestIdentifier.value(in: head.fields), fields: fields))
        input = .collecting(slot: number)
        body = ByteBuffer()
        if let refusal { refuse(refusal, number, context) }
    }

    private func refusal(ofHeader fields: HTTPFields) -> Problem? {
        do {
            try route.checkHeader(fields)
        } catch {
            return error
        }
        guard let declared = fields[.contentLength].flatMap({ Int($0) }) else { return nil }
        return declared > bytesMax ? .bodyTooLarge(max: bytesMax) : nil
    }

    private var bytesMax: Int { route.configuration.itemBytesMax }

    private func collect(_ bytes: ByteBuffer, _ slot: Int, _ context: ChannelHandlerContext) {
        guard body.readableBytes + bytes.readableBytes <= bytesMax else {
            refuse(.bodyTooLarge(max: bytesMax), slot, context)
            return
        }
        // Usually the only part, which needs no copy.
        if body.readableBytes == 0 { body = bytes } else { body.writeImmutableBuffer(bytes) }
    }

    /// Adds a complete push to the next commit.
    private func add(_ slot: Int, _ context: ChannelHandlerContext) {
        let body = self.body
        self.body = ByteBuffer()
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let receiver = SinglePushCollector.Receiver(eventLoop: context.eventLoop) { result in
            bound.value.finish(result, slot)
        }
        input = slots[slot - firstSlot].closesConnection ? .ended : .idle
        switch route.add(body, nil, by: &parser, to: receiver) {
        case .added: break
        case .many: addMany(body, slot, bound)
        case .refused(let problem): refuse(problem, slot, context)
        }
    }

    /// Accepts a push to many devices, which is worth a task.
    private func addMany(_ body: ByteBuffer, _ slot: Int, _ bound: NIOLoopBound<PushHandler>) {
        let route = self.route
        inBackground {
            let result: Result<(type: String, body: ByteBuffer), Problem>
            do throws(Problem) {
                result = .success(try await route.acceptMany(body, nil, strict: false).content())
            } catch {
                result = .failure(error)
            }
            bound.eventLoop.execute { bound.value.finish(result, slot) }
        }
    }

    private func finish(_ result: SinglePushCollector.Result, _ slot: Int) {
        switch result {
        case .accepted(let id, let at, let delay, let warnings):
            let body = ByteBuffer(bytes: ResponseJSON.accepted(id, at: at, delay, warnings: warnings))
            finish(.success(("application/json", body)), slot)
        case let failure: finish(.failure(route.problem(of: failure, isIdempotent: false)), slot)
        }
    }

    /// The connection may have ended: then the result is only counted.
    private func finish(_ result: Result<(type: String, body: ByteBuffer), Problem>, _ slot: Int) {
        switch result {
        case .success(let content):
            route.metrics.responded(.push, status: 200)
            guard let context else { return }
            respond((.ok, [.contentType: content.type], content.body), slot, context)
            flush(context)
        case .failure(let problem):
            guard let context else { return count(problem) }
            refuse(problem, slot, context)
            flush(context)
        }
    }

    private func count(_ problem: Problem) {
        route.metrics.refused(problem, on: .push)
        route.metrics.responded(.push, status: problem.status.code)
    }

    private func refuse(_ problem: Problem, _ slot: Int, _ context: ChannelHandlerContext) {
        count(problem)
        if case .collecting(slot) = input {
            input = .dropping
            self.body = ByteBuffer()
        }
        let body = ByteBuffer(bytes: problem.json(slots[slot - firstSlot].requestID))
        var fields = problem.headers
        fields[.contentType] = Problem.contentType
        respond((problem.status, fields, body), slot, context)
    }

    // MARK: Responses

    private func respond(
        _ response: (status: HTTPResponse.Status, fields: HTTPFields, body: ByteBuffer), _ slot: Int,
        _ context: ChannelHandlerContext
    ) {
        guard slot >= firstSlot, slot - firstSlot < slots.count else { return }
        slots[slot - firstSlot].response = response
        var isClosing = false
        while let first = slots.first, let response = first.response {
            slots.removeFirst()
            firstSlot += 1
            write(response, of: first, context)
            isClosing = isClosing || first.closesConnection
        }
        if isClosing {
            // As after a response of Hummingbird: the client closes when it has read the response.
            input = .ended
            flush(context)
            context.close(mode: .output, promise: nil)
        }
        handleHeld(context)
    }

    private func write(
        _ response: (status: HTTPResponse.Status, fields: HTTPFields, body: ByteBuffer), of slot: Slot,
        _ context: ChannelHandlerContext
    ) {
        var fields = response.fields
        fields.append(contentsOf: slot.fields)
        fields.append(HTTPField(name: .contentLength, value: String(response.body.readableBytes)))
        fields.append(HTTPField(name: .requestID, value: slot.requestID))
        fields.append(HTTPField(name: .date, value: date.value))
        fields.append(HTTPField(name: .server, value: AcceptService.serverName))
        let head = HTTPResponse(status: response.status, headerFields: fields)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(response.body)), promise: nil)
        context.write(wrapOutboundOut(.end(nil)), promise: nil)
        needsFlush = true
    }

    private func flush(_ context: ChannelHandlerContext) {
        guard needsFlush else { return }
        needsFlush = false
        context.flush()
    }

    /// A part of a response of Hummingbird.
    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = unwrapOutboundIn(data) else {
            context.write(data, promise: promise)
            return
        }
        context.write(data, promise: promise)
        // After a malformed body, Hummingbird responds a second time.
        passed = max(0, passed - 1)
        if passed == 0, !held.isEmpty { handleHeld(context) }
    }

    // MARK: The end of the connection

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The body of a request of ours is malformed, so nothing after it can be read either.
        if !refuseCutOff(context, isLast: true) { context.fireErrorCaught(error) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        _ = refuseCutOff(context, isLast: false)
        guard slots.isEmpty, held.isEmpty else {
            isInputClosed = true
            return
        }
        context.fireUserInboundEventTriggered(event)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // Pushes that were read completely are committed nevertheless; their results are only counted.
        if case .collecting = input { count(.cutOff) }
        input = .ended
        held = []
        self.context = nil
    }

    /// Refuses the request of ours whose body will not be completed.
    ///
    /// - Returns: false if there is none.
    private func refuseCutOff(_ context: ChannelHandlerContext, isLast: Bool) -> Bool {
        guard case .collecting(let slot) = input else { return false }
        if isLast { slots[slot - firstSlot].closesConnection = true }
        refuse(.cutOff, slot, context)
        flush(context)
        return true
    }
}

extension Problem {
    static func bodyTooLarge(max: Int) -> Problem {
        Problem(.contentTooLarge, .itemTooLarge, "the body has more than \(max) bytes")
    }

    static let cutOff = Problem(
        .badRequest, .truncatedStream, "the connection closed before the body was complete; send the request again"
    )
}
