/// A device token: opaque bytes that identify one app on one device.
///
/// The description shows the first characters only, so that no complete token reaches a log by accident.
public struct DeviceToken: Hashable, Sendable {
    /// 1 to 255 raw bytes.
    public let bytes: [UInt8]

    /// nil unless there are 1 to 255 bytes.
    public init?(bytes: [UInt8]) {
        guard (1...APNSLimits.deviceTokenBytesMax).contains(bytes.count) else { return nil }
        self.bytes = bytes
    }

    /// Parses hexadecimal in either case; nil if it is empty, of odd length, too long or not hexadecimal.
    public init?(hex: some StringProtocol) {
        var copy = String(hex)
        var bytes: [UInt8] = []
        guard copy.withUTF8({ Self.appendBytes(ofHex: UnsafeRawBufferPointer($0), to: &bytes) }) else { return nil }
        self.bytes = bytes
    }

    /// The token in lower-case hexadecimal.
    public var hex: String {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(Hex.digit(byte >> 4))
            text.append(Hex.digit(byte & 15))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Decodes `hex` and appends the bytes to `output`.
    ///
    /// - Returns: false, with `output` unchanged, if `hex` is not a token.
    public static func appendBytes(ofHex hex: UnsafeRawBufferPointer, to output: inout [UInt8]) -> Bool {
        guard hex.count >= 2, hex.count.isMultiple(of: 2), hex.count / 2 <= APNSLimits.deviceTokenBytesMax else {
            return false
        }
        let start = output.count
        var index = 0
        while index < hex.count {
            guard let high = Hex.value(hex[index]), let low = Hex.value(hex[index + 1]) else {
                output.removeSubrange(start...)
                return false
            }
            output.append(high << 4 | low)
            index += 2
        }
        return true
    }
}

extension DeviceToken: CustomStringConvertible, CustomDebugStringConvertible {
    /// The first four bytes, too few to identify a device.
    public var description: String { "\(String(hex.prefix(8)))…" }
    public var debugDescription: String { description }
}
