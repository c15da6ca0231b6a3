import HTTPTypes
import PushModel

/// Parses the `Idempotency-Key` header: a structured-field string (RFC 8941, 3.3.3), or the bare value that many
/// clients send.
enum IdempotencyKeyField {
    static let bytesMax = 255

    /// - Returns: the key without quotes; nil if the request has no such header.
    /// - Throws: 400 for a value that is not a key of 1 to 255 printable ASCII characters.
    static func value(in fields: HTTPFields) throws(Problem) -> String? {
        guard let field = fields[.idempotencyKey] else { return nil }
        guard let value = parse(field), (1...bytesMax).contains(value.utf8.count) else {
            var problem = Problem(
                .badRequest, .badField,
                "Idempotency-Key: must be 1 to \(bytesMax) printable ASCII characters, in double quotes if it has commas, semicolons or spaces"
            )
            problem.field = "Idempotency-Key"
            throw problem
        }
        return value
    }

    /// - Returns: nil if the value has neither form. Two headers are joined by a comma, which neither form permits.
    static func parse(_ field: String) -> String? {
        guard field.utf8.first == UInt8(ascii: "\"") else {
            let isBare = field.utf8.allSatisfy { (0x21...0x7E).contains($0) && !#"",;\"#.utf8.contains($0) }
            return isBare ? field : nil
        }
        guard field.utf8.count >= 2, field.utf8.last == UInt8(ascii: "\"") else { return nil }
        var value: [UInt8] = []
        var isEscaped = false
        for byte in field.utf8.dropFirst().dropLast() {
            guard (0x20...0x7E).contains(byte) else { return nil }
            let isSpecial = byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
            if isEscaped {
                guard isSpecial else { return nil }
                value.append(byte)
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else {
                guard !isSpecial else { return nil }
                value.append(byte)
            }
        }
        return isEscaped ? nil : String(decoding: value, as: UTF8.self)
    }
}
