package import APNSWire
import JSONText

/// The JSON in the body of an error answer, or in the debug data of a GOAWAY.
///
/// Reading never fails: a body that cannot be read has no reason, and the HTTP status must be enough.
package struct ErrorBody: Equatable {
    /// Longer bodies are not read; APNs sends fewer than 100 bytes.
    package static let bytesMax = 4096
    /// Reasons without a case in `APNSReason` are cut off at this length.
    package static let unknownReasonBytesMax = 128

    package var reason = APNSReason.none
    /// The text of a reason without a case in `APNSReason`.
    package var unknownReason: String?
    /// Milliseconds since 1970; 0 without one.
    package var timestamp: Int64 = 0

    /// Reads `{"reason": …, "timestamp": …}`; other members are ignored.
    package init(_ bytes: [UInt8]) {
        guard !bytes.isEmpty, bytes.count <= Self.bytesMax else { return }
        bytes.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            if let body = try? Self.read(&reader) { self = body }
        }
    }

    private init() {}

    private static func read(_ reader: inout JSONReader) throws(JSONError) -> ErrorBody {
        var body = ErrorBody()
        try reader.enterObject()
        var isFirst = true
        while let key = try reader.nextKey(isFirst: isFirst) {
            isFirst = false
            let kind = try reader.peekKind()
            if kind == .string, reader.equals(key.contents, "reason") {
                let value = try reader.readString()
                body.setReason(reader.text(value))
            } else if kind == .number, reader.equals(key.contents, "timestamp") {
                let range = try reader.skipValue()
                body.timestamp = integer(reader, range)
            } else {
                try reader.skipValue()
            }
        }
        try reader.finish()
        return body
    }

    private static func integer(_ reader: JSONReader, _ range: Range<Int>) -> Int64 {
        var number = JSONReader(reader.bytes, at: range.lowerBound)
        return max(0, (try? number.readInteger()) ?? 0)
    }

    /// A body may have several reasons; the last one counts.
    private mutating func setReason(_ text: String) {
        reason = APNSReason(label: text)
        unknownReason = reason == .unknown ? Self.printable(text) : nil
    }

    /// `text` cut off at 128 bytes, with a question mark for each character that cannot be printed.
    private static func printable(_ text: String) -> String {
        var kept = ""
        var count = 0
        for scalar in text.unicodeScalars {
            let isControl = scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) || scalar.value == 0x2028
            let shown = isControl ? "?" : scalar
            count += shown.utf8.count
            guard count <= unknownReasonBytesMax else { break }
            kept.unicodeScalars.append(shown)
        }
        return kept
    }
}
