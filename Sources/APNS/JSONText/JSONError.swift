/// Why a text is not the JSON that was asked for.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        case unexpectedEnd, unexpectedByte, trailingBytes, tooDeep
        case controlCharacter, badEscape, loneSurrogate, invalidUTF8
        case notAnInteger
    }

    package var kind: Kind
    /// Bytes from the start of the text to where it went wrong.
    package var offset: Int

    package init(kind: Kind, offset: Int) {
        self.kind = kind
        self.offset = offset
    }

    /// One phrase without any of the input in it, fit for an error answer.
    package var description: String {
        let what =
            switch kind {
            case .unexpectedEnd: "the text ends too early"
            case .unexpectedByte: "unexpected character"
            case .trailingBytes: "text after the end of the value"
            case .tooDeep: "nested more than \(JSONReader.depthMax) levels deep"
            case .controlCharacter: "unescaped control character in a string"
            case .badEscape: "unknown escape in a string"
            case .loneSurrogate: "half of a surrogate pair in a string"
            case .invalidUTF8: "not UTF-8"
            case .notAnInteger: "not an integer of 64 bits"
            }
        return "\(what) at byte \(offset)"
    }
}
