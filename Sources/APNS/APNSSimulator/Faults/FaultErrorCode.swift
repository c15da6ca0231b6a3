import HTTP2Session

/// The HTTP/2 error code in the RST_STREAM or GOAWAY frame of a fault.
///
/// Source: RFC 9113, section 7.
public struct FaultErrorCode: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: UInt32

    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    public static let noError = FaultErrorCode(rawValue: 0)
    public static let protocolError = FaultErrorCode(rawValue: 1)
    public static let internalError = FaultErrorCode(rawValue: 2)
    public static let flowControlError = FaultErrorCode(rawValue: 3)
    public static let settingsTimeout = FaultErrorCode(rawValue: 4)
    public static let streamClosed = FaultErrorCode(rawValue: 5)
    public static let frameSizeError = FaultErrorCode(rawValue: 6)
    public static let refusedStream = FaultErrorCode(rawValue: 7)
    public static let cancel = FaultErrorCode(rawValue: 8)
    public static let compressionError = FaultErrorCode(rawValue: 9)
    public static let enhanceYourCalm = FaultErrorCode(rawValue: 11)

    /// The name in RFC 9113, such as `REFUSED_STREAM`; `code N` for a code without one.
    public var description: String { http2.description }

    var http2: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: rawValue) }
}
