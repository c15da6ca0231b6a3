/// A type of the server, by its number in `pg_type`, which is the same in every database.
package struct PostgresType: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static let bool = Self(rawValue: 16)
    package static let bytea = Self(rawValue: 17)
    package static let int8 = Self(rawValue: 20)
    package static let int2 = Self(rawValue: 21)
    package static let int4 = Self(rawValue: 23)
    package static let text = Self(rawValue: 25)
    package static let timestamptz = Self(rawValue: 1184)
    package static let uuid = Self(rawValue: 2950)
    package static let boolArray = Self(rawValue: 1000)
    package static let byteaArray = Self(rawValue: 1001)
    package static let int2Array = Self(rawValue: 1005)
    package static let int4Array = Self(rawValue: 1007)
    package static let textArray = Self(rawValue: 1009)
    package static let int8Array = Self(rawValue: 1016)
    package static let timestamptzArray = Self(rawValue: 1185)
    package static let uuidArray = Self(rawValue: 2951)

    /// Types whose binary form is that of `text`.
    static let textLike: Set<UInt32> = [25, 1043, 1042, 19, 114]
}

/// A Swift type with a binary form on the server.
package protocol PostgresValue: Sendable {
    static var postgresType: PostgresType { get }
    static var postgresArrayType: PostgresType { get }
    /// Appends the binary form.
    func encode(into bytes: inout [UInt8])
    /// - Returns: nil if the bytes are not of this type.
    init?(postgres bytes: UnsafeRawBufferPointer)
}

extension Bool: PostgresValue {
    package static var postgresType: PostgresType { .bool }
    package static var postgresArrayType: PostgresType { .boolArray }

    package func encode(into bytes: inout [UInt8]) { bytes.append(self ? 1 : 0) }

    package init?(postgres bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 1 else { return nil }
        self = bytes[0] != 0
    }
}

extension Int16: PostgresValue {
    package static var postgresType: PostgresType { .int2 }
    package static var postgresArrayType: PostgresType { .int2Array }
}

extension Int32: PostgresValue {
    package static var postgresType: PostgresType { .int4 }
    package static var postgresArrayType: PostgresType { .int4Array }
}

extension Int64: PostgresValue {
    package static var postgresType: PostgresType { .int8 }
    package static var postgresArrayType: PostgresType { .int8Array }
}

extension PostgresValue where Self: FixedWidthInteger {
    package func encode(into bytes: inout [UInt8]) { bytes.append(bigEndian: self) }

    package init?(postgres bytes: UnsafeRawBufferPointer) {
        guard bytes.count == MemoryLayout<Self>.size else { return nil }
        self = Self(bigEndian: bytes.loadUnaligned(as: Self.self))
    }
}

/// PostgreSQL has no text with a zero byte: a `String` with one is refused by the server.
extension String: PostgresValue {
    package static var postgresType: PostgresType { .text }
    package static var postgresArrayType: PostgresType { .textArray }

    package func encode(into bytes: inout [UInt8]) { bytes.append(contentsOf: utf8) }

    package init?(postgres bytes: UnsafeRawBufferPointer) {
        self.init(validating: bytes, as: UTF8.self)
    }
}

extension [UInt8]: PostgresValue {
    package static var postgresType: PostgresType { .bytea }
    package static var postgresArrayType: PostgresType { .byteaArray }

    package func encode(into bytes: inout [UInt8]) { bytes.append(contentsOf: self) }

    package init?(postgres bytes: UnsafeRawBufferPointer) {
        self.init(bytes)
    }
}

/// A `uuid` as two numbers, in the order of its text form.
package struct PostgresUUID: PostgresValue, Hashable {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package static var postgresType: PostgresType { .uuid }
    package static var postgresArrayType: PostgresType { .uuidArray }

    package func encode(into bytes: inout [UInt8]) {
        bytes.append(bigEndian: high)
        bytes.append(bigEndian: low)
    }

    package init?(postgres bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 16 else { return nil }
        high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
        low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }
}

/// A `timestamptz`.
package struct PostgresTimestamp: PostgresValue, Hashable, Comparable {
    /// Microseconds since 1970-01-01 00:00 UTC. `Int64.max` and `Int64.min` are the server's `infinity` and
    /// `-infinity`.
    package var microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// The server counts from 2000-01-01.
    private static let epoch: Int64 = 946_684_800_000_000

    package static var postgresType: PostgresType { .timestamptz }
    package static var postgresArrayType: PostgresType { .timestamptzArray }

    package func encode(into bytes: inout [UInt8]) {
        let isInfinite = microseconds == .max || microseconds == .min
        let (value, overflow) = microseconds.subtractingReportingOverflow(isInfinite ? 0 : Self.epoch)
        bytes.append(bigEndian: overflow ? .min : value)
    }

    package init?(postgres bytes: UnsafeRawBufferPointer) {
        guard let value = Int64(postgres: bytes) else { return nil }
        let isInfinite = value == .max || value == .min
        let (microseconds, overflow) = value.addingReportingOverflow(isInfinite ? 0 : Self.epoch)
        guard !overflow else { return nil }
        self.microseconds = microseconds
    }

    package static func < (a: Self, b: Self) -> Bool { a.microseconds < b.microseconds }
}

extension [UInt8] {
    /// Appends a number in network byte order.
    mutating func append<Number: FixedWidthInteger>(bigEndian number: Number) {
        // SAFETY: the pointer is to a local copy and is used within the closure only.
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }

    /// Replaces the four bytes at `index`.
    mutating func replace(at index: Int, bigEndian number: Int32) {
        for byte in 0..<4 { self[index + byte] = UInt8(truncatingIfNeeded: number >> (24 - 8 * Int32(byte))) }
    }
}
