import Foundation
import NIOCore
import NIOPosix

/// Describes common errors in plain words; the descriptions of the libraries are meant for programmers.
package enum PlainReason {
    package static func of(_ error: any Error) -> String {
        switch error {
        case let error as IOError: of(errno: error.errnoCode)
        case let error as POSIXError: of(errno: error.code.rawValue)
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { of($0.error) } ?? "\(error.host) has no address"
        case ChannelError.connectTimeout: "connection timed out"
        case let error as CocoaError: text(error)
        default: String(reflecting: type(of: error)).contains("NIOSSL") ? ofTLS("\(error)") : "\(error)"
        }
    }

    /// - Parameter text: the description of an error of NIOSSL, which names the cause as BoringSSL does.
    private static func ofTLS(_ text: String) -> String {
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            return "the certificate of the server is not trusted; --ca FILE trusts the authority in FILE"
        }
        if text.contains("failedToValidateHostname") { return "the certificate of the server is for another host" }
        return "TLS handshake failed; check that the server speaks https"
    }

    package static func of(errno code: Int32) -> String { String(cString: strerror(code)).lowercased() }

    private static func text(_ error: CocoaError) -> String {
        switch error.code {
        case .fileNoSuchFile, .fileReadNoSuchFile: "no such file or folder"
        case .fileReadNoPermission, .fileWriteNoPermission: "permission denied"
        case .fileWriteOutOfSpace: "no space left on the disk"
        case .fileWriteFileExists: "it exists already"
        default: (error.underlying as? POSIXError).map { of(errno: $0.code.rawValue) } ?? error.localizedDescription
        }
    }
}
