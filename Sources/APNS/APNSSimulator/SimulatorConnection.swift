import APNSWire
import HTTP2Session
import NIOCore
import NIOSSL
import NIOTLS

/// One client's connection: drives the HTTP/2 session, judges requests, answers them.
///
/// Event loop only. All that arrives together is answered in one write and recorded in one step.
final class SimulatorConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Asks a connection to take no new requests and to end when the open ones are answered.
    struct ShutdownRequested: Sendable {}

    /// Bytes drained in one go; the next ones wait until the channel has room.
    private static let drainBytesMax = 256 * 1024

    private let state: SimulatorState
    private let session: HTTP2Session
    private var context: ConnectionContext
    private var answers: AnswerHeaders
    private let recordsPushes: Bool
    private let latency: TimeAmount

    /// Requests by slot; a stream's tag is its slot plus one. Bounded by the number of concurrent streams.
    private var requests: [IncomingRequest] = []
    private var freeSlots: [Int] = []

    private var channelContext: ChannelHandlerContext?
    private var output = ByteBuffer()
    private var number: UInt64 = 0
    private var isHandshaken = false
    private var hasRaisedStreams = false
    private var clientSaidGoAway = false
    /// The connection is to end without another word once what is queued has been written.
    private var isAborted = false
    private var isClosing = false
    private var goAwayLast: Int32?
    private var held = HeldAnswers()

    // What has been gathered since the last record.
    private var counters = SimulatorCounters()
    private var accepted = 0
    private var takenIDs: [APNSID] = []
    private var pushes: [ReceivedPush] = []

    init(state: SimulatorState) {
        self.state = state
        let configuration = state.configuration
        var limits = HTTP2Limits()
        limits.headerListBytesMax = Int(Self.headerListBytesMax)
        session = HTTP2Session(
            role: .server,
            settings: HTTP2Settings(
                streamsMax: configuration.streamsBeforeAuthentication, initialWindowBytes: 65_535,
                headerTableBytes: 4096, headerListBytesMax: Self.headerListBytesMax
            ),
            limits: limits
        )
        if configuration.connectionWindowBytes > 65_535 {
            session.setConnectionReceiveWindow(configuration.connectionWindowBytes)
        }
        context = ConnectionContext(verifier: state.verifier, topics: state.topics)
        answers = AnswerHeaders(
            usesUpperCaseIDs: configuration.usesUpperCaseIDs, environment: configuration.environment
        )
        recordsPushes = configuration.pushLogMax > 0
        latency = TimeAmount(configuration.latency)
        hasRaisedStreams = configuration.streamsBeforeAuthentication >= configuration.streamsMax
    }

    /// What APNs announces (observed, 2016 to 2021).
    private static let headerListBytesMax: UInt32 = 8000

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) { channelContext = context }
    func handlerRemoved(context: ChannelHandlerContext) { channelContext = nil }

    func channelActive(context: ChannelHandlerContext) {
        number = state.connectionOpened(context.channel)
        flush(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !isHandshaken { counters.tlsFailures += 1 }
        isAborted = true
        record()
        state.connectionClosed(context.channel)
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isAborted else { return }
        self.context.now = state.configuration.clock()
        do {
            try unwrapInboundIn(data).withUnsafeReadableBytes { try session.receive($0, delegate: self) }
        } catch {
            counters.protocolErrors += 1
            isClosing = true
            isAborted = true
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush(context)
        record()
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { flush(context) }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted:
            isHandshaken = true
        case is ShutdownRequested:
            isClosing = true
            session.submitGoAway(
                lastStream: session.lastProcessedStream, code: .noError,
                debugData: Array(#"{"reason":"Shutdown"}"#.utf8)
            )
            flush(context)
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // TLS errors and resets alike: nothing can be said to this client any more.
        context.close(promise: nil)
    }

    // MARK: Out

    private func flush(_ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        do {
            while context.channel.isWritable {
                output.clear()
                let count = try session.drain(limit: Self.drainBytesMax, delegate: self) { output.writeBytes($0) }
                guard count > 0 else { break }
                context.writeAndFlush(wrapOutboundOut(output), promise: nil)
            }
        } catch {
            isAborted = true
        }
        if isAborted {
            abort(context)
        } else if !session.wantsToRead, !session.wantsToWrite {
            if !isClosing, !clientSaidGoAway { counters.protocolErrors += 1 }
            isClosing = true
            context.close(promise: nil)
        }
    }

    /// Ends the TCP connection below TLS: no `close_notify`, as when a server dies.
    private func abort(_ context: ChannelHandlerContext) {
        if let tls = try? context.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
            tls.close(promise: nil)
        } else {
            context.close(promise: nil)
        }
    }

    private func record() {
        guard counters != SimulatorCounters() || accepted > 0 || !takenIDs.isEmpty else { return }
        if accepted > 0 { counters.answersByStatus[200, default: 0] += accepted }
        state.record(counters, takenIDs: takenIDs, pushes: pushes)
        counters = SimulatorCounters()
        accepted = 0
        takenIDs.removeAll(keepingCapacity: true)
        pushes.removeAll(keepingCapacity: true)
    }

    // MARK: Judging

    private func judge(_ slot: Int) {
        counters.requests += 1
        if requests[slot].id == nil { requests[slot].id = .random() }
        if !requests[slot].problems.isEmpty {
            guard let reason = requests[slot].problems.first() else {
                preconditionFailure("a problem that has no place in the order of checks")
            }
            settle(slot, .refused(reason), isTaken: false)
        } else if let tokenState = state.tokenState(of: requests[slot].token) {
            settle(slot, tokenState.answer, isTaken: false)
        } else if let fault = state.fault(for: requests[slot]) {
            inject(fault, slot)
        } else {
            settle(slot, .accepted, isTaken: true)
        }
    }

    /// Records the request and answers it, now or after the configured latency.
    private func settle(_ slot: Int, _ answer: Answer, isTaken: Bool) {
        note(slot, answer, isTaken: isTaken)
        let stream = requests[slot].stream
        if latency == .nanoseconds(0) {
            respond(slot, stream, answer)
        } else {
            hold(HeldAnswers.Answer(due: .now() + latency, slot: slot, stream: stream, answer: answer))
        }
    }

    private func respond(_ slot: Int, _ stream: Int32, _ answer: Answer) {
        // The client may have given up in the meantime, and the slot may belong to another stream.
        guard requests[slot].stream == stream, let id = requests[slot].id else { return }
        do {
            try session.respond(answers.make(for: answer, id: id), body: answer.body, to: stream)
        } catch {
            session.reset(stream, code: .internalError)
        }
    }

    /// - Parameter answer: nil when there will be none.
    private func note(_ slot: Int, _ answer: Answer?, isTaken: Bool) {
        if isTaken, let id = requests[slot].id {
            counters.taken += 1
            takenIDs.append(id)
        }
        if let answer {
            if answer.status == 200, answer.reason.isEmpty { accepted += 1 } else { counters.count(answer) }
        } else {
            counters.unanswered += 1
        }
        guard recordsPushes else { return }
        let request = requests[slot]
        pushes.append(
            ReceivedPush(
                sequence: 0, id: request.id ?? .random(), token: request.token,
                topic: state.topics.name(of: request.topic), pushType: request.pushType, priority: request.priority,
                expiration: request.expiration, collapseID: String(decoding: request.collapseID, as: UTF8.self),
                payload: request.payload, connection: number, stream: request.stream, status: answer?.status ?? 0,
                reason: answer?.reason ?? "", isTaken: isTaken, receivedAt: context.now
            )
        )
    }

    // MARK: Faults

    private func inject(_ fault: Fault, _ slot: Int) {
        let stream = requests[slot].stream
        switch fault.kind {
        case .accept: note(slot, .accepted, isTaken: true)
        case .answer(let answer): note(slot, answer.answer, isTaken: fault.isTaken)
        case .goAway(let last?, _, _): note(slot, stream <= last ? .accepted : nil, isTaken: stream <= last)
        case .goAway(nil, _, _): note(slot, fault.isTaken ? .accepted : nil, isTaken: fault.isTaken)
        case .stall, .reset, .close: note(slot, nil, isTaken: fault.isTaken)
        }
        if fault.delay == .zero {
            act(fault, slot, stream)
        } else {
            afterwards(.now() + TimeAmount(fault.delay)) { $0.act(fault, slot, stream) }
        }
    }

    private func act(_ fault: Fault, _ slot: Int, _ stream: Int32) {
        guard requests[slot].stream == stream else { return }
        switch fault.kind {
        case .accept: respond(slot, stream, .accepted)
        case .answer(let answer): respond(slot, stream, answer.answer)
        case .stall: break
        case .reset(let code): session.reset(stream, code: code)
        case .close: isAborted = true
        case .goAway(let last, let code, let debugData):
            let last = last ?? (fault.isTaken ? stream : max(0, stream - 2))
            if stream <= last { respond(slot, stream, .accepted) }
            session.submitGoAway(lastStream: last, code: code, debugData: debugData)
            goAwayLast = min(last, goAwayLast ?? .max)
            isClosing = true
        }
    }

    // MARK: Later

    private func hold(_ answer: HeldAnswers.Answer) {
        if held.append(answer) { scheduleHeld() }
    }

    private func scheduleHeld() {
        guard let due = held.firstDue else { return }
        afterwards(due) { connection in
            while let answer = connection.held.removeFirst(dueBy: .now()) {
                connection.respond(answer.slot, answer.stream, answer.answer)
            }
            connection.scheduleHeld()
        }
    }

    private func afterwards(_ due: NIODeadline, _ work: @escaping (SimulatorConnection) -> Void) {
        guard let context = channelContext else { return }
        context.eventLoop.assumeIsolated().scheduleTask(deadline: due) {
            guard let context = self.channelContext, !self.isAborted else { return }
            work(self)
            self.flush(context)
            self.record()
        }
    }
}

// MARK: - Session events

extension SimulatorConnection: HTTP2SessionDelegate {
    func headersBegan(stream: Int32, tag: UInt32) {
        // Trailers of a request that is known already.
        guard tag == 0 else { return }
        let slot = freeSlots.popLast() ?? requests.count
        if slot == requests.count { requests.append(IncomingRequest()) }
        requests[slot].begin(stream: stream)
        session.setTag(UInt32(slot + 1), of: stream)
    }

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard tag > 0 else { return }
        requests[Int(tag) - 1].header(name, value, &context)
    }

    func headersEnded(stream: Int32, tag: UInt32) {
        guard !hasRaisedStreams, context.authentication.isAuthenticated else { return }
        hasRaisedStreams = true
        session.submitSettings(HTTP2Settings(streamsMax: state.configuration.streamsMax))
    }

    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard tag > 0 else { return }
        requests[Int(tag) - 1].data(bytes, isKept: recordsPushes)
    }

    func messageEnded(stream: Int32, tag: UInt32) {
        guard tag > 0, !isAborted, stream <= goAwayLast ?? .max else { return }
        requests[Int(tag) - 1].end(&context)
        judge(Int(tag) - 1)
    }

    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {
        guard tag > 0, requests[Int(tag) - 1].stream == stream else { return }
        if code == .cancel { counters.cancelled += 1 }
        requests[Int(tag) - 1].free()
        freeSlots.append(Int(tag) - 1)
    }

    func goAwayReceived(_ goAway: HTTP2GoAway) { clientSaidGoAway = true }
}
