package import APNSWire
import JSONText

/// What identifies a push in a file and in its result: its line, and the start of its device token.
package struct PushLine: Sendable, Equatable {
    /// Counted from 1, with blank lines.
    package var number: UInt32
    /// The first digits of the token; right-aligned.
    private var digits: UInt32 = 0
    private var digitCount: UInt8 = 0

    /// Digits of a token that may be shown.
    package static let digitsMax = 8

    /// - Parameter token: hexadecimal; of another text nothing is kept.
    package init(number: Int, token: String) {
        self.number = UInt32(clamping: number)
        let start = token.prefix(Self.digitsMax)
        // A short text may be something else, and would be shown completely.
        guard token.utf8.count >= 2 * Self.digitsMax, start.utf8.count == Self.digitsMax,
            let digits = UInt32(start, radix: 16)
        else { return }
        self.digits = digits
        digitCount = UInt8(Self.digitsMax)
    }

    /// Up to eight digits; empty if the line has no token.
    package var tokenPrefix: String {
        let text = String(digits, radix: 16)
        return String(repeating: "0", count: Int(digitCount) - (digitCount == 0 ? 0 : text.count))
            + (digitCount == 0 ? "" : text)
    }
}

/// An accepted push: 32 bytes.
package struct SentPush: Sendable, Equatable {
    package var id: APNSID
    /// Counted from 0, without blank lines.
    package var index: UInt32
    package var line: PushLine

    package init(id: APNSID, index: Int, line: PushLine) {
        self.id = id
        self.index = UInt32(clamping: index)
        self.line = line
    }
}

/// Finds the pushes in a stream of lines: those without a result yet are kept, with 12 bytes each.
package struct PushLines: Sendable {
    /// Of a longer line, which no gateway accepts, the token is not read.
    private static let lineBytesMax = 1 << 20

    private var waiting: [PushLine] = []
    private var head = 0
    /// The line in progress.
    private var line: [UInt8] = []
    private var isBlank = true
    private var lineNumber = 1
    /// Pushes found so far.
    package private(set) var count = 0
    package private(set) var isAtEnd = false

    package init() {}

    package mutating func append(_ bytes: some Collection<UInt8>) {
        var rest = bytes[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            extend(rest[..<end])
            endLine()
            rest = rest[rest.index(after: end)...]
        }
        extend(rest)
    }

    /// The last line may lack a line end.
    package mutating func end() {
        guard !isAtEnd else { return }
        isAtEnd = true
        endLine()
    }

    /// Removes and returns the first push without a result; nil if all have one.
    package mutating func next() -> PushLine? {
        guard head < waiting.count else { return nil }
        defer {
            head += 1
            // Amortized: compaction costs no more than the removals since the last one.
            if head > 4096, head > waiting.count / 2 {
                waiting.removeFirst(head)
                head = 0
            }
        }
        return waiting[head]
    }

    private mutating func extend(_ bytes: some Collection<UInt8>) {
        if isBlank {
            isBlank = bytes.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
            if isBlank { return }
        }
        if line.count <= Self.lineBytesMax { line += bytes.prefix(Self.lineBytesMax + 1 - line.count) }
    }

    private mutating func endLine() {
        defer {
            line.removeAll(keepingCapacity: true)
            isBlank = true
            lineNumber += 1
        }
        guard !isBlank else { return }
        count += 1
        waiting.append(PushLine(number: lineNumber, token: Self.token(in: line)))
    }

    /// The device token of a push; empty if there is none.
    private static func token(in line: [UInt8]) -> String {
        line.withUnsafeBytes { bytes in
            var fields = FieldReader(bytes)
            while let (name, value) = try? fields.next() {
                if name == "device_token" || name == "device_id" { return value }
            }
            return ""
        }
    }
}
