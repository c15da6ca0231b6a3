public import Logging
import NIOCore
import NIOSSL

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Where and how an `APNSClient` connects. Reads no environment variables.
public struct APNSClientConfiguration: Sendable {
    /// A server that speaks the APNs provider protocol.
    public struct Endpoint: Sendable, Hashable {
        /// A host name or an IP address. For an address, TLS sends no server name, and the certificate must contain the
        /// address.
        public var host: String
        public var port: Int

        public init(host: String, port: Int = 443) {
            self.host = host
            self.port = port
        }

        // Apple, "Sending notification requests to APNs": port 443, or 2197 on the same hosts.
        public static let production = Endpoint(host: "api.push.apple.com")
        public static let sandbox = Endpoint(host: "api.sandbox.push.apple.com")
        /// For networks that allow APNs and block other HTTPS traffic.
        public static let productionAlternatePort = Endpoint(host: "api.push.apple.com", port: 2197)
        public static let sandboxAlternatePort = Endpoint(host: "api.sandbox.push.apple.com", port: 2197)
    }

    /// An HTTP proxy that supports CONNECT.
    public struct Proxy: Sendable, Hashable {
        public var host: String
        public var port: Int
        /// The value of `proxy-authorization`; nil sends none.
        public var authorization: String?

        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        /// A proxy with basic authentication (RFC 7617).
        public init(host: String, port: Int, user: String, password: String) {
            self.init(host: host, port: port)
            authorization = "Basic \(Data("\(user):\(password)".utf8).base64EncodedString())"
        }
    }

    /// The certificate authorities that may sign the server's certificate.
    public enum TrustRoots: Sendable, Hashable {
        case systemDefault
        /// One or more certificates in PEM.
        case pem(String)
        /// The path of a file with certificates in PEM.
        case file(String)
    }

    public var endpoint: Endpoint
    public var trustRoots: TrustRoots = .systemDefault
    public var credential: APNSCredential
    /// nil connects directly.
    public var proxy: Proxy?
    /// Covers everything from name resolution to the server's SETTINGS frame.
    public var connectTimeout: Duration = .seconds(10)
    /// While streams are open, a PING is sent when the server has sent nothing for this long. With `pingTimeout`, a
    /// connection that packets no longer pass is detected within 15 seconds.
    public var pingInterval: Duration = .seconds(8)
    /// The connection is closed when the server has sent nothing for this long after a PING.
    public var pingTimeout: Duration = .seconds(5)
    /// How long a connection that the server ends waits for the answers to its pushes.
    public var drainTimeout: Duration = .seconds(10)
    /// A connection is replaced when it has answered no push for this long, even if it acknowledges PINGs.
    public var stallTimeout: Duration = .seconds(8)
    /// A connection that was idle for this long must acknowledge a PING before it gets pushes.
    public var idleBeforeProbe: Duration = .seconds(60)
    /// How often a PING is sent on a connection without pushes. Apple, "Sending notification requests to APNs", allows
    /// one after an hour of inactivity.
    public var idlePingInterval: Duration = .seconds(3600)
    /// A connection is replaced at this age, plus or minus a tenth; its replacement is opened first.
    public var connectionAgeMax: Duration = .seconds(3600)
    /// Concurrent connections, 1...1000. The client opens only as many as increase throughput: see
    /// `docs/decisions/0007-connection-pool.md`.
    public var connectionsMax = 128
    /// Concurrent streams of a connection, 1...1000; a lower limit of the server takes precedence.
    public var streamsPerConnectionMax = 1000
    /// Pushes inside the client, queued or in flight; further pushes fail as `overloaded`.
    public var queuedPushesMax = 100_000
    /// In an outage, pushes that have waited for a connection this long are settled as never written, so that the caller
    /// decides how fast they are sent afterwards. nil: they wait as long as their own timeouts permit.
    public var outageTolerance: Duration?
    /// How long pushes wait without any answer until that is an outage.
    package var silenceMax = Duration(Reachability.silenceMax)
    /// Whether a 200 without `apns-id` is not an answer of APNs. False for HTTP/2 servers that do not speak APNs.
    package var requiresAPNSID = true
    /// Used for the expiration of pushes. A `ProviderTokenSource` has its own clock.
    public var clock = WallClock.system
    /// Logs changes of connections at debug level.
    public var logger = Logger(label: "apns.client")
    /// Called with each change of a connection, on the client's event loop; must return immediately.
    public var onEvent: (@Sendable (APNSConnectionEvent) -> Void)?

    public init(endpoint: Endpoint, credential: APNSCredential = .none) {
        self.endpoint = endpoint
        self.credential = credential
    }

    /// All problems of the configuration; empty if it is valid.
    public func problems() -> [String] {
        var problems: [String] = []
        if endpoint.host.isEmpty || !endpoint.host.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
            problems.append("the APNs host '\(endpoint.host)' is not a host name or an IP address")
        }
        if !(1...65_535).contains(endpoint.port) {
            problems.append("the APNs port (\(endpoint.port)) is not within 1...65535")
        }
        for (name, duration) in [
            ("connect timeout", connectTimeout), ("PING interval", pingInterval), ("PING timeout", pingTimeout),
            ("drain timeout", drainTimeout), ("stall timeout", stallTimeout), ("idle PING interval", idlePingInterval),
            ("time before a probe", idleBeforeProbe),
            ("connection age", connectionAgeMax),
        ] where duration <= .zero {
            problems.append("the APNs \(name) must be greater than zero")
        }
        if !(1...1000).contains(streamsPerConnectionMax) {
            problems.append("streamsPerConnectionMax (\(streamsPerConnectionMax)) is not within 1...1000")
        }
        if !(1...1000).contains(connectionsMax) {
            problems.append("connectionsMax (\(connectionsMax)) is not within 1...1000")
        }
        if let proxy {
            if proxy.host.isEmpty || !proxy.host.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
                problems.append("the proxy host '\(proxy.host)' is not a host name or an IP address")
            }
            if !(1...65_535).contains(proxy.port) {
                problems.append("the proxy port (\(proxy.port)) is not within 1...65535")
            }
            if let authorization = proxy.authorization,
                !authorization.utf8.allSatisfy({ (0x20...0x7E).contains($0) })
            {
                problems.append("the proxy authorization has characters that are not printable ASCII")
            }
        }
        if queuedPushesMax < 1 { problems.append("queuedPushesMax must be at least 1") }
        if let problem = trustRootsProblem() { problems.append(problem) }
        return problems
    }

    private func trustRootsProblem() -> String? {
        switch trustRoots {
        case .systemDefault: return nil
        case .pem(let text):
            let certificates = try? NIOSSLCertificate.fromPEMBytes(Array(text.utf8))
            return certificates?.isEmpty ?? true ? "the APNs trust roots contain no certificate in PEM" : nil
        case .file(let path):
            let certificates = try? NIOSSLCertificate.fromPEMFile(path)
            return certificates?.isEmpty ?? true
                ? "the APNs trust roots file \(path) contains no certificate in PEM" : nil
        }
    }

    /// TLS 1.2 or later (Apple, "Sending notification requests to APNs"), with full verification.
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

/// A configuration is invalid.
public struct APNSConfigurationError: Error, Equatable, CustomStringConvertible {
    /// One phrase per problem.
    public let problems: [String]

    public var description: String { problems.joined(separator: "; ") }
}
