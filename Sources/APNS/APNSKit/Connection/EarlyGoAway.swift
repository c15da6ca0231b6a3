package import HTTP2Session

/// Reads a GOAWAY frame that a server sends instead of its first SETTINGS.
///
/// RFC 9113, section 3.4, requires SETTINGS first, and libnghttp2 ends a session that begins otherwise without reading
/// the frame. Its content, for example that the credential is rejected, would be lost.
package enum EarlyGoAway {
    private static let frameHeaderBytes = 9
    private static let frameType: UInt8 = 7
    private static let debugDataBytesMax = 1024

    /// - Parameter bytes: the first bytes received from the server.
    /// - Returns: nil when they do not begin with a whole GOAWAY frame.
    package static func read(_ bytes: UnsafeRawBufferPointer) -> HTTP2GoAway? {
        guard bytes.count >= frameHeaderBytes, bytes[3] == frameType else { return nil }
        let length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
        guard length >= 8, bytes.count >= frameHeaderBytes + length else { return nil }
        let payload = UnsafeRawBufferPointer(rebasing: bytes[frameHeaderBytes..<frameHeaderBytes + length])
        return HTTP2GoAway(
            lastStream: Int32(bitPattern: payload.bigEndian(at: 0) & 0x7FFF_FFFF),
            code: HTTP2ErrorCode(rawValue: payload.bigEndian(at: 4)),
            debugData: Array(payload[8...].prefix(debugDataBytesMax))
        )
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func bigEndian(at offset: Int) -> UInt32 {
        self[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
}
