import AsyncHTTPClient
import NIOCore
import NIOPosix

/// Why a call to the gateway failed, in one line.
package struct GatewayFailure: Error, CustomStringConvertible {
    package let description: String
    /// The HTTP status of the response; nil if there was none.
    package let status: Int?
    /// The gateway's problem document; nil if the response is not one.
    let problem: ProblemDocument?

    package init(description: String, status: Int? = nil) {
        self.init(description: description, status: status, problem: nil)
    }

    init(description: String, status: Int?, problem: ProblemDocument?) {
        self.description = description
        self.status = status
        self.problem = problem
    }

    /// The failure for a server that is not a gateway.
    static func otherServer(_ url: String, status: Int? = nil) -> GatewayFailure {
        GatewayFailure(description: "\(url) does not respond like a Godwit gateway", status: status)
    }

    /// Whether the same request may succeed later.
    package var isTemporary: Bool {
        guard let status else { return true }
        // 409: the first request with the same Idempotency-Key is still being processed.
        return status >= 500 || status == 409 || status == 429
    }

    init(_ error: any Error, url: String) {
        switch error {
        case let error as GatewayFailure: self = error
        case let error as HTTPClientError: self.init(description: Self.text(error, url: url))
        case let error as NIOConnectionError:
            self.init(description: "the gateway at \(url) cannot be reached: \(PlainReason.of(error))")
        case let error as IOError where [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].contains(error.errnoCode):
            self.init(description: "the gateway at \(url) cannot be reached: \(PlainReason.of(error))")
        case is CancellationError: self.init(description: "cancelled")
        default: self.init(description: "the connection to the gateway at \(url) failed: \(PlainReason.of(error))")
        }
    }

    private static func text(_ error: HTTPClientError, url: String) -> String {
        switch error {
        case .connectTimeout: "the gateway at \(url) cannot be reached: connection timed out"
        case .deadlineExceeded, .readTimeout: "the gateway at \(url) did not respond in time"
        case .remoteConnectionClosed: "the gateway at \(url) closed the connection before it responded"
        case .invalidURL, .emptyHost, .emptyScheme: "'\(url)' is not a URL"
        default: "the connection to the gateway at \(url) failed: \(error.shortDescription)"
        }
    }
}
