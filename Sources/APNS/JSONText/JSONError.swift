/// Why a text is not valid JSON, or not JSON of the expected type.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        case unexpectedEnd, unexpectedByte, trailingBytes, tooDeep
        case controlCharacter, badEscape, loneSurrogate, invalidUTF8
        case notAnInteger
    }

    package var kind: Kind
    /// The offset of the error in bytes from the start of the text.
    package var offset: Int

    package init(kind: Kind, offset: Int) {
        self.kind = kind
        self.offset = offset
    }

    /// The error and its offset, without any part of the input, so that it can be returned to a client.
    package var description: String {
        let problem =
            switch kind {
            case .unexpectedEnd: "unexpected end of text"
            case .unexpectedByte: "unexpected character"
            case .trailingBytes: "text after the end of the value"
            case .tooDeep: "nested more than \(JSONReader.depthMax) levels deep"
            case .controlCharacter: "unescaped control character in a string"
            case .badEscape: "unknown escape in a string"
            case .loneSurrogate: "half of a surrogate pair in a string"
            case .invalidUTF8: "invalid UTF-8"
            case .notAnInteger: "not a 64-bit integer"
            }
        return "\(problem) at byte \(offset)"
    }
}
