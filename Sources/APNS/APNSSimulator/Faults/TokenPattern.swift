import APNSWire

/// Matches device tokens by their hexadecimal digits: `?` matches one digit, `*` any number of digits.
///
/// `ab*` matches tokens that begin with ab, `*0` a sixteenth of all tokens.
public struct TokenPattern: Sendable, Equatable, CustomStringConvertible {
    private static let anyDigit: UInt8 = 16
    private static let anyDigits: UInt8 = 17

    /// Digits by value, or `anyDigit` or `anyDigits`.
    private let elements: [UInt8]
    public let description: String

    /// Parses a pattern of 1 to 200 characters; nil for any other text.
    public init?(_ text: String) {
        guard (1...200).contains(text.utf8.count) else { return nil }
        var elements: [UInt8] = []
        for character in text.lowercased() {
            switch character {
            case "?": elements.append(Self.anyDigit)
            case "*": elements.append(Self.anyDigits)
            default:
                guard character.isASCII, let digit = character.hexDigitValue else { return nil }
                elements.append(UInt8(digit))
            }
        }
        self.elements = elements
        description = text
    }

    /// Whether the token matches. The worst case takes time proportional to the product of both lengths.
    package func matches(_ token: [UInt8]) -> Bool {
        let count = token.count * 2
        var (digit, element) = (0, 0)
        // Where to resume if the digits after the last `*` do not match.
        var (retryDigit, retryElement) = (0, -1)
        while digit < count {
            if element < elements.count, elements[element] == Self.anyDigits {
                (retryDigit, retryElement) = (digit, element)
                element += 1
            } else if element < elements.count,
                elements[element] == Self.anyDigit || elements[element] == Self.digit(digit, of: token)
            {
                digit += 1
                element += 1
            } else if retryElement >= 0 {
                retryDigit += 1
                (digit, element) = (retryDigit, retryElement + 1)
            } else {
                return false
            }
        }
        return elements[element...].allSatisfy { $0 == Self.anyDigits }
    }

    private static func digit(_ index: Int, of token: [UInt8]) -> UInt8 {
        index.isMultiple(of: 2) ? token[index / 2] >> 4 : token[index / 2] & 15
    }
}
