import APNSWire
import HTTP2Session
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS

/// A client's connection: drives the HTTP/2 session, checks requests and responds to them.
///
/// Event loop only. All requests of one read are recorded in one step and get their responses in one write. This file
/// handles bytes and channel events; its extensions handle requests, responses and faults.
final class SimulatorConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Asks a connection to accept no new requests and to end after the responses to the open ones.
    struct ShutdownRequested: Sendable {}
    /// Notifies a connection of changed settings.
    struct SettingsChanged: Sendable {}

    /// The APNs API that a port serves.
    enum Port: Sendable {
        case pushes
        case channelManagement
    }

    /// The largest number of bytes in one write. More is written when the channel is writable again.
    private static let drainBytesMax = 256 * 1024
    /// The largest number of streams refused in one read. A client that opens more is flooding the connection.
    static let refusalsMax = 10_000
    /// Timeout for a connection that has stopped reading, because its end cannot be detected.
    private static let blackHoleAgeMax: Duration = .seconds(600)

    let state: SimulatorState
    let session: HTTP2Session
    let port: Port
    private let delayLine: DelayLine
    var settings: SimulatorSettings
    var context: ConnectionContext
    var responseHeaders: ResponseHeaders
    let recordsPushes: Bool
    /// Whether any setting makes responses affect the connection.
    var responsesHaveEffects = false
    /// The triggers for which faults are scripted; updated once per read.
    var faultTriggers = FaultTriggers()

    /// Requests by slot. A stream's tag is its slot plus one. Bounded by the number of concurrent streams.
    var requests: [IncomingRequest] = []
    var freeSlots: [Int] = []
    var streams: StreamLimit
    var hasRaisedStreamLimit = false
    /// Whether a refusal has lowered the limit to 1.
    var hasLoweredStreamLimit = false
    var refusalsInRead = 0

    var channelContext: ChannelHandlerContext?
    var output = ByteBuffer()
    /// Complete frames that bypass libnghttp2; written before its own.
    var rawFrames: [UInt8] = []
    var number: UInt64 = 0
    var requestsEver = 0
    var errorsCharged = 0
    var lastArrival = NIODeadline.now()
    private var isHandshaken = false
    var hasReceivedGoAway = false
    /// The connection ends after queued bytes are written, without further frames.
    var isAborted = false
    /// Whether an aborted connection ends with RST instead of FIN.
    var isReset = false
    var isClosing = false
    /// The connection ends after the pending frames are written, even if the session is still active.
    var endsAfterWriting = false
    /// Nothing more is written.
    var suppressesOutput = false
    /// Reading has stopped. Bytes that the channel already delivered are dropped.
    private var discardsInput = false
    var ignoresPings = false
    /// The response to every push from now on, if the connection is wedged.
    var wedgeResponse: SimulatedResponse?
    var goAwayLast: Int32?
    var delayedResponses = DelayQueue<DelayedResponse>()

    // Collected since the last call of `record`.
    var counters = SimulatorCounters()
    var accepted = 0
    var takenIDs: [APNSID] = []
    var pushes: [ReceivedPush] = []

    init(state: SimulatorState, port: Port, delayLine: DelayLine) {
        self.state = state
        self.port = port
        self.delayLine = delayLine
        settings = state.settings
        let configuration = state.configuration
        var limits = HTTP2Limits()
        limits.headerListBytesMax = Int(Self.headerListBytesMax)
        session = HTTP2Session(
            role: .server,
            settings: HTTP2Settings(
                streamsMax: StreamLimit.unlimited, initialWindowBytes: 65_535, headerTableBytes: 4096,
                headerListBytesMax: Self.headerListBytesMax
            ),
            limits: limits
        )
        if configuration.connectionWindowBytes > 65_535 {
            session.setConnectionReceiveWindow(configuration.connectionWindowBytes)
        }
        streams = StreamLimit(first: settings.streamsBeforeAuthentication)
        context = ConnectionContext(verifier: state.verifier, topics: state.topics, settings: settings)
        responseHeaders = ResponseHeaders(settings, environment: configuration.environment)
        recordsPushes = configuration.pushLogMax > 0
        updateFlags(settings)
    }

    /// The value that APNs announces (observed, 2016 to 2021).
    private static let headerListBytesMax: UInt32 = 8000

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) { channelContext = context }
    func handlerRemoved(context: ChannelHandlerContext) { channelContext = nil }

    func channelActive(context: ChannelHandlerContext) {
        number = state.connectionOpened(context.channel)
        changeSettings()
        scheduleTimeouts()
        applyConnectionFault(context)
        record()
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
        guard !isAborted, !discardsInput else { return }
        self.context.now = state.configuration.clock()
        faultTriggers = state.faultTriggers
        if settings.idleTimeout != nil { lastArrival = .now() }
        do {
            try unwrapInboundIn(data).withUnsafeReadableBytes { try session.receive($0, delegate: self) }
        } catch {
            counters.protocolErrors += 1
            isClosing = true
            isAborted = true
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        refusalsInRead = 0
        // Record first, so that a client that has a response finds its request in the records.
        record()
        flush(context)
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { flush(context) }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted(let negotiated): handshakeCompleted(context, negotiated)
        case is ShutdownRequested:
            goAway(after: session.lastProcessedStream, debugData: Array(#"{"reason":"Shutdown"}"#.utf8))
            flush(context)
        case is SettingsChanged:
            changeSettings()
            flush(context)
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // After a TLS error or a reset, nothing more can be sent.
        context.close(promise: nil)
    }

    private func handshakeCompleted(_ context: ChannelHandlerContext, _ negotiated: String?) {
        isHandshaken = true
        if !settings.acceptsPriorKnowledge, negotiated != "h2" {
            isAborted = true
        } else if let authority = state.configuration.clientAuthority,
            let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate()
        {
            authenticate(certificate, authority)
        }
        flush(context)
    }

    // MARK: Output

    func flush(_ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        if isHandshaken, !isAborted { write(context) }
        if isAborted {
            abort(context)
        } else if isHandshaken, !suppressesOutput, endsAfterWriting || !session.wantsToRead && !session.wantsToWrite {
            if !isClosing, !hasReceivedGoAway { counters.protocolErrors += 1 }
            isClosing = true
            context.close(promise: nil)
        }
    }

    private func write(_ context: ChannelHandlerContext) {
        do {
            while context.channel.isWritable, delayLine.hasCapacity {
                output.clear()
                if !rawFrames.isEmpty {
                    output.writeBytes(rawFrames)
                    rawFrames.removeAll()
                }
                let count = try session.serialize(limit: Self.drainBytesMax, delegate: self) { frame in
                    output.writeBytes(frame)
                    // RFC 9113, section 4.1: the fourth byte is the type; 4 is SETTINGS, 6 is PING.
                    if frame[3] == 4 || frame[3] == 6 { rewriteLastFrame(frame) }
                }
                guard count > 0 || output.readableBytes > 0 else { break }
                if !suppressesOutput, output.readableBytes > 0 {
                    context.writeAndFlush(wrapOutboundOut(output), promise: nil)
                }
            }
        } catch {
            isAborted = true
        }
    }

    /// Rewrites or removes `frame`, which is the last one in `output`.
    private func rewriteLastFrame(_ frame: UnsafeRawBufferPointer) {
        let isAcknowledgement = frame[4] & 1 != 0
        if frame[3] == 4, !isAcknowledgement {
            streams.write(intoLast: frame.count, of: &output)
        } else if frame[3] == 6, isAcknowledgement, ignoresPings {
            output.moveWriterIndex(to: output.writerIndex - frame.count)
        }
    }

    /// Ends the TCP connection below TLS, without `close_notify`, as when a server crashes.
    private func abort(_ context: ChannelHandlerContext) {
        if isReset { Self.resetOnClose(context.channel) }
        if let tls = try? context.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
            tls.close(promise: nil)
        } else {
            context.close(promise: nil)
        }
    }

    /// Makes a later close send RST and drop unsent bytes.
    static func resetOnClose(_ channel: any Channel) {
        (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in }
    }

    /// Stops reading, so that incoming bytes stay in the socket.
    func stopReading() {
        guard let channel = channelContext?.channel else { return }
        try? channel.syncOptions?.setOption(.autoRead, value: false)
        suppressesOutput = true
        discardsInput = true
        schedule(at: .now() + TimeAmount(Self.blackHoleAgeMax)) { $0.isAborted = true }
    }

    /// Adds the collected counts and pushes to the shared state.
    func record() {
        guard counters != SimulatorCounters() || accepted > 0 || !takenIDs.isEmpty else { return }
        if accepted > 0 { counters.answersByStatus[200, default: 0] += accepted }
        state.record(counters, takenIDs: takenIDs, pushes: pushes)
        counters = SimulatorCounters()
        accepted = 0
        takenIDs.removeAll(keepingCapacity: true)
        pushes.removeAll(keepingCapacity: true)
    }

    // MARK: Timers and settings

    /// Runs `work` at `due`, unless the connection has ended.
    func schedule(at due: NIODeadline, _ work: @escaping (SimulatorConnection) -> Void) {
        guard let context = channelContext else { return }
        context.eventLoop.assumeIsolated().scheduleTask(deadline: due) { [weak self] in
            guard let self, let context = channelContext, !isAborted else { return }
            work(self)
            record()
            flush(context)
        }
    }

    /// Applies the simulator's current settings.
    private func changeSettings() {
        let new = state.settings
        guard new != settings else { return }
        let old = settings
        settings = new
        updateFlags(new)
        delayLine.change(new)
        context.settings = new
        responseHeaders = ResponseHeaders(new, environment: state.configuration.environment)
        if hasRaisedStreamLimit, !hasLoweredStreamLimit, new.streamsMax != old.streamsMax {
            announce(streams: new.streamsMax)
        }
        if new.idleTimeout != old.idleTimeout || new.connectionAgeMax != old.connectionAgeMax { scheduleTimeouts() }
    }

    private func updateFlags(_ settings: SimulatorSettings) {
        responsesHaveEffects = settings.dropsToOneStream || settings.wedgesOnExpiredToken || settings.errorBudget != nil
        hasRaisedStreamLimit = hasRaisedStreamLimit || settings.streamsBeforeAuthentication >= settings.streamsMax
    }
}
