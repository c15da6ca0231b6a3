package import APNSWire
import JSONText

/// What APNs says in the JSON of an error answer or of a GOAWAY.
///
/// Nothing here can fail: what is not understood becomes "no reason", and the HTTP status has to do.
package struct ErrorBody: Equatable {
    /// Bodies are kept up to this length; APNs' own have fewer than 100 bytes.
    package static let bytesMax = 4096
    /// Reasons that `APNSReason` does not know are kept up to this length.
    package static let unknownReasonBytesMax = 128

    package var reason = APNSReason.none
    /// The text of an unknown reason.
    package var unknownReason: String?
    /// UNIX milliseconds, 0 without one.
    package var timestamp: Int64 = 0

    /// Reads `{"reason": …, "timestamp": …}`; other members are passed over.
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
                body.take(reader.text(value))
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
        var again = JSONReader(reader.bytes, at: range.lowerBound)
        return max(0, (try? again.readInteger()) ?? 0)
    }

    private mutating func take(_ text: String) {
        reason = APNSReason(label: text)
        // A body may name two; the last one counts.
        unknownReason = reason == .unknown ? Self.printable(text) : nil
    }

    /// `text` cut off at 128 bytes, with what cannot be printed replaced.
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
