/// The `apns-id` of a push: 128 bits in the canonical text form of a UUID.
///
/// APNs echoes it, sometimes in upper case and not always as a valid UUID variant (observed, 2021). IDs are therefore
/// compared as 128-bit numbers, and any version and variant is accepted.
public struct APNSID: Hashable, Sendable, Comparable {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A random ID (UUID version 4).
    public static func random() -> APNSID {
        var generator = SystemRandomNumberGenerator()
        return APNSID(
            high: generator.next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000,
            low: generator.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        )
    }

    /// Length of the text form in bytes.
    public static let textLength = 36

    /// Parses the text form `8-4-4-4-12` in either case; nil for any other text.
    public init?(_ text: some StringProtocol) {
        var copy = String(text)
        let parsed = copy.withUTF8 { APNSID(utf8: UnsafeRawBufferPointer($0)) }
        guard let parsed else { return nil }
        self = parsed
    }

    /// Parses the text form from UTF-8 bytes; nil for any other text.
    public init?(utf8: UnsafeRawBufferPointer) {
        guard utf8.count == Self.textLength else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        var digits = 0
        for index in 0..<Self.textLength {
            if index == 8 || index == 13 || index == 18 || index == 23 {
                guard utf8[index] == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let value = Hex.value(utf8[index]) else { return nil }
            if digits < 16 { high = high << 4 | UInt64(value) } else { low = low << 4 | UInt64(value) }
            digits += 1
        }
        self.init(high: high, low: low)
    }

    /// Writes the 36 lower-case bytes of the text form.
    ///
    /// - Precondition: `output` holds at least 36 bytes.
    public func write(to output: UnsafeMutableRawBufferPointer) {
        precondition(output.count >= Self.textLength, "an apns-id needs 36 bytes")
        var index = 0
        for digit in 0..<32 {
            if digit == 8 || digit == 12 || digit == 16 || digit == 20 {
                output[index] = UInt8(ascii: "-")
                index += 1
            }
            let word = digit < 16 ? high : low
            output[index] = Hex.digit(UInt8(truncatingIfNeeded: word >> UInt64(60 - (digit & 15) * 4) & 15))
            index += 1
        }
    }

    /// Appends the text form to `output`.
    public func append(to output: inout [UInt8]) {
        withUnsafeTemporaryAllocation(byteCount: Self.textLength, alignment: 1) { text in
            write(to: text)
            output.append(contentsOf: text)
        }
    }

    /// The ID `offset` steps above this one. The low 64 bits wrap around without a carry.
    @inlinable
    public func advanced(by offset: Int) -> APNSID {
        APNSID(high: high, low: low &+ UInt64(truncatingIfNeeded: offset))
    }

    public static func < (a: APNSID, b: APNSID) -> Bool {
        a.high != b.high ? a.high < b.high : a.low < b.low
    }
}

extension APNSID: CustomStringConvertible {
    public var description: String {
        String(unsafeUninitializedCapacity: Self.textLength) { output in
            write(to: UnsafeMutableRawBufferPointer(output))
            return Self.textLength
        }
    }
}

/// Conversion of single hexadecimal digits, without tables and without allocation.
public enum Hex {
    /// The value of a hexadecimal digit in either case; nil for any other byte.
    @inlinable @inline(__always)
    public static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte &- UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte &- UInt8(ascii: "a") &+ 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte &- UInt8(ascii: "A") &+ 10
        default: nil
        }
    }

    /// The lower-case digit of a value from 0 to 15.
    @inlinable @inline(__always)
    public static func digit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") &+ nibble : UInt8(ascii: "a") &+ nibble &- 10
    }
}
