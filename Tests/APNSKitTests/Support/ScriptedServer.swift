import HTTP2Session
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Synchronization

/// A server over TLS that does exactly what a test says, also what no server should.
final class ScriptedServer: Sendable {
    /// A request that has arrived as a whole.
    struct Request: Sendable {
        /// The connection it came on: 0 for the first, and so on.
        var connection: Int
        var stream: Int32
        /// In the order in which they came.
        var fields: [(name: String, value: String)] = []
        var body: [UInt8] = []

        subscript(name: String) -> String? { fields.first { $0.name == name }?.value }
    }

    /// What the server does about a request. Runs on the connection's event loop.
    typealias Script = @Sendable (Peer, Request) -> Void

    struct Options: Sendable {
        /// The first SETTINGS frame.
        var settings = HTTP2Settings(streamsMax: 1000)
        var certificate = TestCertificate.server
        var address = "127.0.0.1"
        /// Runs when a connection comes up, before its first bytes are read.
        var onConnect: @Sendable (Peer) -> Void = { _ in }
        /// True: the server takes connections and never says anything, not even SETTINGS.
        var isMute = false
        /// A file of certificates: who comes must show one that is signed by one of them.
        var trustedClients: String?
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
        tls.applicationProtocols = ["h2"]
        if let trusted = options.trustedClients {
            tls.trustRoots = .file(trusted)
            tls.certificateVerification = .noHostnameVerification
        }
        let context = try NIOSSLContext(configuration: tls)
        let log = Log()
        self.log = log
        channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
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
            .bind(host: options.address, port: 0).get()
        port = channel.localAddress!.port!
    }

    /// Stops listening.
    func close() async throws { try await channel.close() }

    deinit { channel.close(promise: nil) }

    /// Every request so far.
    var requests: [Request] { log.requests }
    /// Connections so far.
    var connections: Int { log.connections }

    /// What the server has seen; shared with its connections, which must not keep the server itself alive.
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

    /// One connection, seen from the server. For use on its event loop, which is where scripts run.
    // SAFETY: unchecked because scripts, which are Sendable closures, are given it; the channel calls them on its event
    // loop, and the helpers below that run elsewhere hop there first.
    final class Peer: ChannelInboundHandler, HTTP2SessionDelegate, @unchecked Sendable {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        let number: Int
        let session: HTTP2Session
        private let options: Options
        private var isMute: Bool
        private var isInside = false
        private let script: Script
        private var context: ChannelHandlerContext?
        private var open: [Int32: Request] = [:]
        /// Requests that wait for the test to say what becomes of them.
        private(set) var held: [Request] = []

        init(number: Int, _ options: Options, script: @escaping Script) {
            self.number = number
            self.options = options
            isMute = options.isMute
            self.script = script
            session = HTTP2Session(role: .server, settings: options.settings)
        }

        // MARK: What a script can do

        func respond(_ request: Request, _ status: Int, _ body: String = "", fields: [(StaticString, String)] = []) {
            var headers = HTTP2Headers()
            headers.append(":status", "\(status)")
            headers.append("apns-id", request["apns-id"] ?? "", isIndexed: false)
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

        /// Does something later, on the connection's event loop.
        func after(_ time: TimeAmount, _ work: @escaping @Sendable () -> Void) {
            context?.eventLoop.scheduleTask(in: time, work)
        }

        func hold(_ request: Request) { held.append(request) }

        func takeHeld() -> [Request] {
            defer { held = [] }
            return held
        }

        /// Ends the connection without a word of HTTP/2.
        func close() { context?.close(promise: nil) }

        /// Bytes past the session: for breaking the protocol.
        func write(raw bytes: [UInt8]) {
            guard let context else { return }
            context.writeAndFlush(NIOAny(ByteBuffer(bytes: bytes)), promise: nil)
        }

        /// Says nothing from here on, not even to a PING.
        func fallSilent() { isMute = true }

        private func flush() {
            guard let context, !isInside, !isMute else { return }
            isInside = true
            defer { isInside = false }
            var output = context.channel.allocator.buffer(capacity: 4096)
            _ = try? session.drain(delegate: self) { output.writeBytes($0) }
            if output.readableBytes > 0 { context.writeAndFlush(NIOAny(output), promise: nil) }
        }

        // MARK: The channel

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }
        func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            guard case TLSUserEvent.handshakeCompleted = event else { return }
            options.onConnect(self)
            flush()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            isInside = true
            try? Self.unwrapInboundIn(data).withUnsafeReadableBytes { bytes throws(HTTP2SessionError) in
                try session.receive(bytes, delegate: self)
            }
            isInside = false
        }

        func channelReadComplete(context: ChannelHandlerContext) { flush() }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        // MARK: The session

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
