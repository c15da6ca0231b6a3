import APNSWire
import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Maps errors of sockets, DNS, proxies and TLS to `APNSConnectionFailure`.
enum ConnectErrorMapping {
    /// - Parameters:
    ///   - isReady: whether the connection was ready before the error.
    ///   - host: the host whose certificate was expected.
    ///   - certificate: returns the server's certificate, if it sent one; called only if it matters.
    static func classify(
        _ error: any Error, isReady: Bool, host: String, certificate: () -> NIOSSLCertificate? = { nil }
    ) -> APNSConnectionFailure {
        switch error {
        case let error as ProxyError: return error.failure
        case let error as NIOConnectionError: return classify(error)
        case let error as IOError: return classify(error, at: nil)
        case NIOSSLError.uncleanShutdown:
            return isReady
                ? APNSConnectionFailure(.connectionClosed)
                : APNSConnectionFailure(.tls, .tlsFailed, "\(host) closed the connection after the TLS handshake")
        case NIOSSLError.handshakeFailed(let error): return TLSErrorMapping.classify(error, host, certificate)
        case let error as BoringSSLError: return TLSErrorMapping.classify(error, host, certificate)
        case let error as NIOSSLExtraError where error == .failedToValidateHostname:
            return TLSErrorMapping.classifyVerification(isNameWrong: true, host, certificate)
        case NIOSSLError.unableToValidateCertificate:
            return TLSErrorMapping.classifyVerification(isNameWrong: false, host, certificate)
        case is NIOSSLError, is NIOSSLExtraError:
            return APNSConnectionFailure(.tls, .tlsFailed, "TLS with \(host) failed")
        case ChannelError.connectTimeout(let time):
            return APNSConnectionFailure(
                .connectTimeout, .timedOut,
                "no TCP connection to \(host) within \(text(time)): packets are dropped, or the name server does not respond"
            )
        default: return APNSConnectionFailure(.connectionClosed)
        }
    }

    fileprivate static func text(_ time: TimeAmount) -> String {
        let milliseconds = time.nanoseconds / 1_000_000
        return milliseconds < 1000 ? "\(milliseconds) ms" : "\(milliseconds / 1000) s"
    }

    private static func classify(_ error: NIOConnectionError) -> APNSConnectionFailure {
        guard let last = error.connectionErrors.last else {
            let code = ((error.dnsAError ?? error.dnsAAAAError) as? LookupFailed)?.code
            return APNSConnectionFailure(
                .dns, .nameNotResolved,
                "getaddrinfo: \(code.map(SystemError.resolverName) ?? "no address") (\(SafeText(error.host)))"
            )
        }
        if let error = last.error as? IOError { return classify(error, at: last.target) }
        return classify(last.error, isReady: false, host: error.host)
    }

    private static func classify(_ error: IOError, at address: SocketAddress?) -> APNSConnectionFailure {
        let (failure, cause): (APNSAnswer.Failure, APNSConnectionFailure.Cause) =
            switch error.errnoCode {
            case ECONNREFUSED: (.connectRefused, .refused)
            case ETIMEDOUT: (.connectTimeout, .timedOut)
            case EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN: (.connectTimeout, .unreachable)
            case ECONNRESET, EPIPE, ECONNABORTED: (.connectionReset, .connectionReset)
            case EACCES, EPERM: (.connectionClosed, .permissionDenied)
            default: (.connectionClosed, .systemError)
            }
        // NIO's text begins with the signature of the failed function, such as `connect(descriptor:addr:size:)`, or with
        // "connection" if a connect failed after its call returned.
        var function = error.description.prefix { $0.isASCII && ($0.isLetter || $0 == "_") }
        if function == "connection" { function = "connect" }
        let place = address.flatMap { address in
            address.ipAddress.map { " (\($0.contains(":") ? "[\($0)]" : $0):\(address.port ?? 0))" }
        }
        return APNSConnectionFailure(
            failure, cause, "\(function.prefix(40)): \(SystemError.name(error.errnoCode))\(place ?? "")"
        )
    }
}

/// The step of an attempt to connect.
enum ConnectStep {
    /// Name, TCP, and the tunnel of a proxy.
    case connecting
    case tls
    /// TLS is complete, with the protocol that the server chose, if any; its SETTINGS are missing.
    case http2(protocol: String?)
    case ready

    var isReady: Bool { if case .ready = self { true } else { false } }
}

extension APNSConnectionFailure {
    /// The failure of an attempt to connect that ran out of time.
    static func timedOut(at step: ConnectStep, _ dialer: Dialer) -> APNSConnectionFailure {
        let time = "within \(ConnectErrorMapping.text(dialer.timeout))"
        let endpoint = "\(dialer.endpoint.host):\(dialer.endpoint.port)"
        switch step {
        case .connecting:
            if let proxy = dialer.proxy {
                return APNSConnectionFailure(
                    .proxy, .proxyUnreachable, "the proxy \(proxy.host):\(proxy.port) opened no tunnel \(time)")
            }
            return APNSConnectionFailure(
                .connectTimeout, .timedOut,
                "no TCP connection to \(endpoint) \(time): packets are dropped, or the name server does not respond")
        case .tls:
            return APNSConnectionFailure(
                .connectTimeout, .timedOut, "\(endpoint) did not answer the TLS handshake \(time)")
        case .http2, .ready:
            return APNSConnectionFailure(.connectTimeout, .timedOut, "\(endpoint) sent no HTTP/2 SETTINGS \(time)")
        }
    }
}

/// Text of a peer, made safe for logs and responses: printable ASCII, at most 80 characters.
struct SafeText: CustomStringConvertible {
    let description: String

    init(_ text: some StringProtocol) {
        description = String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(80).map { (0x20...0x7E).contains($0.value) ? $0 : "?" })
        )
    }
}
