import JSONText
import Testing

/// Whether the reader accepts `bytes` as exactly one JSON value.
func isJSON(_ bytes: [UInt8]) -> Bool { problem(with: bytes) == nil }

func problem(with bytes: [UInt8]) -> JSONError? {
    bytes.withUnsafeBytes { bytes in
        var reader = JSONReader(bytes)
        do throws(JSONError) {
            try reader.skipValue()
            try reader.finish()
            return nil
        } catch {
            return error
        }
    }
}

func problem(with text: String) -> JSONError? { problem(with: Array(text.utf8)) }

/// The texts that the reader must accept (`y`) and refuse (`n`). The cases follow Nicolas Seriot's JSONTestSuite.
@Suite struct `JSON strictness` {
    @Test(arguments: [
        // Arrays
        "[]", "[ ]", "[[]   ]", "[[],[[]]]", "[\"\"]", "[null]", "[false]", "[null, 1, \"1\", {}]", "[1\n]", " [1]",
        "[1,null,null,null,2]", "[2] ", "\t[\r\n]\n",
        // Numbers
        "[123e65]", "[0e+1]", "[0e1]", "[ 4]", "[-0]", "[-1]", "[-123]", "[1E22]", "[1E-2]", "[1E+2]", "[123e45]",
        "[123.456e78]", "[1e-2]", "[1e+2]", "[123]", "[123.456789]", "[0]", "[-0.0]", "[20e1]", "[0.1]",
        "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]",
        "[100000000000000000000000000000000000000000000000000000000000000000000000000]",
        // Objects
        "{}", "{\"a\":\"b\"}", "{\"a\":\"b\",\"a\":\"c\"}", "{\"\":0}", "{\"foo\\u0000bar\": 42}", "{\"a\":[]}",
        "{ \"min\": -1.0e+28, \"max\": 1.0e+28 }", "{\"x\":[{\"id\": \"xxx\"}], \"id\": \"xxx\"}", "{\n\"a\": \"b\"\n}",
        "{\"title\":\"\\u041f\\u043e\\u043b\\u0442\\u043e\\u0440\\u0430\" }",
        // Strings
        "[\"\\u0060\\u012a\\u12AB\"]", "[\"\\uD801\\udc37\"]", "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]",
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "[\"\\\\u0000\"]", "[\"\\\"\"]", "[\"a/*b*/c/*d//e\"]", "[\"\\\\a\"]",
        "[\"\\\\n\"]", "[\"\\u0012\"]", "[\"\\uFFFF\"]", "[\"asd\"]", "[ \"asd\"]", "[\"\\uDBFF\\uDFFF\"]",
        "[\"new\\u00A0line\"]", "[\"\u{10FFFF}\"]", "[\"\u{FFFF}\"]", "[\"\\u0000\"]", "[\"\\u002c\"]", "[\"\u{3C0}\"]",
        "[\"\u{1BFFF}\"]", "[\"asd \"]", "\" \"", "[\"\\uD834\\uDd1e\"]", "[\"\\u0821\"]", "[\"\\u0123\"]",
        "[\"\u{2028}\"]", "[\"\u{2029}\"]", "[\"\\u0061\\u30af\\u30EA\\u30b9\"]", "[\"new\\u000Aline\"]",
        "[\"\u{7F}\"]",
        "[\"\\uA66D\"]", "[\"\\u005C\"]", "[\"⍂㈴⍂\"]", "[\"\\u200B\"]", "[\"\\u2064\"]", "[\"\\uFDD0\"]",
        "[\"\\uFFFE\"]",
        "[\"\\u0022\"]", "[\"€𝄞\"]", "[\"a\u{7F}a\"]",
        // Values at the top level
        "false", "42", "-0.1", "null", "\"asd\"", "true", "\"\"", "[true]", " [] ",
    ])
    func `y: RFC 8259 allows it`(_ text: String) {
        #expect(problem(with: text) == nil)
    }

    @Test(arguments: [
        // Arrays
        "[1 true]", "[\"\": 1]", "[\"\"],", "[,1]", "[1,,2]", "[\"x\",,]", "[\"x\"]]", "[\"\",]", "[\"x\"", "[x",
        "[3[4]]",
        "[1:2]", "[,]", "[-]", "[   , \"\"]", "[\"a\",\n4\n,1,", "[1,]", "[1,,]", "[\"\u{0B}a\"\\f]", "[*]", "[\"\"",
        "[1,",
        "[1,\n1\n,1", "[{}",
        // Words
        "[fals]", "[nul]", "[tru]", "[True]", "[TRUE]", "tru", "nulll", "truefalse", "[nan]", "[NaN]", "[Infinity]",
        "[-Infinity]", "[-NaN]", "[+Inf]", "[undefined]",
        // Numbers
        "[++1234]", "[+1]", "[-01]", "[-1.0.]", "[-2.]", "[.-1]", "[.2e-3]", "[0.1.2]", "[0.3e+]", "[0.3e]", "[0.e1]",
        "[0E+]", "[0E]", "[0e+]", "[0e]", "[1.0e+]", "[1.0e-]", "[1.0e]", "[1 000.0]", "[1eE2]", "[2.e+3]", "[2.e-3]",
        "[2.e3]", "[9.e+]", "[0x1]", "[0x42]", "[1+2]", "[- 1]", "[-012]", "[-.123]", "[-1x]", "[1ea]", "[1e1\u{E5}]",
        "[1.]", "[.123]", "[1.2a-3]", "[1.8011670033376514H-308]", "[012]", "[\u{FF11}]", "-", "1.", "1e", "01", "--1",
        // Objects
        "[\"x\", truth]", "{[: \"x\"}", "{\"x\", null}", "{\"x\"::\"b\"}", "{\u{1F1E8}\u{1F1ED}}", "{\"a\":\"a\" 123}",
        "{key: 'value'}", "{\"a\" b}", "{:\"b\"}", "{\"a\" \"b\"}", "{\"a\":", "{\"a\"", "{1:1}", "{9999E9999:1}",
        "{null:null,null:null}", "{\"id\":0,,,,,}", "{'a':0}", "{\"id\":0,}", "{\"a\":\"b\"}/**/", "{\"a\":\"b\"}/**//",
        "{\"a\":\"b\"}//", "{\"a\":\"b\"}/", "{\"a\":\"b\",,\"c\":\"d\"}", "{a: \"b\"}", "{\"a\":\"a",
        "{ \"foo\" : \"bar\",",
        "{\"a\":\"b\"}#", " ", "{,}", "{\"a\":1,\"b\"}", "{\"a\":}", "{",
        // Strings
        "[\"\\uD800\\\"]", "[\"\\uD800\\u\"]", "[\"\\uD800\\u1\"]", "[\"\\uD800\\u1x\"]", "[\u{E9}]", "[\"\\\u{0}\"]",
        "[\"\\x00\"]", "[\"\\\\\\\"]", "[\"\\\t\"]", "[\"\\\u{1F300}\"]", "[\"\\\"]", "[\"\\u00A\"]",
        "[\"\\uD834\\uDd\"]",
        "[\"\\uD800\\uD800\\x\"]", "[\"\\a\"]", "[\"\\uqqqq\"]", "[\\u0020\"asd\"]", "[\\n]", "\"", "['single quote']",
        "abc", "[\"\\", "[\"a\u{0}a\"]", "[\"new\nline\"]", "[\"\t\"]", "\"\\UA66D\"", "\"\"x", "[\"\u{1F}\"]",
        "[\"\\uD800\"]", "[\"\\uDC00\"]", "[\"\\uD800abc\"]", "[\"\\uDD1E\\uD834\"]", "[\"\\uD800\\uD800\"]",
        "[\"\\uD800\\n\"]",
        "[\"\\uDFAA\"]", "[\"\\uD888\\u1234\"]",
        // Structure
        "<.>", "[<null>]", "[1]x", "[1]]", "]", "{]", "[}", "", "[", "\u{FEFF}", "\u{FEFF}{}", "[\u{2060}]", "\u{E5}",
        "*",
        "{\"\":", "#{}", "[1][2]", "[\"a\"][", "{\"a\": true} \"x\"", "1]", "[\u{C}]", "[\u{A0}]", "['", "[,", "{}}",
        "[\"a",
        "2@", "{\"a\":\"b\"", "\u{0}", "{}\u{0}", "[\"asd]", "aå", "[True", "{\"a\":/*comment*/\"b\"}", "1 2",
    ])
    func `n: RFC 8259 forbids it`(_ text: String) {
        #expect(problem(with: text) != nil)
    }

    @Test(
        arguments: [
            // Invalid UTF-8; each sequence is inside a string.
            [0x80], [0xBF], [0xC0, 0xAF], [0xC1, 0xBF], [0xC2], [0xC3, 0x28], [0xE0, 0x80, 0xAF], [0xE0, 0x9F, 0xBF],
            [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xE2, 0x82, 0x28], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF],
            [0xF0, 0x80, 0x80, 0xAF],
            [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x90, 0x80], [0xF0, 0x28, 0x8C, 0xBC], [0xF0, 0x90, 0x28, 0xBC],
            [0xF0, 0x28, 0x8C, 0x28], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80],
            [0xF8, 0x88, 0x80, 0x80, 0x80],
            [0xFC, 0x84, 0x80, 0x80, 0x80, 0x80], [0xFE], [0xFF],
        ] as [[UInt8]])
    func `n: invalid UTF-8 in a string`(_ sequence: [UInt8]) {
        let quote = UInt8(ascii: "\"")
        // Before, in and after the first eight bytes, which the reader checks together.
        for padding in 0..<18 {
            let text = [quote] + [UInt8](repeating: 0x61, count: padding) + sequence + [0x61, quote]
            #expect(problem(with: text)?.kind == .invalidUTF8, "\(padding) plain bytes before")
            #expect(problem(with: Array(text.dropLast(2))) != nil)
        }
    }

    @Test(
        arguments: [
            [0xC2, 0x80], [0xDF, 0xBF], [0xE0, 0xA0, 0x80], [0xEF, 0xBF, 0xBF], [0xED, 0x9F, 0xBF], [0xEE, 0x80, 0x80],
            [0xF0, 0x90, 0x80, 0x80], [0xF3, 0xBF, 0xBF, 0xBF], [0xF4, 0x8F, 0xBF, 0xBF],
        ] as [[UInt8]])
    func `y: the first and last scalars of each length`(_ sequence: [UInt8]) {
        #expect(isJSON([0x22] + sequence + [0x22]))
        #expect(!isJSON([0x22] + sequence.dropLast() + [0x22]))
    }

    @Test func `values may be nested at most 64 levels deep`() {
        let deepest = JSONReader.depthMax
        #expect(problem(with: String(repeating: "[", count: deepest) + String(repeating: "]", count: deepest)) == nil)
        let tooDeep = String(repeating: "[", count: deepest + 1) + String(repeating: "]", count: deepest + 1)
        #expect(problem(with: tooDeep)?.kind == .tooDeep)
        let objects =
            String(repeating: "{\"a\":", count: deepest + 1) + "1" + String(repeating: "}", count: deepest + 1)
        #expect(problem(with: objects)?.kind == .tooDeep)
        #expect(problem(with: String(repeating: "[", count: 100_000)) != nil)
        #expect(problem(with: String(repeating: "[{\"\":", count: 50_000)) != nil)
    }

    @Test func `every prefix of a document is refused`() {
        let document = #"{"a":[1,-2.5e3,"x\u00e9\ud83d\ude39"],"b":{"c":null,"d":true,"e":false}}"#
        let bytes = Array(document.utf8)
        #expect(isJSON(bytes))
        for length in 0..<bytes.count {
            #expect(!isJSON(Array(bytes.prefix(length))), "the first \(length) bytes")
        }
    }

    @Test func `errors name the offset and not the text`() {
        #expect(problem(with: "[1, secret]") == JSONError(kind: .unexpectedByte, offset: 4))
        #expect(problem(with: "{} secret") == JSONError(kind: .trailingBytes, offset: 3))
        #expect(problem(with: "\"abc\u{1}\"") == JSONError(kind: .controlCharacter, offset: 4))
        #expect(problem(with: "[1, secret]")?.description == "unexpected character at byte 4")
    }
}
