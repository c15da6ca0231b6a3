/// A strict pull parser for JSON over bytes that it does not own.
///
/// It reads a document once, from left to right, and returns *ranges* of the input instead of a tree: no allocation and
/// no copy. It accepts RFC 8259 only: no comments, no trailing commas, no bare words, no control characters and no
/// invalid UTF-8 in strings, no lone surrogates.
///
/// The bytes must stay valid while the reader is in use; use it inside `withUnsafeBytes`.
package struct JSONReader {
    /// The type of a value, as its first byte shows it.
    package enum Kind: Sendable, Equatable {
        case object, array, string, number, boolean, null
    }

    /// The maximum nesting depth. Deeper values are refused, so that they cannot exhaust the stack.
    package static let depthMax = 64

    package let bytes: UnsafeRawBufferPointer
    /// The offset of the next byte to read.
    package private(set) var position: Int

    package init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    // MARK: Values

    /// The kind of the next value. Skips white space only.
    package mutating func peekKind() throws(JSONError) -> Kind {
        skipWhitespace()
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        switch bytes[position] {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .boolean
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw error(.unexpectedByte)
        }
    }

    /// Validates the next value of any kind and skips it.
    ///
    /// - Returns: the range of the value in `bytes`, without surrounding white space.
    ///
    /// - Parameter depth: the number of objects and arrays around the value, for the limit of the nesting depth.
    @discardableResult
    package mutating func skipValue(depth: Int = 0) throws(JSONError) -> Range<Int> {
        skipWhitespace()
        let start = position
        try skip(depth: depth)
        return start..<position
    }

    /// Skips the next value if it is `text`, an object or array that a reader has validated before.
    ///
    /// - Returns: the range of the value; nil if it is another one, which is then still to be read.
    package mutating func skipKnown(_ text: UnsafeRawBufferPointer) -> Range<Int>? {
        skipWhitespace()
        guard !text.isEmpty, position + text.count <= bytes.count else { return nil }
        var index = 0
        while index + 8 <= text.count {
            guard
                text.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    == bytes.loadUnaligned(fromByteOffset: position + index, as: UInt64.self)
            else { return nil }
            index += 8
        }
        while index < text.count {
            guard text[index] == bytes[position + index] else { return nil }
            index += 1
        }
        // The closing bracket ends the value, whatever follows.
        defer { position += text.count }
        return position..<position + text.count
    }

    /// Reads a string.
    ///
    /// - Returns: the range of its contents without the quotes, still escaped, and whether there is an escape to
    ///   resolve.
    package mutating func readString() throws(JSONError) -> (contents: Range<Int>, isEscaped: Bool) {
        skipWhitespace()
        return try scanString()
    }

    /// Reads an integer that fits in 64 bits. A fraction or an exponent is refused, even in `1.0`.
    package mutating func readInteger() throws(JSONError) -> Int64 {
        skipWhitespace()
        let start = position
        try skipNumber()
        var index = start
        let isNegative = bytes[index] == UInt8(ascii: "-")
        if isNegative { index += 1 }
        var value: Int64 = 0
        while index < position {
            let digit = Int64(bytes[index]) - 48
            guard (0...9).contains(digit) else { throw JSONError(kind: .notAnInteger, offset: start) }
            let (product, overflow1) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow2) = product.addingReportingOverflow(isNegative ? -digit : digit)
            guard !overflow1, !overflow2 else { throw JSONError(kind: .notAnInteger, offset: start) }
            value = sum
            index += 1
        }
        return value
    }

    package mutating func readBoolean() throws(JSONError) -> Bool {
        skipWhitespace()
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        if bytes[position] == UInt8(ascii: "t") {
            try skipWord("true")
            return true
        }
        try skipWord("false")
        return false
    }

    package mutating func readNull() throws(JSONError) {
        skipWhitespace()
        try skipWord("null")
    }

    // MARK: Objects and arrays

    /// Enters an object. Call `nextKey(isFirst:)` until it returns nil, and read one value after each key.
    package mutating func enterObject() throws(JSONError) {
        skipWhitespace()
        try expect(UInt8(ascii: "{"))
    }

    /// Reads the next key of the current object; nil after its closing brace.
    package mutating func nextKey(isFirst: Bool) throws(JSONError) -> (contents: Range<Int>, isEscaped: Bool)? {
        skipWhitespace()
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        if bytes[position] == UInt8(ascii: "}") {
            position += 1
            return nil
        }
        if !isFirst {
            try expect(UInt8(ascii: ","))
            skipWhitespace()
        }
        let key = try scanString()
        skipWhitespace()
        try expect(UInt8(ascii: ":"))
        return key
    }

    /// Enters an array. Call `nextElement(isFirst:)` until it returns false, and read one value after each true.
    package mutating func enterArray() throws(JSONError) {
        skipWhitespace()
        try expect(UInt8(ascii: "["))
    }

    /// Advances to the next element of the current array; false after its closing bracket.
    package mutating func nextElement(isFirst: Bool) throws(JSONError) -> Bool {
        skipWhitespace()
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        if bytes[position] == UInt8(ascii: "]") {
            position += 1
            return false
        }
        if !isFirst {
            try expect(UInt8(ascii: ","))
            skipWhitespace()
            // A value must follow a comma: `[1,]` is an error.
            guard position < bytes.count, bytes[position] != UInt8(ascii: "]") else { throw error(.unexpectedByte) }
        }
        return true
    }

    /// Throws `trailingBytes` unless only white space is left.
    package mutating func finish() throws(JSONError) {
        skipWhitespace()
        guard position == bytes.count else { throw error(.trailingBytes) }
    }

    package mutating func skipWhitespace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    // MARK: Text

    /// A string in the bytes: its contents without the quotes, still escaped, and whether there is an escape to resolve.
    package typealias Text = (contents: Range<Int>, isEscaped: Bool)

    /// Calls `body` with the bytes of a string, with escapes resolved.
    @inline(__always)
    package func withBytes<Value>(of text: Text, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        if !text.isEscaped { return body(UnsafeRawBufferPointer(rebasing: bytes[text.contents])) }
        var unescaped: [UInt8] = []
        appendUnescaped(text.contents, to: &unescaped)
        return unescaped.withUnsafeBytes { body($0) }
    }

    /// Whether the bytes of `range`, the contents of a string without escapes, equal `text`.
    @inline(__always)
    package func equals(_ range: Range<Int>, _ text: StaticString) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<range.count where bytes[range.lowerBound + index] != text.utf8Start[index] { return false }
        return true
    }

    /// The unescaped text of a string returned by `readString`.
    package func text(_ string: (contents: Range<Int>, isEscaped: Bool)) -> String {
        if !string.isEscaped {
            return String(decoding: UnsafeRawBufferPointer(rebasing: bytes[string.contents]), as: UTF8.self)
        }
        var unescaped: [UInt8] = []
        appendUnescaped(string.contents, to: &unescaped)
        return String(decoding: unescaped, as: UTF8.self)
    }

    /// Appends the contents of a string returned by `readString` as UTF-8, with escapes resolved.
    package func appendUnescaped(_ contents: Range<Int>, to output: inout [UInt8]) {
        output.reserveCapacity(output.count + contents.count)
        var index = contents.lowerBound
        while index < contents.upperBound {
            let byte = bytes[index]
            guard byte == UInt8(ascii: "\\") else {
                output.append(byte)
                index += 1
                continue
            }
            let escape = bytes[index + 1]
            index += 2
            switch escape {
            case UInt8(ascii: "n"): output.append(0x0A)
            case UInt8(ascii: "t"): output.append(0x09)
            case UInt8(ascii: "r"): output.append(0x0D)
            case UInt8(ascii: "b"): output.append(0x08)
            case UInt8(ascii: "f"): output.append(0x0C)
            case UInt8(ascii: "u"):
                var scalar = hex4(at: index)
                index += 4
                if (0xD800..<0xDC00).contains(scalar) {
                    let low = hex4(at: index + 2)
                    index += 6
                    scalar = 0x10000 + ((scalar - 0xD800) << 10) + (low - 0xDC00)
                }
                // `scanString` has refused lone surrogates, so every value here is a scalar.
                for unit in String(Character(Unicode.Scalar(scalar)!)).utf8 { output.append(unit) }
            default: output.append(escape)
            }
        }
    }

    // MARK: Scanning

    private mutating func skip(depth: Int) throws(JSONError) {
        guard depth < Self.depthMax else { throw error(.tooDeep) }
        switch try peekKind() {
        case .string: _ = try scanString()
        case .number: try skipNumber()
        case .boolean: _ = try readBoolean()
        case .null: try skipWord("null")
        case .object:
            try enterObject()
            var isFirst = true
            while try nextKey(isFirst: isFirst) != nil {
                isFirst = false
                try skip(depth: depth + 1)
            }
        case .array:
            try enterArray()
            var isFirst = true
            while try nextElement(isFirst: isFirst) {
                isFirst = false
                try skip(depth: depth + 1)
            }
        }
    }

    private mutating func scanString() throws(JSONError) -> (contents: Range<Int>, isEscaped: Bool) {
        try expect(UInt8(ascii: "\""))
        let start = position
        var isEscaped = false
        while true {
            // Most of a payload is plain ASCII, so check eight bytes at a time.
            while position + 8 <= bytes.count {
                let word = bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
                guard Self.isPlainText(word) else { break }
                position += 8
            }
            guard position < bytes.count else { throw error(.unexpectedEnd) }
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                let contents = start..<position
                position += 1
                return (contents, isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                try skipEscape()
            case 0..<0x20:
                throw error(.controlCharacter)
            case 0x20..<0x80:
                position += 1
            default:
                try skipMultibyteScalar()
            }
        }
    }

    /// Whether none of the eight bytes is a quote, a backslash, a control character or above 127.
    @inline(__always)
    private static func isPlainText(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5C)
        // The usual "has a zero byte" and "has a byte below n" tests. `word` itself detects bytes above 127.
        let hasQuote = (quote &- ones) & ~quote
        let hasBackslash = (backslash &- ones) & ~backslash
        let hasControl = (word &- ones &* 0x20) & ~word
        return (word | hasQuote | hasBackslash | hasControl) & highs == 0
    }

    private mutating func skipEscape() throws(JSONError) {
        guard position + 1 < bytes.count else { throw error(.unexpectedEnd) }
        switch bytes[position + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 2
        case UInt8(ascii: "u"):
            let unit = try scanHex4(at: position + 2)
            if (0xDC00..<0xE000).contains(unit) { throw error(.loneSurrogate) }
            if (0xD800..<0xDC00).contains(unit) {
                guard position + 7 < bytes.count, bytes[position + 6] == UInt8(ascii: "\\"),
                    bytes[position + 7] == UInt8(ascii: "u")
                else { throw error(.loneSurrogate) }
                let low = try scanHex4(at: position + 8)
                guard (0xDC00..<0xE000).contains(low) else { throw error(.loneSurrogate) }
                position += 6
            }
            position += 6
        default:
            throw error(.badEscape)
        }
    }

    private func scanHex4(at offset: Int) throws(JSONError) -> UInt32 {
        guard offset + 4 <= bytes.count else { throw JSONError(kind: .unexpectedEnd, offset: bytes.count) }
        for index in offset..<offset + 4 where Self.hexValue(bytes[index]) == nil {
            throw JSONError(kind: .badEscape, offset: index)
        }
        return hex4(at: offset)
    }

    private func hex4(at offset: Int) -> UInt32 {
        var value: UInt32 = 0
        for index in offset..<offset + 4 { value = value << 4 | UInt32(Self.hexValue(bytes[index]) ?? 0) }
        return value
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// Skips one well-formed UTF-8 scalar above 127 (Unicode 15, table 3-7: no overlong forms, no surrogates).
    private mutating func skipMultibyteScalar() throws(JSONError) {
        let first = bytes[position]
        let length: Int
        let second: ClosedRange<UInt8>
        switch first {
        case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xE1...0xEC, 0xEE...0xEF: (length, second) = (3, 0x80...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        default: throw error(.invalidUTF8)
        }
        guard position + length <= bytes.count else { throw error(.invalidUTF8) }
        guard second.contains(bytes[position + 1]) else { throw error(.invalidUTF8) }
        for index in stride(from: 2, to: length, by: 1) where bytes[position + index] & 0xC0 != 0x80 {
            throw error(.invalidUTF8)
        }
        position += length
    }

    private mutating func skipNumber() throws(JSONError) {
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        if bytes[position] == UInt8(ascii: "-") { position += 1 }
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        if bytes[position] == UInt8(ascii: "0") {
            position += 1
        } else {
            try skipDigits()
        }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            position += 1
            try skipDigits()
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") {
                position += 1
            }
            try skipDigits()
        }
        // `01` and `1a` are not numbers: the next byte must be one that can follow a value.
        if position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D, UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"): break
            default: throw error(.unexpectedByte)
            }
        }
    }

    private mutating func skipDigits() throws(JSONError) {
        let start = position
        while position < bytes.count, bytes[position] >= UInt8(ascii: "0"), bytes[position] <= UInt8(ascii: "9") {
            position += 1
        }
        guard position > start else { throw error(position < bytes.count ? .unexpectedByte : .unexpectedEnd) }
    }

    private mutating func skipWord(_ word: StaticString) throws(JSONError) {
        for index in 0..<word.utf8CodeUnitCount {
            guard position + index < bytes.count else { throw error(.unexpectedEnd) }
            guard bytes[position + index] == word.utf8Start[index] else { throw error(.unexpectedByte) }
        }
        position += word.utf8CodeUnitCount
    }

    @inline(__always)
    private mutating func expect(_ byte: UInt8) throws(JSONError) {
        guard position < bytes.count else { throw error(.unexpectedEnd) }
        guard bytes[position] == byte else { throw error(.unexpectedByte) }
        position += 1
    }

    private func error(_ kind: JSONError.Kind) -> JSONError { JSONError(kind: kind, offset: position) }
}
