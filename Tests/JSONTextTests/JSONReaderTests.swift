import JSONText
import Testing

@Suite struct `JSON reader` {
    /// The contents of a JSON string, according to the reader.
    private func string(_ json: String) throws -> String {
        let bytes = Array(json.utf8)
        return try bytes.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            let string = try reader.readString()
            let text = reader.text(string)
            try reader.finish()
            return text
        }
    }

    private func integer(_ json: String) throws -> Int64 {
        try Array(json.utf8).withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            return try reader.readInteger()
        }
    }

    @Test func `a known value is skipped only where it occurs`() throws {
        let known = Array(#"{"a":[1,2]}"#.utf8)
        for (json, isKnown) in [
            (#"  {"a":[1,2]},1"#, true), (#"{"a":[1,2]}"#, true), (#"{"a":[1,3]}"#, false), (#"{"a":[1,2]"#, false),
            ("", false),
        ] {
            let range = Array(json.utf8).withUnsafeBytes { bytes in
                known.withUnsafeBytes { known in
                    var reader = JSONReader(bytes)
                    let range = reader.skipKnown(known)
                    #expect(reader.position == range?.upperBound ?? (json.first == " " ? 2 : 0))
                    return range
                }
            }
            #expect((range?.count == known.count) == isKnown, "\(json)")
        }
    }

    @Test func `the depth limit counts the objects around a value`() {
        let deepest = Array(String(repeating: "[", count: 64).utf8) + Array(String(repeating: "]", count: 64).utf8)
        deepest.withUnsafeBytes { bytes in
            for (depth, isAllowed) in [(0, true), (1, false)] {
                var reader = JSONReader(bytes)
                #expect(((try? reader.skipValue(depth: depth)) != nil) == isAllowed)
            }
        }
    }

    @Test func `escapes are resolved`() throws {
        #expect(try string(#""""#) == "")
        #expect(try string(#""\"\\\/\b\f\n\r\t""#) == "\"\\/\u{8}\u{C}\n\r\t")
        #expect(try string(#""\u0041\u00e9\u20AC""#) == "Aé€")
        #expect(try string(#""\ud83d\ude39 \uD834\uDD1E""#) == "😹 𝄞")
        #expect(try string(#""\u0000""#) == "\0")
        #expect(try string(#""\uFFFF\uFFFE""#) == "\u{FFFF}\u{FFFE}")
        #expect(try string(#""\\u0041""#) == #"\u0041"#)
        #expect(try string(#""é\né""#) == "é\né")
    }

    @Test func `combining and joined scalars are preserved`() throws {
        let text = try string(#""e\u0301 \u0915\u094d \ud83d\udc68\u200d\ud83d\udc69""#)
        #expect(
            Array(text.unicodeScalars) == Array("e\u{301} \u{915}\u{94D} \u{1F468}\u{200D}\u{1F469}".unicodeScalars))
    }

    @Test func `integers of 64 bits are read exactly`() throws {
        #expect(try integer("0") == 0)
        #expect(try integer("-0") == 0)
        #expect(try integer(" -17 ") == -17)
        #expect(try integer("9223372036854775807") == .max)
        #expect(try integer("-9223372036854775808") == .min)
    }

    @Test(arguments: ["9223372036854775808", "-9223372036854775809", "1.0", "1e3", "99999999999999999999999", "0.5"])
    func `numbers other than 64-bit integers are refused`(_ text: String) {
        #expect(throws: JSONError(kind: .notAnInteger, offset: 0)) { try integer(text) }
    }

    @Test(arguments: ["", " ", "-", "\"1\"", "true", "[1]", "+1", "01", "1x"])
    func `text that is not a number is refused`(_ text: String) {
        #expect(throws: JSONError.self) { try integer(text) }
    }

    @Test func `a document is read member by member`() throws {
        let json = Array(#" { "a" : 1 , "b\u0062":[true,null,"x"],"c":{"d":{}} } "#.utf8)
        try json.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            var keys: [String] = []
            #expect(try reader.peekKind() == .object)
            try reader.enterObject()
            while let key = try reader.nextKey(isFirst: keys.isEmpty) {
                keys.append(reader.text(key))
                switch keys.count {
                case 1: #expect(try reader.readInteger() == 1)
                case 2:
                    try reader.enterArray()
                    #expect(try reader.nextElement(isFirst: true))
                    #expect(try reader.readBoolean())
                    #expect(try reader.nextElement(isFirst: false))
                    try reader.readNull()
                    #expect(try reader.nextElement(isFirst: false))
                    let text = try reader.readString()
                    #expect(reader.equals(text.contents, "x"))
                    #expect(try !reader.nextElement(isFirst: false))
                default:
                    let range = try reader.skipValue()
                    #expect(String(decoding: bytes[range], as: UTF8.self) == #"{"d":{}}"#)
                }
            }
            #expect(keys == ["a", "bb", "c"])
            try reader.finish()
        }
    }

    @Test func `a reader may start in the middle`() throws {
        try Array("{}[7]".utf8).withUnsafeBytes { bytes in
            var reader = JSONReader(bytes, at: 2)
            try reader.enterArray()
            #expect(try reader.nextElement(isFirst: true))
            #expect(try reader.readInteger() == 7)
        }
    }

    @Test func `literals must be complete`() throws {
        for (json, isTrue) in [("true", true), ("false", false)] {
            let value = try Array(json.utf8).withUnsafeBytes { bytes in
                var reader = JSONReader(bytes)
                return try reader.readBoolean()
            }
            #expect(value == isTrue)
        }
        for json in ["tru", "fals", "nul", "t", "", "yes", "null"] {
            Array(json.utf8).withUnsafeBytes { bytes in
                _ = #expect(throws: JSONError.self) {
                    var reader = JSONReader(bytes)
                    _ = try reader.readBoolean()
                }
            }
        }
    }

    // MARK: Eight bytes at a time

    /// A reference implementation of the scan, byte by byte: ASCII only.
    private func naiveEnd(of text: [UInt8], from start: Int) -> Int? {
        var index = start
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""): return index
            case UInt8(ascii: "\\"), 0..<0x20, 0x80...: return nil
            default: index += 1
            }
        }
        return nil
    }

    @Test func `the scan agrees with the reference for every byte value and alignment`() {
        for alignment in 0..<9 {
            for position in 0..<20 {
                for byte in UInt8.min...UInt8.max {
                    var text =
                        [UInt8](repeating: 0x20, count: alignment) + [0x22] + [UInt8](repeating: 0x7E, count: 24) + [
                            0x22
                        ]
                    text[alignment + 1 + position] = byte
                    let expected = naiveEnd(of: text, from: alignment + 1)
                    let found: Int? = text.withUnsafeBytes { bytes in
                        var reader = JSONReader(bytes)
                        guard let string = try? reader.readString(), !string.isEscaped else { return nil }
                        return string.contents.upperBound
                    }
                    guard found != expected else { continue }
                    Issue.record("byte \(byte) at \(position), alignment \(alignment): \(String(describing: found))")
                }
            }
        }
    }

    @Test func `bytes that resemble the special ones are plain text`() {
        // 0x21, 0x23, 0x5B and 0x5D differ from a quote and a backslash by one bit or a borrow.
        for bytes in [[0x21, 0x23], [0x5B, 0x5D], [0x23, 0x22], [0x5D, 0x5C], [0x20, 0x1F], [0x7F, 0x80]] as [[UInt8]] {
            for length in 0..<17 {
                let text = [UInt8](repeating: bytes[0], count: length)
                #expect(isJSON([0x22] + text + [0x22]), "\(length) times \(bytes[0])")
                let broken = [0x22] + text + [bytes[1]] + text + [0x22]
                let isPlain = bytes[1] == 0x23 || bytes[1] == 0x5D
                #expect(isJSON(broken) == isPlain, "\(bytes[1]) after \(length) times \(bytes[0])")
            }
        }
    }
}

@Suite struct `JSON writer` {
    @Test func `written strings are read back unchanged`() throws {
        let texts = ["", "plain", "\"\\/", "\u{0}\u{1F}\u{8}\u{C}\n\r\t", "é€😹", "\u{2028}\u{7F}"]
        for text in texts {
            var json: [UInt8] = []
            JSONWriter.appendString(text, to: &json)
            let back = try json.withUnsafeBytes { bytes in
                var reader = JSONReader(bytes)
                let string = try reader.readString()
                try reader.finish()
                return reader.text(string)
            }
            #expect(back == text)
        }
    }

    @Test func `control characters are escaped with four digits`() {
        var json: [UInt8] = []
        JSONWriter.appendString("\u{1}\u{1F}", to: &json)
        #expect(String(decoding: json, as: UTF8.self) == #""\u0001\u001f""#)
    }

    @Test(arguments: [0, 1, -1, 9, 10, 1_712_000_000_000, Int64.max, Int64.min])
    func `integers are written in decimal`(_ number: Int64) {
        var json: [UInt8] = []
        JSONWriter.appendInteger(number, to: &json)
        #expect(String(decoding: json, as: UTF8.self) == "\(number)")
    }

    @Test func `the largest unsigned integer is written`() {
        var json = Array("x".utf8)
        JSONWriter.appendInteger(UInt64.max, to: &json)
        #expect(String(decoding: json, as: UTF8.self) == "x18446744073709551615")
    }

    @Test(arguments: [
        (0, "0"), (-0.0, "0"), (1, "1"), (-25, "-25"), (0.5, "0.5"), (-0.1, "-0.1"), (1e-7, "1e-07"),
        (9_007_199_254_740_992, "9007199254740992"), (1e300, "1e+300"), (Double.leastNonzeroMagnitude, "5e-324"),
    ])
    func `written numbers are read back unchanged`(_ number: Double, _ text: String) throws {
        var json: [UInt8] = []
        #expect(JSONWriter.appendNumber(number, to: &json))
        #expect(String(decoding: json, as: UTF8.self) == text)
        #expect(Double(text) == number)
        let length = try json.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            return try reader.skipValue().count
        }
        #expect(length == json.count)
    }

    @Test(arguments: [Double.infinity, -.infinity, .nan])
    func `infinities and NaN are not written`(_ number: Double) {
        var json = Array("x".utf8)
        #expect(!JSONWriter.appendNumber(number, to: &json))
        #expect(json == Array("x".utf8))
    }
}
