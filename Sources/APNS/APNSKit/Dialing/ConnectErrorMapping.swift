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

/// Maps errors of sockets, DNS and TLS to `APNSAnswer.Failure`.
enum ConnectErrorMapping {
    /// - Parameter isReady: whether the connection was ready before the error.
    static func classify(_ error: any Error, isReady: Bool) -> APNSAnswer.Failure {
        switch error {
        case is ProxyError: return .proxy
        case let error as NIOConnectionError: return classify(error)
        case let error as IOError: return classify(errno: error.errnoCode)
        case NIOSSLError.uncleanShutdown: return isReady ? .connectionClosed : .tls
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: return .tls
        case ChannelError.connectTimeout: return .connectTimeout
        case ChannelError.ioOnClosedChannel, ChannelError.eof, ChannelError.inputClosed, ChannelError.outputClosed:
            return .connectionClosed
        default: return .connectionClosed
        }
    }

    private static func classify(_ error: NIOConnectionError) -> APNSAnswer.Failure {
        guard let last = error.connectionErrors.last else { return .dns }
        return classify(last.error, isReady: false)
    }

    private static func classify(errno code: CInt) -> APNSAnswer.Failure {
        switch code {
        case ECONNREFUSED: .connectRefused
        case ETIMEDOUT, EHOSTUNREACH, ENETUNREACH: .connectTimeout
        case ECONNRESET, EPIPE, ECONNABORTED: .connectionReset
        default: .connectionClosed
        }
    }
}
