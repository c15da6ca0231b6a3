import APNSWire
import HTTP2Session
import NIOCore

/// One connection to APNs: the HTTP/2 session, the pushes in flight on it, and the channel under it.
///
/// Used on the client's event loop only. It takes pushes from the core's queue whenever it has streams to spare, and
/// reports what becomes of them there: no future, task or closure for a push.
final class APNSConnection {
    enum State: Equatable {
        /// Until the server's first SETTINGS frame.
        case connecting
        case ready
        /// Takes no new streams; closes when those it has are done.
        case draining
        case closed
    }

    /// Bytes handed to the channel in one write: enough to fill many TLS records, few enough to stay in the cache.
    private static let writeBytesMax = 128 * 1024
    /// What a push costs on the wire beside its payload, roughly: frames and fields.
    private static let pushOverheadBytes = 160
    /// How long pushes wait for a sign of life from a connection that was idle.
    private static let probeTimeout = TimeAmount.seconds(2)
    /// Server errors in a row after which the connection is taken to be at fault, not a push.
    private static let serverErrorsMax = 50

    let core: APNSClientEngine
    let session: HTTP2Session
    private let limits: Limits
    private var context: ChannelHandlerContext?
    private var output: ByteBuffer
    private var block: HeaderBlockTemplate

    /// Counts the client's connections.
    let id: UInt64
    private(set) var state = State.connecting
    private(set) var streams = StreamTable()
    /// Whether a push was ever answered here, and not with an error of the server's own.
    private(set) var wasOfUse = false
    /// Silent for so long that it must answer a PING before it gets pushes: a dead connection is never written to.
    private(set) var isProbing = false
    private var journal: ConnectionStatistics
    private(set) var goAway: (lastStream: Int32, reason: APNSReason)?
    /// The token of the last requests.
    private(set) var token: ProviderToken?
    /// Of the header block that is coming in, 0 before there is one. Blocks never interleave (RFC 9113, section 4.3).
    private var statusComing: UInt16 = 0
    private var now: NIODeadline
    private var lastRead: NIODeadline
    private var hasRead = false
    private var pingSentAt: NIODeadline?
    private var pingNumber: UInt64 = 0
    private var drainDeadline = NIODeadline.distantFuture

    /// What the configuration says about a connection, in the event loop's units.
    struct Limits {
        var streamsMax: Int
        var pingInterval: TimeAmount
        var pingTimeout: TimeAmount
        var drainTimeout: TimeAmount
        var stallTimeout: TimeAmount
        var idlePingInterval: TimeAmount
        var idleBeforeProbe: TimeAmount
        var ageMax: TimeAmount
    }

    init(core: APNSClientEngine, id: UInt64, authority: String, limits: Limits) {
        self.core = core
        self.id = id
        self.limits = limits
        session = HTTP2Session(role: .client, settings: HTTP2Settings(isPushEnabled: false))
        block = HeaderBlockTemplate(authority: authority)
        output = ByteBufferAllocator().buffer(capacity: Self.writeBytesMax)
        now = core.eventLoop.now
        lastRead = now
        // Spread by a tenth either way, so that connections made together do not end together.
        journal = ConnectionStatistics(now: now, ageMax: limits.ageMax.spread)
    }

    /// Streams that may be open at once: ours and the server's limit, whichever is lower.
    var streamsMax: Int { min(limits.streamsMax, Int(session.remoteStreamsMax)) }

    /// Whether time must be watched closely here although no batch is open.
    var needsTick: Bool { state == .draining || pingSentAt != nil }

    /// Whether it has reached its age and should be replaced.
    var isOverdue: Bool { journal.isOverdue(now: core.eventLoop.now) }

    /// How much of what it may have under way it has, 0...1: of streams or of window, whichever is more.
    func use() -> Double {
        let streams = Double(streams.openCount) / Double(max(1, streamsMax))
        return max(streams, journal.windowUse(now: Int(session.connectionSendWindow)))
    }

    /// Pushes answered here.
    var answered: UInt64 { journal.answered }

    /// From the write of a push to its answer, as a rule; nil before the first.
    var answerTime: TimeAmount? { journal.answerTime }

    func snapshot() -> APNSConnectionSnapshot {
        let now = core.eventLoop.now
        let label: APNSConnectionSnapshot.State =
            switch state {
            case .connecting: .connecting
            case .ready: isProbing ? .probing : .ready
            case .draining, .closed: .draining
            }
        var snapshot = APNSConnectionSnapshot(id: id, state: label)
        snapshot.address = journal.address
        snapshot.age = Duration(now - journal.createdAt)
        snapshot.streamsOpen = streams.openCount
        snapshot.streamsMax = state == .connecting ? 0 : streamsMax
        snapshot.sendWindow = Int(session.connectionSendWindow)
        snapshot.sinceLastAnswer = journal.lastAnswerAt.map { Duration(now - $0) }
        snapshot.answerTime = journal.answerTime.map { Duration($0) }
        snapshot.roundTrip = journal.roundTrip.map { Duration($0) }
        snapshot.sent = journal.sent
        snapshot.answered = journal.answered
        snapshot.accepted = journal.accepted
        snapshot.answersByReason = journal.answersByReason
        return snapshot
    }

    // MARK: Pushes out

    /// Takes waiting pushes as far as streams, flow control and the channel allow, and writes everything that is ready.
    ///
    /// - Parameter max: of them at most.
    /// - Returns: how many were taken.
    @discardableResult
    func pump(max: Int = .max) -> Int {
        guard state == .ready || state == .draining, let context else { return 0 }
        now = core.eventLoop.now
        probeIfIdle()
        let before = journal.sent
        var isMore = true
        while isMore, context.channel.isWritable, state != .closed {
            isMore = submitWaiting(max: max - Int(journal.sent - before))
            // What the limit kept back is handed out in the next round.
            isMore = writeOutput() >= Self.writeBytesMax || isMore
        }
        closeIfDone()
        return Int(journal.sent - before)
    }

    /// - Returns: whether pushes wait that this connection could still take.
    private func submitWaiting(max: Int) -> Bool {
        guard state == .ready, !isProbing, !core.waiting.isEmpty, streams.openCount < streamsMax else { return false }
        guard prepareAuthorization() else { return false }
        core.readWallClock()
        let streamsMax = min(streamsMax, max < .max - streams.openCount ? streams.openCount + max : .max)
        var window = Int(session.connectionSendWindow)
        var budget = Self.writeBytesMax
        while streams.openCount < streamsMax, let (batch, index) = core.nextPush(now: now) {
            let payloadBytes = Int(batch.batch.entries[Int(index)].payloadLength)
            // A body that would wait for the window waits in our queue instead, where it can still go elsewhere. One
            // stream is always opened, so that a small window cannot stop everything.
            guard payloadBytes <= window || streams.openCount == 0 else { return false }
            guard budget > 0 else { return true }
            guard submit(batch, index) else { return false }
            window -= payloadBytes
            budget -= payloadBytes + Self.pushOverheadBytes
        }
        return false
    }

    /// - Returns: false when the connection can open no more streams.
    private func submit(_ batch: InFlightBatch, _ index: UInt16) -> Bool {
        core.waiting.removeFirst()
        core.countSent()
        journal.countSent(isFirst: streams.openCount == 0, now: now)
        guard block.fill(Int(index), of: batch) else {
            core.settle(batch, index, .failed(.protocolError, .neverWritten))
            return true
        }
        let entry = batch.batch.entries[Int(index)]
        let start = Int(entry.payloadStart)
        let body = HTTP2Body(batch.batch.payloads, range: start..<start + Int(entry.payloadLength))
        let tag = streams.open(batch, index, now: now)
        do throws(HTTP2SessionError) {
            streams.submitted(tag, as: try session.submitRequest(block.headers, body: body, tag: tag))
            return true
        } catch {
            // All stream ids are used up, or the session is ending.
            streams.close(tag)
            core.move(batch, index, .failed(.goAway, .neverWritten))
            retire(.streamsUsedUp)
            return false
        }
    }

    /// - Returns: false when there is no token, and nothing can be sent.
    private func prepareAuthorization() -> Bool {
        guard let source = core.credential.tokenSource else { return true }
        do {
            let current = try source.current()
            if current != token { block.setAuthorization(current.authorization) }
            token = current
            return true
        } catch {
            core.credentialFailed()
            return false
        }
    }

    /// Writes what the session has ready.
    ///
    /// - Returns: bytes written.
    @discardableResult
    private func writeOutput() -> Int {
        guard let context else { return 0 }
        output.clear()
        var count = 0
        do throws(HTTP2SessionError) {
            count = try drain(limit: Self.writeBytesMax)
            if streams.needsPing, pingSentAt == nil {
                // Only now: a PING overtakes the resets that it is to speak for, were it submitted with them.
                sendPing()
                streams.pingSent()
                count += try drain(limit: .max)
            }
        } catch {
            finish(.protocolError)
            return 0
        }
        if count > 0 { context.writeAndFlush(NIOAny(output), promise: nil) }
        return count
    }

    private func drain(limit: Int) throws(HTTP2SessionError) -> Int {
        try session.drain(limit: limit, delegate: self) { output.writeBytes($0) }
    }

    // MARK: Ending

    /// Opens no more streams here; the connection closes once those it has are done.
    func retire(_ why: APNSDrainReason) {
        guard state == .ready else { return }
        state = .draining
        core.connectionDraining(self, why)
    }

    private func closeIfDone() {
        guard state != .closed else { return }
        if state == .draining, !streams.carriesPush {
            // Streams that we reset may still have their places. Whether the server ever says that it has seen the resets
            // does not matter any more.
            finish(.connectionClosed)
        } else if !session.wantsToRead, !session.wantsToWrite {
            // The session has ended because one side broke the protocol.
            finish(.protocolError)
        }
    }

    /// Ends the connection now: every push in flight gets its answer, and the channel is closed.
    ///
    /// The channel itself may take a few seconds more to say goodbye; nothing that it brings is looked at.
    func finish(_ failure: APNSAnswer.Failure) {
        guard state != .closed else { return }
        state = .closed
        let failure = goAway == nil ? failure : .goAway
        let reason = goAway?.reason ?? .none
        for tag in streams.streams.indices {
            settle(
                UInt32(tag),
                StreamTable.ending(
                    of: streams.streams[tag], lostBecause: failure, reason: reason, goAwayLast: goAway?.lastStream
                )
            )
        }
        core.connectionClosed(self, failure)
        context?.close(promise: nil)
    }

    private func settle(_ tag: UInt32, _ ending: StreamTable.Ending) {
        let stream = streams.streams[Int(tag)]
        guard let batch = stream.batch else { return }
        switch ending {
        case .nothing: break
        case .settle(let answer, let unknownReason):
            streams.settle(tag)
            core.settle(batch, stream.index, answer, latency: latency(of: stream), unknownReason: unknownReason)
        case .move(let answer):
            streams.settle(tag)
            // Where the same push was turned away before, the next one may fare no better.
            if core.move(batch, stream.index, answer) > 1, answer.failure == .streamRefused { retire(.refusing) }
        }
    }

    private func cancel(_ tag: UInt32, _ stream: Int32) {
        core.countReset()
        streams.cancel(tag)
        session.reset(stream, code: .cancel)
    }

    private func latency(of stream: StreamTable.Stream) -> UInt32 {
        UInt32(clamping: (now - stream.openedAt).nanoseconds / 1_000_000)
    }

    // MARK: Time

    /// Gives up the pushes whose deadline has passed.
    func expire(now: NIODeadline) {
        for tag in streams.streams.indices {
            let stream = streams.streams[tag]
            guard let batch = stream.batch, batch.deadline <= now else { continue }
            if streams.answered(UInt32(tag)) != nil {
                // All but its end has come.
                answered(UInt32(tag), stream.id, isComplete: false)
                continue
            }
            let outcome: APNSAnswer.Outcome = stream.state == .sent ? .ambiguous : .neverWritten
            cancel(UInt32(tag), stream.id)
            core.settle(batch, stream.index, .failed(.deadlineExceeded, outcome), latency: latency(of: stream))
        }
    }

    /// Watches over the connection; called some twenty times a second while there is something to watch.
    func tick(now: NIODeadline) {
        self.now = now
        let timeout = isProbing ? min(limits.pingTimeout, Self.probeTimeout) : limits.pingTimeout
        if let pingSentAt, max(pingSentAt, lastRead) + timeout <= now {
            finish(.pingTimeout)
        } else if state == .draining, drainDeadline <= now {
            finish(.connectionClosed)
        } else if state != .connecting, pingSentAt == nil {
            let interval = streams.openCount > 0 ? limits.pingInterval : limits.idlePingInterval
            if lastRead + interval <= now { sendPing() }
        }
        if streams.openCount > 0, journal.isStalled(since: limits.stallTimeout, now: now) { retire(.stalled) }
        // A server that allows no stream leaves nothing unanswered, and is of no more use.
        journal.look(allowsStreams: streamsMax > 0, now: now)
        if core.wantsConnection, journal.isStarved(since: limits.stallTimeout, now: now) { retire(.stalled) }
        pump()
    }

    private func probeIfIdle() {
        guard !isProbing, state == .ready, streams.openCount == 0, !core.waiting.isEmpty else { return }
        guard lastRead + limits.idleBeforeProbe <= now else { return }
        isProbing = true
        // The hourly PING may be under way already, and asks the same.
        if pingSentAt == nil { sendPing() }
    }

    private func sendPing() {
        pingNumber += 1
        session.ping(pingNumber)
        pingSentAt = now
        core.needsTick()
    }
}

// MARK: - What the session tells

extension APNSConnection: HTTP2SessionDelegate {
    func settingsReceived() {
        guard state == .connecting else { return }
        state = .ready
        journal.connected(address: context?.channel.remoteAddress, window: Int(session.connectionSendWindow))
        core.connectionReady(self)
    }

    func requestEnded(stream: Int32, tag: UInt32) { streams.sent(tag) }

    func requestNotSent(stream: Int32, tag: UInt32) {
        settle(tag, .move(.failed(goAway == nil ? .streamRefused : .goAway, .neverWritten)))
        streams.close(tag)
    }

    func headersBegan(stream: Int32, tag: UInt32) { statusComing = 0 }

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        // Told apart by length first: answers carry few fields, and two of them count.
        if name.count == 7, let status = Self.number(value), Self.isEqual(name, ":status") {
            statusComing = UInt16(clamping: status)
        } else if name.count == 11, let seconds = Self.number(value), Self.isEqual(name, "retry-after") {
            streams.retryAfterReceived(seconds, tag)
        }
    }

    func headersEnded(stream: Int32, tag: UInt32) {
        // Only now: a block that is malformed, or never ends, is not an answer (RFC 9113, section 8.1.1).
        if statusComing > 0 { streams.statusReceived(statusComing, tag) }
    }

    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard streams.bodyReceived(bytes, tag) else { return }
        // No end in sight, and nothing in it that we could want: its status is answer enough.
        answered(tag, stream, isComplete: false)
    }

    func messageEnded(stream: Int32, tag: UInt32) {
        // Answered before the request was complete: the rest of it is of no use to anybody.
        answered(tag, stream, isComplete: streams.streams[Int(tag)].state == .sent)
    }

    /// A stream has its answer.
    ///
    /// - Parameter isComplete: nothing more comes, and nothing more is to be sent.
    private func answered(_ tag: UInt32, _ stream: Int32, isComplete: Bool) {
        let carried = streams.streams[Int(tag)]
        guard let batch = carried.batch, let (answer, unknownReason) = streams.answered(tag) else { return }
        if isComplete {
            streams.settle(tag)
        } else {
            cancel(tag, stream)
        }
        let milliseconds = latency(of: carried)
        journal.countAnswer(answer, milliseconds: milliseconds, now: now)
        if answer.status < 500, !wasOfUse {
            wasOfUse = true
            core.connectionProvedUseful()
        }
        // What another connection will take at once goes there, and the caller never hears of it.
        if answer.status != 200, core.refused(answer.reason, by: self) {
            core.move(batch, carried.index, answer)
        } else {
            core.settle(batch, carried.index, answer, latency: milliseconds, unknownReason: unknownReason)
        }
        if journal.serverErrorsInRow >= Self.serverErrorsMax { retire(.serverErrors) }
    }

    func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) {
        let carried = streams.streams[Int(tag)]
        guard carried.state != .unused, carried.id == stream else { return }
        settle(tag, StreamTable.ending(of: carried, isRefused: code == .refusedStream, goAway: goAway))
        if carried.state == .cancelled { streams.quarantine(tag) } else { streams.close(tag) }
    }

    func goAwayReceived(_ goAway: HTTP2GoAway) {
        let reason = ErrorBody(goAway.debugData).reason
        // A polite server says GOAWAY twice: first with the highest id there is, then with the true one.
        self.goAway = (goAway.lastStream, reason == .none ? self.goAway?.reason ?? .none : reason)
        core.goAwayReceived(reason, goAway, by: self)
        // Before its SETTINGS: there is nothing on it to wait for.
        if state == .connecting { finish(.goAway) } else { retire(.goAway) }
        // Who leaves on our own account may take its time: its pushes have their deadlines. Not so when the server says it.
        drainDeadline = min(drainDeadline, core.eventLoop.now + limits.drainTimeout)
    }

    func pingAcknowledged(_ number: UInt64) {
        guard number == pingNumber, let sentAt = pingSentAt else { return }
        pingSentAt = nil
        isProbing = false
        journal.roundTrip = now - sentAt
        streams.pingAcknowledged()
    }

    private static func isEqual(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        for index in 0..<bytes.count where bytes[index] != text.utf8Start[index] { return false }
        return true
    }

    /// A number of up to nine digits; nil for anything else.
    private static func number(_ bytes: UnsafeRawBufferPointer) -> UInt32? {
        guard (1...9).contains(bytes.count) else { return nil }
        var value: UInt32 = 0
        for byte in bytes {
            guard (48...57).contains(byte) else { return nil }
            value = value * 10 + UInt32(byte - 48)
        }
        return value
    }
}

// MARK: - What the channel tells

extension APNSConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { writeOutput() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish(.connectionClosed)
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) { writeOutput() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .closed else { return }
        now = core.eventLoop.now
        lastRead = now
        do throws(HTTP2SessionError) {
            try Self.unwrapInboundIn(data).withUnsafeReadableBytes { bytes throws(HTTP2SessionError) in
                if !hasRead {
                    hasRead = true
                    if let goAway = EarlyGoAway.read(bytes) { return goAwayReceived(goAway) }
                }
                try session.receive(bytes, delegate: self)
            }
        } catch {
            // The session may have a last word for the server.
            writeOutput()
            finish(.protocolError)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if state == .connecting {
            writeOutput()
            closeIfDone()
        } else {
            pump()
        }
        core.turnEnded()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        pump()
        core.turnEnded()
    }

    func channelInactive(context: ChannelHandlerContext) { finish(.connectionClosed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(ConnectErrorMapping.classify(error, isReady: state != .connecting))
    }
}
