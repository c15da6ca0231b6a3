public import Logging
import NIOCore
import NIOSSL

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Where and how an `APNSClient` connects. Plain values; nothing here reads the environment.
public struct APNSClientConfiguration: Sendable {
    /// A server that speaks the provider protocol.
    public struct Endpoint: Sendable, Hashable {
        /// A name, or an IP address; TLS then checks the certificate's IP address entries and sends no server name.
        public var host: String
        public var port: Int

        public init(host: String, port: Int = 443) {
            self.host = host
            self.port = port
        }

        // Apple, "Sending notification requests to APNs": port 443, or 2197 on the same hosts.
        public static let production = Endpoint(host: "api.push.apple.com")
        public static let sandbox = Endpoint(host: "api.sandbox.push.apple.com")
        /// For networks that let APNs through and no other HTTPS.
        public static let productionAlternatePort = Endpoint(host: "api.push.apple.com", port: 2197)
        public static let sandboxAlternatePort = Endpoint(host: "api.sandbox.push.apple.com", port: 2197)
    }

    /// An HTTP proxy that makes tunnels (CONNECT).
    public struct Proxy: Sendable, Hashable {
        public var host: String
        public var port: Int
        /// The value of `proxy-authorization`; nil sends none.
        public var authorization: String?

        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        /// With a user and a password (RFC 7617).
        public init(host: String, port: Int, user: String, password: String) {
            self.init(host: host, port: port)
            authorization = "Basic \(Data("\(user):\(password)".utf8).base64EncodedString())"
        }
    }

    /// Whose signature makes a server's certificate good.
    public enum TrustRoots: Sendable, Hashable {
        case systemDefault
        /// Certificates in PEM, one after the other.
        case pem(String)
        /// A file of certificates in PEM.
        case file(String)
    }

    public var endpoint: Endpoint
    public var trustRoots: TrustRoots = .systemDefault
    public var credential: APNSCredential
    /// On the way to APNs; nil connects directly.
    public var proxy: Proxy?
    /// From the first DNS packet to the server's SETTINGS frame.
    public var connectTimeout: Duration = .seconds(10)
    /// Silence, with streams open, after which a PING asks whether anybody is there.
    public var pingInterval: Duration = .seconds(10)
    /// Silence after a PING after which the connection is given up.
    public var pingTimeout: Duration = .seconds(5)
    /// How long streams of a connection that takes no new ones may wait for their answers.
    public var drainTimeout: Duration = .seconds(10)
    /// How long a connection may leave every push unanswered, PING or no PING, before others take its place.
    public var stallTimeout: Duration = .seconds(15)
    /// A connection that was silent for this long must answer a PING before it gets pushes.
    public var idleBeforeProbe: Duration = .seconds(60)
    /// Without pushes, a connection is asked for a sign of life this often. Apple, "Sending notification requests to APNs":
    /// after an hour of inactivity is fine.
    public var idlePingInterval: Duration = .seconds(3600)
    /// A connection is replaced when it is this old, give or take a tenth; its successor is there first.
    public var connectionAgeMax: Duration = .seconds(3600)
    /// Connections at once, 1...1000. There are as many as are of use: see `docs/decisions/0007-connection-pool.md`.
    public var connectionsMax = 128
    /// Streams open at once on a connection, 1...1000; the server's limit may be lower and then holds.
    public var streamsPerConnectionMax = 1000
    /// Pushes inside the client, waiting or in flight; what comes on top is refused as `overloaded`.
    public var queuedPushesMax = 100_000
    /// For the expiration of pushes. Tokens have the clock of their source.
    public var clock = WallClock.system
    /// Says little: state changes of connections, at debug level.
    public var logger = Logger(label: "apns.client")
    /// Is told what happens to connections, on the client's event loop; must return at once.
    public var onEvent: (@Sendable (APNSConnectionEvent) -> Void)?

    public init(endpoint: Endpoint, credential: APNSCredential = .none) {
        self.endpoint = endpoint
        self.credential = credential
    }

    /// Every problem at once, so that an operator fixes them in one go; empty when there is none.
    public func problems() -> [String] {
        var problems: [String] = []
        if endpoint.host.isEmpty || !endpoint.host.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
            problems.append("the APNs host must be a name or an address")
        }
        if !(1...65_535).contains(endpoint.port) { problems.append("the APNs port must be 1...65535") }
        for (name, duration) in [
            ("connect timeout", connectTimeout), ("PING interval", pingInterval), ("PING timeout", pingTimeout),
            ("drain timeout", drainTimeout), ("stall timeout", stallTimeout), ("idle PING interval", idlePingInterval),
            ("time before a probe", idleBeforeProbe),
            ("connection age", connectionAgeMax),
        ] where duration <= .zero {
            problems.append("the APNs \(name) must be longer than nothing")
        }
        if !(1...1000).contains(streamsPerConnectionMax) {
            problems.append("the streams of an APNs connection must be 1...1000")
        }
        if !(1...1000).contains(connectionsMax) {
            problems.append("the connections of an APNs client must be 1...1000")
        }
        if let proxy {
            if proxy.host.isEmpty || !proxy.host.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
                problems.append("the proxy's host must be a name or an address")
            }
            if !(1...65_535).contains(proxy.port) { problems.append("the proxy's port must be 1...65535") }
            if let authorization = proxy.authorization,
                !authorization.utf8.allSatisfy({ (0x20...0x7E).contains($0) })
            {
                problems.append("the proxy's authorization must be printable")
            }
        }
        if queuedPushesMax < 1 { problems.append("the APNs client must be allowed to queue at least one push") }
        if let problem = trustRootsProblem() { problems.append(problem) }
        return problems
    }

    private func trustRootsProblem() -> String? {
        switch trustRoots {
        case .systemDefault: return nil
        case .pem(let text):
            let certificates = try? NIOSSLCertificate.fromPEMBytes(Array(text.utf8))
            return certificates?.isEmpty ?? true ? "the APNs trust roots are not certificates in PEM" : nil
        case .file(let path):
            let certificates = try? NIOSSLCertificate.fromPEMFile(path)
            return certificates?.isEmpty ?? true
                ? "the APNs trust roots file \(path) holds no certificates in PEM" : nil
        }
    }

    /// The settings of TLS: TLS 1.2 or later (Apple, "Sending notification requests to APNs"), full verification.
    func makeTLSContext(_ credential: APNSCredential) throws -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        tls.certificateVerification = .fullVerification
        tls.applicationProtocols = ["h2"]
        if case .certificate(let certificate) = credential { certificate.add(to: &tls) }
        switch trustRoots {
        case .systemDefault: tls.trustRoots = .default
        case .pem(let text): tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(text.utf8)))
        case .file(let path): tls.trustRoots = .file(path)
        }
        return try NIOSSLContext(configuration: tls)
    }
}

/// A configuration that cannot work.
public struct APNSConfigurationError: Error, Equatable, CustomStringConvertible {
    /// What is wrong, a sentence each.
    public let problems: [String]

    public var description: String { problems.joined(separator: "; ") }
}
