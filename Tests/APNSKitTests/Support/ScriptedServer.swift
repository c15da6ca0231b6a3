import HTTP2Session
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A TLS server whose behaviour a test scripts, including behaviour that violates the protocol.
final class ScriptedServer: Sendable {
    /// A completely received request.
    struct Request: Sendable {
        /// Numbers the connections from 0.
        var connection: Int
        var stream: Int32
        /// In the order received.
        var fields: [(name: String, value: String)] = []
        var body: [UInt8] = []

        subscript(name: String) -> String? { fields.first { $0.name == name }?.value }
    }

    /// Handles a request, on the connection's event loop.
    typealias Script = @Sendable (Peer, Request) -> Void

    struct Options: Sendable {
        /// The first SETTINGS frame.
        var settings = HTTP2Settings(streamsMax: 1000)
        var certificate = TestCertificate.server
        var address = "127.0.0.1"
        /// 0: any free one.
        var port = 0
        /// Called after the TLS handshake, before the first bytes are read.
        var onConnect: @Sendable (Peer) -> Void = { _ in }
        /// Called after the server's first SETTINGS are written.
        var afterSettings: @Sendable (Peer) -> Void = { _ in }
        /// True: the server accepts connections and sends nothing, not even SETTINGS.
        var isSilent = false
        /// The numbers of connections on which the server sends nothing after its SETTINGS.
        var silentAfterSettings: Set<Int> = []
        /// For ALPN.
        var protocols = ["h2"]
        /// A file of certificates; clients must present a certificate that is signed by one of them.
        var trustedClients: String?
        /// Whether a connection, by its number, never enlarges the client's flow-control windows.
        var keepsWindow: @Sendable (Int) -> Bool = { _ in false }
        var group: any EventLoopGroup = .singletonMultiThreadedEventLoopGroup
    }

    let port: Int
    private let channel: any Channel
    private let log: Log

    init(_ options: Options = Options(), script: @escaping Script) async throws {
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(options.certificate.certificatePath).map {
                .certificate($0)
            },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: options.certificate.keyPath, format: .pem))
        )
        tls.applicationProtocols = options.protocols
        if let trusted = options.trustedClients {
            tls.trustRoots = .file(trusted)
            tls.certificateVerification = .noHostnameVerification
        }
        let context = try NIOSSLContext(configuration: tls)
        let log = Log()
        self.log = log
        channel = try await ServerBootstrap(group: options.group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    try channel.pipeline.syncOperations.addHandler(
                        Peer(number: log.nextConnection(), options) { peer, request in
                            log.append(request)
                            script(peer, request)
                        }
                    )
                }
            }
            .bind(host: options.address, port: options.port).get()
        port = channel.localAddress!.port!
    }

    /// Stops listening.
    func close() async throws { try await channel.close() }

    deinit { channel.close(promise: nil) }

    /// The requests received so far.
    var requests: [Request] { log.requests }
    /// The number of connections accepted so far.
    var connections: Int { log.connections }

    /// The requests and connections of the server. Shared with its connections, which must not retain the server.
    private final class Log: Sendable {
        private struct State {
            var requests: [Request] = []
            var connections = 0
        }

        private let state = Mutex(State())

        var requests: [Request] { state.withLock { $0.requests } }
        var connections: Int { state.withLock { $0.connections } }
        func append(_ request: Request) { state.withLock { $0.requests.append(request) } }

        func nextConnection() -> Int {
            state.withLock { state in
                defer { state.connections += 1 }
                return state.connections
            }
        }
    }

    /// The server's side of one connection. Used on its event loop, where scripts run.
    // SAFETY: unchecked because it is passed to scripts, which are Sendable closures. The channel calls them on its
    // event loop, and `after` schedules its closure there.
    final class Peer: ChannelInboundHandler, HTTP2SessionDelegate, @unchecked Sendable {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        let number: Int
        let session: HTTP2Session
        private let options: Options
        private var isSilent: Bool
        private var isInSession = false
        private let script: Script
        private var context: ChannelHandlerContext?
        private var open: [Int32: Request] = [:]
        /// Requests that wait for a script to answer them.
        private(set) var held: [Request] = []

        init(number: Int, _ options: Options, script: @escaping Script) {
            self.number = number
            self.options = options
            isSilent = options.isSilent
            self.script = script
            var limits = HTTP2Limits()
            limits.enlargesWindows = !options.keepsWindow(number)
            session = HTTP2Session(role: .server, settings: options.settings, limits: limits)
        }

        // MARK: Actions of a script

        /// - Parameter hasID: whether the response has the field `apns-id`, as each answer of APNs.
        func respond(
            _ request: Request, _ status: Int, _ body: String = "", fields: [(StaticString, String)] = [],
            hasID: Bool = true
        ) {
            var headers = HTTP2Headers()
            headers.append(":status", "\(status)")
            if hasID { headers.append("apns-id", request["apns-id"] ?? "", isIndexed: false) }
            for (name, value) in fields { headers.append(name, value) }
            try? session.respond(headers, body: body.isEmpty ? nil : HTTP2Body(Array(body.utf8)), to: request.stream)
            flush()
        }

        func reset(_ request: Request, _ code: HTTP2ErrorCode) {
            session.reset(request.stream, code: code)
            flush()
        }

        func goAway(last: Int32, _ code: HTTP2ErrorCode = .noError, debug: String = "") {
            session.submitGoAway(lastStream: last, code: code, debugData: Array(debug.utf8))
            flush()
        }

        func setStreamsMax(_ count: UInt32) {
            session.submitSettings(HTTP2Settings(streamsMax: count))
            flush()
        }

        /// Runs `work` later, on the connection's event loop.
        func after(_ time: TimeAmount, _ work: @escaping @Sendable () -> Void) {
            context?.eventLoop.scheduleTask(in: time, work)
        }

        func hold(_ request: Request) { held.append(request) }

        func takeHeld() -> [Request] {
            defer { held = [] }
            return held
        }

        /// Closes the connection without a GOAWAY.
        func close() { context?.close(promise: nil) }

        /// Resets the TCP connection.
        func abort() {
            guard let pipeline = context?.channel.pipeline.syncOperations,
                let tls = try? pipeline.context(handlerType: NIOSSLServerHandler.self)
            else { return }
            (context?.channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete {
                _ in
            }
            // Below TLS, which would send a close_notify.
            tls.close(promise: nil)
        }

        /// Writes bytes without the session, to violate the protocol.
        func write(raw bytes: [UInt8]) {
            guard let context else { return }
            context.writeAndFlush(NIOAny(ByteBuffer(bytes: bytes)), promise: nil)
        }

        /// Writes nothing from now on, not even PING acknowledgements.
        func stopResponding() { isSilent = true }

        /// Reads nothing from now on.
        func stopReading() { _ = context?.channel.setOption(.autoRead, value: false) }

        private func flush() {
            guard let context, !isInSession, !isSilent else { return }
            isInSession = true
            defer { isInSession = false }
            var output = context.channel.allocator.buffer(capacity: 4096)
            _ = try? session.serialize(delegate: self) { output.writeBytes($0) }
            if output.readableBytes > 0 { context.writeAndFlush(NIOAny(output), promise: nil) }
        }

        // MARK: Channel events

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }
        func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            guard case TLSUserEvent.handshakeCompleted = event else { return }
            options.onConnect(self)
            flush()
            if options.silentAfterSettings.contains(number) { isSilent = true }
            options.afterSettings(self)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            isInSession = true
            try? Self.unwrapInboundIn(data).withUnsafeReadableBytes { bytes throws(HTTP2SessionError) in
                try session.receive(bytes, delegate: self)
            }
            isInSession = false
        }

        func channelReadComplete(context: ChannelHandlerContext) { flush() }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        // MARK: Session events

        func headersBegan(stream: Int32, tag: UInt32) { open[stream] = Request(connection: number, stream: stream) }

        func headerReceived(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
            open[stream]?.fields.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
        }

        func dataReceived(_ bytes: UnsafeRawBufferPointer, stream: Int32, tag: UInt32) {
            open[stream]?.body.append(contentsOf: bytes)
        }

        func messageEnded(stream: Int32, tag: UInt32) {
            if let request = open.removeValue(forKey: stream) { script(self, request) }
        }

        func streamClosed(stream: Int32, tag: UInt32, code: HTTP2ErrorCode) { open[stream] = nil }
    }
}
