import AsyncHTTPClient
import NIOCore
import NIOPosix

/// Why a command cannot go on, in one sentence.
package struct GatewayFailure: Error, CustomStringConvertible {
    package let description: String

    init(description: String) {
        self.description = description
    }

    init(_ error: any Error, url: String) {
        switch error {
        case let error as GatewayFailure: self = error
        case let error as HTTPClientError: self.init(description: Self.sentence(error, url: url))
        case let error as NIOConnectionError:
            self.init(description: "the gateway at \(url) cannot be reached: \(PlainReason.of(error))")
        case let error as IOError where [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].contains(error.errnoCode):
            self.init(description: "the gateway at \(url) cannot be reached: \(PlainReason.of(error))")
        case is CancellationError: self.init(description: "cancelled")
        default: self.init(description: "the connection to the gateway at \(url) failed: \(PlainReason.of(error))")
        }
    }

    private static func sentence(_ error: HTTPClientError, url: String) -> String {
        switch error {
        case .connectTimeout: "the gateway at \(url) cannot be reached: no connection could be made in time"
        case .deadlineExceeded, .readTimeout: "the gateway at \(url) did not answer in time"
        case .remoteConnectionClosed: "the gateway at \(url) closed the connection before it had answered"
        case .invalidURL, .emptyHost, .emptyScheme: "\(url) is not a URL"
        default: "the connection to the gateway at \(url) failed: \(error.shortDescription)"
        }
    }
}
