import Logging
import NIOCore
import NIOSSL

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
    /// Signs the `authorization` field; nil leaves it out, for servers that do not ask.
    public var tokenSource: ProviderTokenSource?
    /// From the first DNS packet to the server's SETTINGS frame.
    public var connectTimeout: Duration = .seconds(10)
    /// Silence, with streams open, after which a PING asks whether anybody is there.
    public var pingInterval: Duration = .seconds(10)
    /// Silence after a PING after which the connection is given up.
    public var pingTimeout: Duration = .seconds(5)
    /// How long streams of a connection that takes no new ones may wait for their answers.
    public var drainTimeout: Duration = .seconds(10)
    /// Streams open at once on a connection, 1...1000; the server's limit may be lower and then holds.
    public var streamsPerConnectionMax = 1000
    /// Pushes inside the client, waiting or in flight; what comes on top is refused as `overloaded`.
    public var queuedPushesMax = 100_000
    /// For the expiration of pushes. Tokens have the clock of their source.
    public var clock = WallClock.system
    /// Says little: state changes of connections, at debug level.
    public var logger = Logger(label: "apns.client")

    public init(endpoint: Endpoint, tokenSource: ProviderTokenSource? = nil) {
        self.endpoint = endpoint
        self.tokenSource = tokenSource
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
            ("drain timeout", drainTimeout),
        ] where duration <= .zero {
            problems.append("the APNs \(name) must be longer than nothing")
        }
        if !(1...1000).contains(streamsPerConnectionMax) {
            problems.append("the streams of an APNs connection must be 1...1000")
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
    func makeTLSContext() throws -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        tls.certificateVerification = .fullVerification
        tls.applicationProtocols = ["h2"]
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
