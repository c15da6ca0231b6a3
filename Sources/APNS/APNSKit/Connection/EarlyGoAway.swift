package import HTTP2Session

/// Reads a GOAWAY frame that a server sends instead of its first SETTINGS.
///
/// RFC 9113, section 3.4, requires SETTINGS first, and libnghttp2 ends a session that begins otherwise without reading
/// the frame. Its content, for example that the credential is rejected, would be lost. The frame may arrive in several
/// reads, so its bytes are held until it is complete.
package struct EarlyGoAway {
    /// What the connection does with the bytes that it received.
    package enum Action: Equatable {
        /// The session reads the held bytes and then those that were just received.
        case pass(held: [UInt8])
        /// The bytes are held until more are received.
        case wait
        case goAway(HTTP2GoAway)
    }

    private static let frameHeaderBytes = 9
    private static let frameType: UInt8 = 7
    /// Longer frames are an error (RFC 9113, section 4.2), which the session reports.
    private static let frameBytesMax = 16_384
    private static let debugDataBytesMax = 1024

    private var held: [UInt8] = []
    /// The first frame is another one, so the session reads all bytes.
    private var isOver = false

    package init() {}

    /// To be called with all bytes received from the server, from the first on.
    package mutating func receive(_ bytes: UnsafeRawBufferPointer) -> Action {
        guard !isOver, !bytes.isEmpty else { return .pass(held: []) }
        let before = held
        held += bytes
        if let action = held.withUnsafeBytes({ Self.action($0) }) { return action }
        isOver = true
        return .pass(held: before)
    }

    /// - Parameter all: the bytes received so far.
    /// - Returns: nil when they do not begin with a GOAWAY frame.
    private static func action(_ all: UnsafeRawBufferPointer) -> Action? {
        if let first = read(all) {
            // A server that sends two frames may give its reason in the second only.
            let rest = UnsafeRawBufferPointer(rebasing: all[(frameHeaderBytes + length(all))...])
            guard first.debugData.isEmpty, let second = read(rest) else { return .goAway(first) }
            return .goAway(second)
        }
        let isPossible =
            (all.count <= 3 || all[3] == frameType) && (all.count < 3 || (8...frameBytesMax).contains(length(all)))
        return isPossible ? .wait : nil
    }

    /// - Parameter bytes: the first bytes received from the server.
    /// - Returns: nil when they do not begin with a whole GOAWAY frame.
    package static func read(_ bytes: UnsafeRawBufferPointer) -> HTTP2GoAway? {
        guard bytes.count >= frameHeaderBytes, bytes[3] == frameType else { return nil }
        let length = length(bytes)
        guard length >= 8, bytes.count >= frameHeaderBytes + length else { return nil }
        let payload = UnsafeRawBufferPointer(rebasing: bytes[frameHeaderBytes..<frameHeaderBytes + length])
        return HTTP2GoAway(
            lastStream: Int32(bitPattern: payload.bigEndian(at: 0) & 0x7FFF_FFFF),
            code: HTTP2ErrorCode(rawValue: payload.bigEndian(at: 4)),
            debugData: Array(payload[8...].prefix(debugDataBytesMax))
        )
    }

    /// The length in a frame header, of which at least three bytes are there.
    private static func length(_ bytes: UnsafeRawBufferPointer) -> Int {
        Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func bigEndian(at offset: Int) -> UInt32 {
        self[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
}
