import Foundation
import NIOCore
import NIOPosix

/// Why something failed, in words for people: what libraries say of the usual reasons is for programmers.
package enum PlainReason {
    package static func of(_ error: any Error) -> String {
        switch error {
        case let error as IOError: text(error.errnoCode)
        case let error as POSIXError: text(error.code.rawValue)
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { of($0.error) } ?? "\(error.host) has no address"
        case ChannelError.connectTimeout: "no connection could be made in time"
        case let error as CocoaError: text(error)
        default:
            // The target does not import what TLS is made of, and needs no more than that it was TLS.
            String(reflecting: type(of: error)).contains("NIOSSL")
                ? "TLS does not come about; is it an https address?" : "\(error)"
        }
    }

    private static func text(_ code: Int32) -> String { String(cString: strerror(code)).lowercased() }

    private static func text(_ error: CocoaError) -> String {
        switch error.code {
        case .fileNoSuchFile, .fileReadNoSuchFile: "there is no such file or folder"
        case .fileReadNoPermission, .fileWriteNoPermission: "permission denied"
        case .fileWriteOutOfSpace: "no space left on the disk"
        case .fileWriteFileExists: "there is one already"
        default: (error.underlying as? POSIXError).map { text($0.code.rawValue) } ?? error.localizedDescription
        }
    }
}
