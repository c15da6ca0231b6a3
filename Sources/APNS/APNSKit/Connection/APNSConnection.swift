import APNSWire
import HTTP2Session
import NIOCore
import NIOSSL
import NIOTLS

/// One connection to APNs: the HTTP/2 session, the pushes in flight on it, and the channel under it.
///
/// The connection decides when a push is written, what the end of its stream means, and when the connection itself is
/// replaced. The parts that need no I/O are pure types: `ConnectionStateMachine` (states and close rules),
/// `StreamTable` (streams and partial answers), `ConnectionStatistics` (age, stall, use) and `HeaderBlockTemplate`.
///
///                    GOAWAY, connect timeout, connection error
///         ┌───────────────────────────────────────────────────────────────────────┐
///         │                                PING timeout, connection error         │
///         │                    ┌──────────────────────────────────────────────────┤
///         │                    │                                                  ▼
///     connecting ─SETTINGS─▶ ready ─drain(reason)─▶ draining ─no push in flight─▶ closed
///                                                      │                          ▲
///                                                      └─drain timeout, any error─┘
///
/// **Writing.** The connection pulls: `pump` takes pushes from the engine's queue while streams, the server's
/// flow-control window and the channel's write buffer allow. A push whose payload does not fit the window stays in the
/// queue, where another connection can take it. Pushes therefore never wait inside a connection, and a lost connection
/// loses only pushes that are on the wire.
///
/// **The end of a push.** A push is reported to the engine exactly once, in one of three ways:
/// - the server sent a status: `settle` with that answer, even if the rest of the answer never arrives;
/// - the server has certainly not processed it (not completely written, REFUSED_STREAM, above GOAWAY's last stream ID):
///   `requeue`;
/// - otherwise the server may have accepted it: `settle` as `ambiguous`. It is never sent again here.
///
/// An error answer can also requeue a push, when another connection will accept the push (an expired provider token
/// that could be renewed, a server that shuts down).
///
/// **Resets.** A stream that we reset, because its push has waited too long or its answer has no end, keeps its
/// slot until the server acknowledges a later PING. A server that stops answering thus cannot make us open streams that
/// it still counts.
///
/// **Health.** A connection drains when it has reached its maximum age, answers PINGs but no pushes, grants no window for
/// requests, answers only with server errors, or refuses a push that was refused before (`APNSDrainReason`). Requests
/// that wait for the window are then requeued. Only a drain by GOAWAY has a timeout:
/// otherwise the timeouts of the pushes bound it. A connection that was idle for a long time is probed with a PING before it
/// gets pushes, because pushes written to a dead connection would be ambiguous.
///
/// **The exception.** A server may send GOAWAY before its SETTINGS, for example to reject the credential. libnghttp2
/// drops such a frame, so `ConnectionStateMachine.bytesReceived` reads it first, and the connection closes immediately.
///
/// Used on the client's event loop only. There is no future, task or closure per push. The session calls the delegate
/// methods only from inside `receive` and `serialize`; nothing here calls either of them from a delegate method.
final class APNSConnection {
    /// Bytes passed to the channel in one write: enough to fill many TLS records, and few enough to stay in the cache.
    private static let writeBytesMax = 128 * 1024
    /// The approximate size of a push on the wire without its payload: frames and fields.
    private static let pushOverheadBytes = 160
    /// How long requests may wait for the server's flow control before the connection is replaced.
    private static let windowTimeout = TimeAmount.seconds(3)
    /// How long pushes wait for the PING of an idle connection.
    private static let probeTimeout = TimeAmount.seconds(2)
    /// Consecutive server errors after which the connection, not a push, is considered the cause.
    private static let serverErrorsMax = 50

    /// Consecutive answers that are not those of APNs after which the connection is replaced: it may lead elsewhere.
    private static let foreignAnswersMax = 3

    let engine: APNSClientEngine
    let session: HTTP2Session
    private let limits: Limits
    private var context: ChannelHandlerContext?
    private var output: ByteBuffer
    private var headerBlock: HeaderBlockTemplate

    /// Numbers the client's connections from 1.
    let id: UInt64
    private var machine = ConnectionStateMachine()
    private(set) var streams: StreamTable
    /// Whether a push was answered here with anything but a server error.
    private(set) var isProven = false
    /// The connection was idle for a long time, and must acknowledge a PING before it gets pushes.
    private(set) var isProbing = false
    private var allowance: StreamAllowance
    /// Whether the next push in the queue waits for the connection's flow-control window.
    private var waitsForWindow = false
    private var statistics: ConnectionStatistics
    /// The provider token of the last requests.
    private(set) var token: ProviderToken?
    /// How far the attempt to connect has got.
    private(set) var connectStep = ConnectStep.connecting
    /// Why the connection is lost, if more is known than the failure that its pushes report.
    private(set) var lossCause: APNSConnectionFailure?
    /// What the server says about itself, in the last answer that said it.
    private var serverHint = ServerHint()
    private var foreignAnswersInRow = 0
    /// The status in the header block being received; 0 without one. Blocks never interleave (RFC 9113, section 4.3).
    private var incomingStatus: UInt16 = 0
    private var now: NIODeadline
    private var lastRead: NIODeadline
    /// When APNs last answered a push, and not with a server error.
    private var answeredAt = NIODeadline.distantPast
    private var pingAcknowledgedAt = NIODeadline.distantPast
    private var pingSentAt: NIODeadline?
    private var pingNumber: UInt64 = 0

    /// The configuration of a connection, in the event loop's units.
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

    init(engine: APNSClientEngine, id: UInt64, authority: String, limits: Limits, isCautious: Bool) {
        self.engine = engine
        self.id = id
        self.limits = limits
        session = HTTP2Session(role: .client, settings: HTTP2Settings(isPushEnabled: false))
        headerBlock = HeaderBlockTemplate(authority: authority)
        allowance = StreamAllowance(isCautious: isCautious)
        streams = StreamTable(requiresAPNSID: engine.configuration.requiresAPNSID)
        output = ByteBufferAllocator().buffer(capacity: Self.writeBytesMax)
        now = engine.eventLoop.now
        lastRead = now
        // The random tenth keeps connections that were made together from ending together.
        statistics = ConnectionStatistics(now: now, ageMax: limits.ageMax.withJitter)
    }

    var state: ConnectionStateMachine.State { machine.state }

    /// Streams that may be open concurrently: our limit, the server's, or what it has not refused, whichever is lowest.
    var streamsMax: Int { min(limits.streamsMax, Int(session.remoteStreamsMax), allowance.count) }

    /// Whether `tick` must be called frequently although no batch is in flight.
    var needsTick: Bool { state == .draining || pingSentAt != nil }

    /// Whether the server has answered a push, or acknowledged a PING, since `time`.
    func wasAlive(since time: NIODeadline) -> Bool { state == .ready && max(answeredAt, pingAcknowledgedAt) > time }

    /// When the PING was sent that the server has not acknowledged; nil without one.
    var unacknowledgedPingAt: NIODeadline? { pingSentAt }

    /// Whether it has reached its maximum age and should be replaced.
    var isOverdue: Bool { statistics.isOverdue(now: engine.eventLoop.now) }

    /// The share of its streams or of its window in use, whichever is more, 0...1.
    func measureUtilization() -> Double {
        let streams = Double(streams.openCount) / Double(max(1, streamsMax))
        return max(streams, statistics.measureWindowUse(available: Int(session.connectionSendWindow)))
    }

    /// Whether the connection, which was opened before `time`, has answered no push and takes no other one.
    func isStuck(since time: NIODeadline) -> Bool {
        !isProven && createdAt <= time && streams.openCount > 0 && streams.openCount >= streamsMax
    }

    /// Whether it has had enough pushes accepted to permit others; see `ConnectRate`.
    var isUseful: Bool { statistics.accepted >= ConnectRate.usefulAnswers }

    /// When the client began to open it.
    var createdAt: NIODeadline { statistics.createdAt }

    /// The average time from the write of a push to its answer; nil before the first answer.
    var answerTime: TimeAmount? { statistics.answerTime }

    func snapshot() -> APNSConnectionSnapshot {
        let now = engine.eventLoop.now
        let label: APNSConnectionSnapshot.State =
            switch state {
            case .connecting: .connecting
            case .ready: isProbing ? .probing : .ready
            case .draining, .closed: .draining
            }
        var snapshot = APNSConnectionSnapshot(id: id, state: label)
        snapshot.address = statistics.address
        snapshot.age = Duration(now - statistics.createdAt)
        snapshot.streamsOpen = streams.openCount
        snapshot.streamsMax = state == .connecting ? 0 : streamsMax
        snapshot.sendWindow = Int(session.connectionSendWindow)
        snapshot.sinceLastAnswer = statistics.lastAnswerAt.map { Duration(now - $0) }
        snapshot.answerTime = statistics.answerTime.map { Duration($0) }
        snapshot.roundTrip = statistics.roundTrip.map { Duration($0) }
        snapshot.sent = statistics.sent
        snapshot.answered = statistics.answered
        snapshot.accepted = statistics.accepted
        snapshot.answersByReason = statistics.answersByReason
        return snapshot
    }

    // MARK: Writing pushes

    /// Takes pushes from the queue as far as streams, flow control and the channel allow, and writes all pending
    /// output.
    ///
    /// - Parameter max: the most pushes to take.
    /// - Returns: how many were taken.
    @discardableResult
    func pump(max: Int = .max) -> Int {
        guard state == .ready || state == .draining, let context else { return 0 }
        now = engine.eventLoop.now
        probeIfIdle()
        let before = statistics.sent
        var hasMore = true
        while hasMore, context.channel.isWritable, state != .closed {
            hasMore = submitQueued(max: max - Int(statistics.sent - before))
            // A write that stopped at its limit continues in the next round.
            hasMore = writeOutput() >= Self.writeBytesMax || hasMore
        }
        closeIfDone()
        return Int(statistics.sent - before)
    }

    /// - Returns: whether the queue has pushes that this connection could still take.
    private func submitQueued(max: Int) -> Bool {
        waitsForWindow = false
        guard state == .ready, !isProbing, !engine.queue.isEmpty, streams.openCount < streamsMax else { return false }
        guard prepareAuthorization() else { return false }
        engine.readWallClock()
        let newStreams = min(max, streamsMax - streams.openCount)
        let openMax = streams.openCount + newStreams
        var window = Int(session.connectionSendWindow)
        var budget = Self.writeBytesMax
        while streams.openCount < openMax, let (batch, index) = engine.nextPush(now: now) {
            let payloadBytes = Int(batch.batch.entries[Int(index)].payloadLength)
            // A body that would wait for the window stays in the queue instead, where another connection can take it.
            // One stream is always opened, so that a small window cannot block everything.
            guard payloadBytes <= window || streams.openCount == 0 else {
                waitsForWindow = true
                return false
            }
            guard budget > 0 else { return true }
            guard submit(batch, index) else { return false }
            window -= payloadBytes
            budget -= payloadBytes + Self.pushOverheadBytes
        }
        return false
    }

    /// - Returns: false when the connection can open no more streams.
    private func submit(_ batch: InFlightBatch, _ index: UInt16) -> Bool {
        engine.queue.removeFirst()
        engine.countSent()
        statistics.countSent()
        guard headerBlock.fill(Int(index), of: batch) else {
            engine.settle(batch, index, .failed(.protocolError, .neverWritten))
            return true
        }
        let entry = batch.batch.entries[Int(index)]
        let start = Int(entry.payloadStart)
        let body = HTTP2Body(batch.batch.payloads, range: start..<start + Int(entry.payloadLength))
        let tag = streams.open(batch, index, now: now)
        engine.expectTimeout(at: now + batch.answerTimeout)
        do throws(HTTP2SessionError) {
            streams.submitted(tag, as: try session.submitRequest(headerBlock.headers, body: body, tag: tag))
            return true
        } catch {
            // All stream IDs are used up, or the session is ending.
            streams.close(tag)
            engine.requeue(batch, index, .failed(.goAway, .neverWritten))
            drain(.streamsUsedUp)
            return false
        }
    }

    /// - Returns: false when there is no token, and nothing can be sent.
    private func prepareAuthorization() -> Bool {
        guard let source = engine.credential.tokenSource else { return true }
        do {
            let current = try source.current()
            if current != token { headerBlock.setAuthorization(current.authorization) }
            token = current
            return true
        } catch {
            engine.credentialFailed()
            return false
        }
    }

    /// Writes the session's pending output.
    ///
    /// - Returns: bytes written.
    @discardableResult
    private func writeOutput() -> Int {
        guard let context else { return 0 }
        output.clear()
        var count = 0
        do throws(HTTP2SessionError) {
            count = try serialize(limit: Self.writeBytesMax)
            if streams.needsPing, pingSentAt == nil {
                // Only now: libnghttp2 writes a PING before resets that are submitted together with it.
                sendPing()
                streams.pingSent()
                count += try serialize(limit: .max)
            }
        } catch {
            close(.protocolError)
            return 0
        }
        if count > 0 { context.writeAndFlush(NIOAny(output), promise: nil) }
        return count
    }

    private func serialize(limit: Int) throws(HTTP2SessionError) -> Int {
        try session.serialize(limit: limit, delegate: self) { output.writeBytes($0) }
    }

    // MARK: Draining and closing

    /// Opens no more streams here; the connection closes when the pushes in flight are done.
    func drain(_ reason: APNSDrainReason) {
        if machine.drain() { engine.connectionDraining(self, reason) }
    }

    private func closeIfDone() {
        let failure = machine.closeFailure(
            isIdle: !streams.carriesPush, isSessionOver: !session.wantsToRead && !session.wantsToWrite)
        if let failure { close(failure == .protocolError ? protocolFailure : APNSConnectionFailure(failure)) }
    }

    /// Ends the connection now: every push in flight is settled or requeued, and the channel is closed.
    ///
    /// The channel may take a few seconds more for the TLS closing handshake; bytes that arrive then are ignored.
    func close(_ failure: APNSAnswer.Failure) {
        guard let failure = machine.close(failure) else { return }
        for tag in streams.slots.indices {
            let stream = streams.slots[tag]
            resolve(
                UInt32(tag),
                StreamTable.resolution(
                    of: stream,
                    unanswered: machine.answerForLostStream(
                        stream.id, isSent: stream.state == .sent, failure: failure))
            )
        }
        engine.connectionClosed(self, failure)
        context?.close(promise: nil)
    }

    /// Ends the connection now, for a cause that is known in detail.
    func close(_ failure: APNSConnectionFailure) {
        lossCause = lossCause ?? failure
        close(failure.failure)
    }

    private func resolve(_ tag: UInt32, _ resolution: StreamTable.Resolution) {
        let stream = streams.slots[Int(tag)]
        guard let batch = stream.batch else { return }
        switch resolution {
        case .nothing: break
        case .settle(let answer, let unknownReason):
            streams.settle(tag)
            engine.settle(
                batch, stream.index, answer, latency: latency(of: stream), unknownReason: unknownReason,
                uniqueID: stream.uniqueID)
        case .requeue(let answer):
            streams.settle(tag)
            // The push has been refused twice: this server will probably refuse the next pushes as well.
            if engine.requeue(batch, stream.index, answer) > 1, answer.failure == .streamRefused { drain(.refusing) }
        }
    }

    private func cancel(_ tag: UInt32, _ stream: Int32) {
        engine.countReset()
        streams.cancel(tag)
        session.reset(stream, code: .cancel)
    }

    private func latency(of stream: StreamTable.Stream) -> UInt32 {
        UInt32(clamping: (now - stream.writtenAt).nanoseconds / 1_000_000)
    }

    // MARK: Timeouts

    /// Settles the pushes that have waited too long, and reports the timeouts of the others to the engine.
    func expire(now: NIODeadline) {
        for tag in streams.slots.indices {
            let stream = streams.slots[tag]
            guard let batch = stream.batch, let timeout = stream.timeout else { continue }
            guard timeout <= now else {
                engine.expectTimeout(at: timeout)
                continue
            }
            if streams.answer(for: UInt32(tag)) != nil {
                // Only the end of the answer is missing.
                finish(UInt32(tag), stream.id, isComplete: false)
                continue
            }
            let disposition: APNSAnswer.Disposition = stream.state == .sent ? .ambiguous : .neverWritten
            cancel(UInt32(tag), stream.id)
            engine.settle(
                batch, stream.index, .failed(.deadlineExceeded, disposition), latency: latency(of: stream))
        }
    }

    /// Cancels the requests of cancelled batches that are not completely written, and so cannot be processed.
    ///
    /// The other streams stay open. A reset would not undo their pushes, and servers take many resets for an attack.
    func cancelUnsent() {
        guard streams.unsentCount > 0 else { return }
        for tag in streams.slots.indices where streams.slots[tag].state == .unsent {
            let stream = streams.slots[tag]
            guard let batch = stream.batch, batch.isCancelled, streams.answer(for: UInt32(tag)) == nil else { continue }
            cancel(UInt32(tag), stream.id)
            engine.settle(batch, stream.index, .failed(.cancelled, .neverWritten))
        }
        // Writes the resets.
        pump(max: 0)
    }

    /// Replaces the connection when its server grants no window for requests, whether it acknowledges PINGs or not. The
    /// requests that wait for the window were not processed, so they are requeued.
    private func drainIfBlocked() {
        let isBlocked = waitsForWindow || streams.unsentCount > 0
        if isBlocked { statistics.flowControlBlocked(now: now) }
        guard isBlocked, statistics.isBlocked(since: min(Self.windowTimeout, limits.stallTimeout), now: now) else {
            return
        }
        drain(.stalled)
        for tag in streams.slots.indices where streams.slots[tag].state == .unsent {
            let stream = streams.slots[tag]
            cancel(UInt32(tag), stream.id)
            if let batch = stream.batch {
                engine.requeue(batch, stream.index, .failed(.deadlineExceeded, .neverWritten))
            }
        }
    }

    /// Applies all timeouts; called some twenty times a second while any of them is running.
    func tick(now: NIODeadline) {
        self.now = now
        let timeout = isProbing ? min(limits.pingTimeout, Self.probeTimeout) : limits.pingTimeout
        if let pingSentAt, max(pingSentAt, lastRead) + timeout <= now {
            close(.pingTimeout)
        } else if machine.isDrainOverdue(now: now) {
            close(.connectionClosed)
        } else if state != .connecting, pingSentAt == nil {
            let interval = streams.openCount > 0 ? limits.pingInterval : limits.idlePingInterval
            if lastRead + interval <= now { sendPing() }
        }
        if statistics.isStalled(since: limits.stallTimeout, now: now) { drain(.stalled) }
        drainIfBlocked()
        // A server that allows no stream leaves no push unanswered, so the stall check does not detect it.
        statistics.streamLimitObserved(allowsStreams: streamsMax > 0, now: now)
        if engine.wantsConnection, statistics.isStarved(since: limits.stallTimeout, now: now) { drain(.stalled) }
        pump()
    }

    private func probeIfIdle() {
        guard !isProbing, state == .ready, streams.openCount == 0, !engine.queue.isEmpty else { return }
        guard lastRead + limits.idleBeforeProbe <= now else { return }
        isProbing = true
        // The idle PING may be in flight already, and serves as the probe.
        if pingSentAt == nil { sendPing() }
    }

    /// Checks that the server responds, without a push.
    func verify() {
        guard state == .ready, pingSentAt == nil else { return }
        now = engine.eventLoop.now
        sendPing()
        writeOutput()
    }

    private func sendPing() {
        pingNumber += 1
        session.ping(pingNumber)
        pingSentAt = now
        engine.scheduleTick()
    }
}

// MARK: - Session events

extension APNSConnection: HTTP2SessionDelegate {
    func settingsReceived() {
        guard machine.settingsReceived() else { return }
        statistics.connected(address: context?.channel.remoteAddress, window: Int(session.connectionSendWindow))
        connectStep = .ready
        engine.connectionReady(self)
        // That a server accepts connections does not show that it works.
        if engine.isInOutage, pingSentAt == nil { sendPing() }
    }

    func requestEnded(stream: Int32, tag: UInt32) {
        streams.sent(tag, now: now)
        statistics.requestWritten(now: now)
    }

    func requestNotSent(stream: Int32, tag: UInt32) {
        resolve(tag, .requeue(machine.answerForDroppedRequest))
        streams.close(tag)
    }

    func headersBegan(stream: Int32, tag: UInt32) { incomingStatus = 0 }

    func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        // The length is compared first: answers carry few fields, and only some of them matter.
        switch name.count {
        case 7 where Self.isEqual(name, ":status"):
            if let status = Self.number(value) { incomingStatus = UInt16(clamping: status) }
        case 7 where Self.isEqual(name, "apns-id"): streams.apnsIDReceived(tag)
        case 11 where Self.isEqual(name, "retry-after"):
            if let seconds = Self.number(value) { streams.retryAfterReceived(seconds, tag) }
        case 14 where Self.isEqual(name, "apns-unique-id"): streams.uniqueIDReceived(value, tag)
        // APNs sends neither of these with a 200.
        case 6 where Self.isEqual(name, "server"): serverHint.serverReceived(value)
        case 12 where Self.isEqual(name, "content-type"): serverHint.contentTypeReceived(value)
        default: break
        }
    }

    func headersEnded(stream: Int32, tag: UInt32) {
        // Only now: a block that is malformed, or never ends, is not an answer (RFC 9113, section 8.1.1).
        if incomingStatus > 0 { streams.statusReceived(incomingStatus, tag) }
    }

    func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
        guard streams.bodyReceived(bytes, tag) else { return }
        // No error body is that long; the status is enough.
        finish(tag, stream, isComplete: false)
    }

    func messageEnded(stream: Int32, tag: UInt32) {
        streams.answerCompleted(tag)
        // The server may answer before the request is complete; the rest of the request is then cancelled.
        finish(tag, stream, isComplete: streams.slots[Int(tag)].state == .sent)
    }

    /// Reports the answer of a stream.
    ///
    /// - Parameter isComplete: both sides have finished the stream; otherwise it is reset.
    private func finish(_ tag: UInt32, _ streamID: Int32, isComplete: Bool) {
        let stream = streams.slots[Int(tag)]
        guard let batch = stream.batch, let (answer, unknownReason) = streams.answer(for: tag) else { return }
        if isComplete {
            streams.settle(tag)
        } else {
            cancel(tag, streamID)
        }
        let milliseconds = latency(of: stream)
        statistics.countAnswer(answer, milliseconds: milliseconds, isLast: streams.openCount == 1, now: now)
        allowance.answered()
        if answer.failure == .notAPNs {
            foreignAnswersInRow += 1
            engine.answeredByOther(serverHint.failure(status: answer.status))
            if foreignAnswersInRow >= Self.foreignAnswersMax { drain(.notAPNs) }
        } else {
            foreignAnswersInRow = 0
            if answer.status >= 500 {
                engine.answeredWithError(status: answer.status, reason: answer.reason)
            } else if answeredAt != now || engine.isInOutage {
                // Once for all answers of one turn.
                answeredAt = now
                engine.answeredByAPNs()
            }
            if answer.status < 500, !isProven {
                isProven = true
                engine.connectionProven()
            }
            if answer.status == 200, statistics.accepted == ConnectRate.usefulAnswers { engine.connectionUseful() }
        }
        // A push that another connection will accept is requeued, and the caller does not see this answer.
        if answer.status != 200, engine.rejected(answer.reason, by: self) {
            engine.requeue(batch, stream.index, answer)
        } else {
            engine.settle(
                batch, stream.index, answer, latency: milliseconds, unknownReason: unknownReason,
                uniqueID: stream.uniqueID)
        }
        if statistics.serverErrorsInRow >= Self.serverErrorsMax { drain(.serverErrors) }
    }

    func streamClosed(stream streamID: Int32, tag: UInt32, code: HTTP2ErrorCode) {
        let stream = streams.slots[Int(tag)]
        guard stream.state != .unused, stream.id == streamID else { return }
        if code == .refusedStream { streamRefused(streamID) }
        resolve(
            tag,
            StreamTable.resolution(
                of: stream,
                // A push that is not completely written cannot have been accepted.
                unanswered: machine.answerForClosedStream(
                    streamID, isSent: stream.state == .sent, isRefused: code == .refusedStream))
        )
        if stream.state == .cancelled { streams.awaitResetAck(tag) } else { streams.close(tag) }
    }

    private func streamRefused(_ stream: Int32) {
        // Streams above GOAWAY's last ID are reported as refused as well.
        guard state == .ready else { return }
        allowance.refused(stream, open: streams.openCount, lastStream: session.lastSubmittedStream)
    }

    func goAwayReceived(_ goAway: HTTP2GoAway) {
        let reason = machine.goAwayReceived(goAway)
        engine.goAwayReceived(reason, goAway, by: self)
        // Before its SETTINGS there is nothing to wait for.
        if state == .connecting { close(.goAway) } else { drain(.goAway) }
        machine.limitDraining(until: engine.eventLoop.now + limits.drainTimeout)
    }

    func pingAcknowledged(_ number: UInt64) {
        guard number == pingNumber, let sentAt = pingSentAt else { return }
        pingSentAt = nil
        isProbing = false
        pingAcknowledgedAt = now
        if engine.isInOutage { engine.pingAcknowledged() }
        statistics.roundTrip = now - sentAt
        streams.pingAcknowledged()
    }

    private static func isEqual(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        for index in 0..<bytes.count where bytes[index] != text.utf8Start[index] { return false }
        return true
    }

    /// A number in decimal digits, at most `UInt32.max`; nil for anything else.
    private static func number(_ bytes: UnsafeRawBufferPointer) -> UInt32? {
        guard !bytes.isEmpty else { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            guard (48...57).contains(byte) else { return nil }
            value = min(value * 10 + UInt64(byte - 48), UInt64(UInt32.max))
        }
        return UInt32(value)
    }
}

// MARK: - Channel events

extension APNSConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        connectStep = .tls
        if context.channel.isActive { writeOutput() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        close(.connectionClosed)
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) { writeOutput() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted(let name) = event { connectStep = .http2(protocol: name) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .closed else { return }
        now = engine.eventLoop.now
        lastRead = now
        do throws(HTTP2SessionError) {
            try Self.unwrapInboundIn(data).withUnsafeReadableBytes { bytes throws(HTTP2SessionError) in
                switch machine.bytesReceived(bytes) {
                case .wait: return
                case .goAway(let goAway): return goAwayReceived(goAway)
                case .pass(let held):
                    try held.withUnsafeBufferPointer { held throws(HTTP2SessionError) in
                        try session.receive(UnsafeRawBufferPointer(held), delegate: self)
                    }
                    try session.receive(bytes, delegate: self)
                }
            }
        } catch {
            // The session may have a GOAWAY for the server.
            writeOutput()
            close(protocolFailure)
        }
    }

    private var protocolFailure: APNSConnectionFailure {
        if state == .connecting, case .http2(let name) = connectStep, name != "h2" {
            return APNSConnectionFailure(
                .protocolError, .protocolViolation, "the server offers no HTTP/2 (ALPN), so it is not APNs")
        }
        return APNSConnectionFailure(.protocolError)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if state == .connecting {
            writeOutput()
            closeIfDone()
        } else {
            pump()
        }
        engine.turnEnded()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        pump()
        engine.turnEnded()
    }

    func channelInactive(context: ChannelHandlerContext) { close(.connectionClosed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if state == .connecting, CertificateRefusal.isReported(by: error) { engine.certificateRefused() }
        close(
            ConnectErrorMapping.classify(
                error, isReady: state != .connecting, host: engine.configuration.endpoint.host,
                certificate: {
                    let tls = try? context.pipeline.syncOperations.handler(type: NIOSSLClientHandler.self)
                    return tls?.peerCertificate
                })
        )
    }
}
