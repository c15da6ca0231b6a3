import APNSWire
import HTTP2Session
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS

/// One client's connection: drives the HTTP/2 session, judges requests, answers them.
///
/// Event loop only. All that arrives together is answered in one write and recorded in one step. This file is about
/// bytes; the others of this folder are about what they mean.
final class SimulatorConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Asks a connection to take no new requests and to end when the open ones are answered.
    struct ShutdownRequested: Sendable {}
    /// Tells a connection that the settings have changed.
    struct SettingsChanged: Sendable {}

    /// Which of APNs' APIs a port serves.
    enum Port: Sendable {
        case pushes
        case channelManagement
    }

    /// Bytes drained in one go; the next ones wait until the channel has room.
    private static let drainBytesMax = 256 * 1024
    /// Streams refused in one read; more is a flood.
    static let refusalsMax = 10_000
    /// How long a connection that reads nothing is kept: nobody would notice its end.
    private static let blackHoleAgeMax: Duration = .seconds(600)

    let state: SimulatorState
    let session: HTTP2Session
    let port: Port
    private let line: DelayLine
    var settings: SimulatorSettings
    var context: ConnectionContext
    var answers: AnswerHeaders
    let recordsPushes: Bool
    /// Whether any setting asks what answers are given.
    var watchesAnswers = false
    /// At which moments faults may be waiting; read once for all that arrives together.
    var faultMoments = FaultMoments()

    /// Requests by slot; a stream's tag is its slot plus one. Bounded by the number of concurrent streams.
    var requests: [IncomingRequest] = []
    var freeSlots: [Int] = []
    var streams: StreamLimit
    var hasRaisedStreams = false
    /// The limit is 1 because of a refusal.
    var hasDroppedStreams = false
    var refusalsInARow = 0

    var channelContext: ChannelHandlerContext?
    var output = ByteBuffer()
    /// Whole frames that libnghttp2 does not know of; written before its own.
    var ownFrames: [UInt8] = []
    var number: UInt64 = 0
    var requestsEver = 0
    var errorsEarned = 0
    var lastArrival = NIODeadline.now()
    private var isHandshaken = false
    var clientSaidGoAway = false
    /// The connection is to end without another word once what is queued has been written.
    var isAborted = false
    /// By a reset, not by an orderly end.
    var isReset = false
    var isClosing = false
    /// It ends when what there is has been written, whatever HTTP/2 thinks of it.
    var endsAfterWriting = false
    /// Nothing is written any more.
    var isMute = false
    /// Reading has stopped; what the channel had under way already is not looked at.
    private var isDeaf = false
    var ignoresPings = false
    /// What every push gets from now on.
    var wedged: SimulatedResponse?
    var goAwayLast: Int32?
    var held = WaitingLine<HeldAnswer>()

    // What has been gathered since the last record.
    var counters = SimulatorCounters()
    var accepted = 0
    var takenIDs: [APNSID] = []
    var pushes: [ReceivedPush] = []

    init(state: SimulatorState, port: Port, line: DelayLine) {
        self.state = state
        self.port = port
        self.line = line
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
        answers = AnswerHeaders(settings, environment: configuration.environment)
        recordsPushes = configuration.pushLogMax > 0
        follow(settings)
    }

    /// What APNs announces (observed, 2016 to 2021).
    private static let headerListBytesMax: UInt32 = 8000

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) { channelContext = context }
    func handlerRemoved(context: ChannelHandlerContext) { channelContext = nil }

    func channelActive(context: ChannelHandlerContext) {
        number = state.connectionOpened(context.channel)
        changeSettings()
        watchTime()
        meetConnectionFault(context)
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
        guard !isAborted, !isDeaf else { return }
        self.context.now = state.configuration.clock()
        faultMoments = state.faultMoments
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
        refusalsInARow = 0
        // First: whoever has an answer in hand finds it written down.
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
        // TLS errors and resets alike: nothing can be said to this client any more.
        context.close(promise: nil)
    }

    private func handshakeCompleted(_ context: ChannelHandlerContext, _ negotiated: String?) {
        isHandshaken = true
        if !settings.acceptsPriorKnowledge, negotiated != "h2" {
            isAborted = true
        } else if let authority = state.configuration.clientAuthority,
            let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate()
        {
            meet(certificate, authority)
        }
        flush(context)
    }

    // MARK: Out

    func flush(_ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        if isHandshaken, !isAborted { write(context) }
        if isAborted {
            abort(context)
        } else if isHandshaken, !isMute, endsAfterWriting || !session.wantsToRead && !session.wantsToWrite {
            if !isClosing, !clientSaidGoAway { counters.protocolErrors += 1 }
            isClosing = true
            context.close(promise: nil)
        }
    }

    private func write(_ context: ChannelHandlerContext) {
        do {
            while context.channel.isWritable, line.hasCapacity {
                output.clear()
                if !ownFrames.isEmpty {
                    output.writeBytes(ownFrames)
                    ownFrames.removeAll()
                }
                let count = try session.serialize(limit: Self.drainBytesMax, delegate: self) { frame in
                    output.writeBytes(frame)
                    // RFC 9113, section 4.1: the type is the fourth byte. 4: SETTINGS, 6: PING.
                    if frame[3] == 4 || frame[3] == 6 { tamper(with: frame) }
                }
                guard count > 0 || output.readableBytes > 0 else { break }
                if !isMute, output.readableBytes > 0 { context.writeAndFlush(wrapOutboundOut(output), promise: nil) }
            }
        } catch {
            isAborted = true
        }
    }

    /// The frame is the last in `output`.
    private func tamper(with frame: UnsafeRawBufferPointer) {
        let isAcknowledgement = frame[4] & 1 != 0
        if frame[3] == 4, !isAcknowledgement {
            streams.write(intoLast: frame.count, of: &output)
        } else if frame[3] == 6, isAcknowledgement, ignoresPings {
            output.moveWriterIndex(to: output.writerIndex - frame.count)
        }
    }

    /// Ends the TCP connection below TLS: no `close_notify`, as when a server dies.
    private func abort(_ context: ChannelHandlerContext) {
        if isReset { Self.resetOnClose(context.channel) }
        if let tls = try? context.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
            tls.close(promise: nil)
        } else {
            context.close(promise: nil)
        }
    }

    /// Makes a later close a reset: what has not been sent is dropped, and the client is told by RST.
    static func resetOnClose(_ channel: any Channel) {
        (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in }
    }

    /// Leaves everything that arrives in the socket.
    func stopReading() {
        guard let channel = channelContext?.channel else { return }
        try? channel.syncOptions?.setOption(.autoRead, value: false)
        isMute = true
        isDeaf = true
        afterwards(.now() + TimeAmount(Self.blackHoleAgeMax)) { $0.isAborted = true }
    }

    func record() {
        guard counters != SimulatorCounters() || accepted > 0 || !takenIDs.isEmpty else { return }
        if accepted > 0 { counters.answersByStatus[200, default: 0] += accepted }
        state.record(counters, takenIDs: takenIDs, pushes: pushes)
        counters = SimulatorCounters()
        accepted = 0
        takenIDs.removeAll(keepingCapacity: true)
        pushes.removeAll(keepingCapacity: true)
    }

    // MARK: Later

    func afterwards(_ due: NIODeadline, _ work: @escaping (SimulatorConnection) -> Void) {
        guard let context = channelContext else { return }
        context.eventLoop.assumeIsolated().scheduleTask(deadline: due) { [weak self] in
            guard let self, let context = channelContext, !isAborted else { return }
            work(self)
            record()
            flush(context)
        }
    }

    /// Takes over what the simulator's settings are now.
    private func changeSettings() {
        let new = state.settings
        guard new != settings else { return }
        let old = settings
        settings = new
        follow(new)
        line.change(new)
        context.settings = new
        answers = AnswerHeaders(new, environment: state.configuration.environment)
        if hasRaisedStreams, !hasDroppedStreams, new.streamsMax != old.streamsMax { announce(streams: new.streamsMax) }
        if new.idleTimeout != old.idleTimeout || new.connectionAgeMax != old.connectionAgeMax { watchTime() }
    }

    private func follow(_ settings: SimulatorSettings) {
        watchesAnswers = settings.dropsToOneStream || settings.wedgesOnExpiredToken || settings.errorBudget != nil
        hasRaisedStreams = hasRaisedStreams || settings.streamsBeforeAuthentication >= settings.streamsMax
    }
}
