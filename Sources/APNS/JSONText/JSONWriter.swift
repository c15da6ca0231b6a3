/// Appends JSON to a byte array without an encoder, for output that is written once per push.
package enum JSONWriter {
    /// Appends `text` in quotes, escaped as RFC 8259 requires.
    package static func appendString(_ text: some StringProtocol, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""):
                append("\\\"", to: &output)
            case UInt8(ascii: "\\"):
                append("\\\\", to: &output)
            case 0x0A: append("\\n", to: &output)
            case 0x0D: append("\\r", to: &output)
            case 0x09: append("\\t", to: &output)
            case 0..<0x20:
                append("\\u00", to: &output)
                output.append(hexDigit(byte >> 4))
                output.append(hexDigit(byte & 15))
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// Appends `json`, which must be JSON, unchanged.
    @inline(__always)
    package static func append(_ json: StaticString, to output: inout [UInt8]) {
        output.append(contentsOf: UnsafeBufferPointer(start: json.utf8Start, count: json.utf8CodeUnitCount))
    }

    package static func appendInteger(_ value: some BinaryInteger, to output: inout [UInt8]) {
        if value == 0 {
            output.append(UInt8(ascii: "0"))
            return
        }
        if value < 0 { output.append(UInt8(ascii: "-")) }
        var rest = UInt64(value.magnitude)
        let start = output.count
        while rest > 0 {
            output.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        }
        output[start...].reverse()
    }

    /// Appends the shortest text that parses to `value`. A whole number has no fraction.
    ///
    /// - Returns: false, with `output` unchanged, for an infinity or a NaN, which JSON cannot represent.
    package static func appendNumber(_ value: Double, to output: inout [UInt8]) -> Bool {
        guard value.isFinite else { return false }
        // Up to 2^53 a `Double` represents every whole number exactly.
        if value.magnitude <= 0x20_0000_0000_0000, value == value.rounded(.towardZero) {
            appendInteger(Int64(value), to: &output)
        } else {
            output.append(contentsOf: value.description.utf8)
        }
        return true
    }

    static func hexDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }
}
