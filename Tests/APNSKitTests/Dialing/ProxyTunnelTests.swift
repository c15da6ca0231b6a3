import APNSKit
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

/// The handler that asks a proxy for a tunnel, without a network.
@Suite struct `Proxy tunnel` {
    /// A channel to a proxy that has received the CONNECT request.
    private final class Tunnel {
        let channel = EmbeddedChannel()
        let handler: ProxyTunnelHandler
        private let promise: EventLoopPromise<Void>
        let request: String

        init(host: String = "api.push.apple.com", authorization: String? = nil) throws {
            promise = channel.eventLoop.makePromise()
            handler = ProxyTunnelHandler(
                host: host, port: 443, authorization: authorization, timeout: .seconds(10), promise: promise)
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 3128)).wait()
            try channel.pipeline.syncOperations.addHandlers([
                HTTPRequestEncoder(), ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes)),
                handler,
            ])
            var text = ""
            while let bytes = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: bytes) }
            request = text
        }

        func receive(_ response: String) throws { try channel.writeInbound(ByteBuffer(string: response)) }

        /// Whether the tunnel is open; fails while neither is known.
        func isOpen() -> Bool {
            do {
                try promise.futureResult.wait()
                return true
            } catch {
                return false
            }
        }
    }

    @Test func `the request names the host twice, and has the credentials`() throws {
        let tunnel = try Tunnel(authorization: "Basic Zm9v")
        #expect(
            tunnel.request == "CONNECT api.push.apple.com:443 HTTP/1.1\r\nhost: api.push.apple.com:443\r\n"
                + "proxy-authorization: Basic Zm9v\r\n\r\n")
        try tunnel.receive("HTTP/1.1 200 Connection established\r\n\r\n")
        #expect(tunnel.isOpen() && tunnel.handler.status == 200)
        #expect(try Tunnel(host: "::1").request.hasPrefix("CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\n"))
    }

    @Test(arguments: [407, 403, 502, 302])
    func `any other status opens no tunnel`(_ status: UInt) throws {
        let tunnel = try Tunnel()
        try tunnel.receive("HTTP/1.1 \(status) No\r\nContent-Length: 2\r\n\r\nno")
        #expect(!tunnel.isOpen() && tunnel.handler.status == status)
    }

    @Test(arguments: ["", "HTTP/1.1 200", "SSH-2.0-OpenSSH\r\n\r\n"])
    func `no complete response opens no tunnel`(_ response: String) throws {
        let tunnel = try Tunnel()
        try? tunnel.receive(response)
        _ = try? tunnel.channel.finish()
        #expect(!tunnel.isOpen() && tunnel.handler.status == nil)
    }

    @Test func `an active channel that becomes active asks once`() throws {
        let tunnel = try Tunnel()
        tunnel.channel.pipeline.fireChannelActive()
        #expect(try tunnel.channel.readOutbound(as: ByteBuffer.self) == nil)
    }

    @Test func `a proxy that does not respond is given up after the timeout`() throws {
        let tunnel = try Tunnel()
        tunnel.channel.embeddedEventLoop.advanceTime(by: .seconds(10))
        #expect(!tunnel.isOpen())
        // Too late.
        try tunnel.receive("HTTP/1.1 200 OK\r\n\r\n")
        #expect(!tunnel.isOpen())
    }
}
