#if Postgres
import CPostgres

// SAFETY: libpq does not change a result after it was returned, its accessors only read, and only `deinit` frees it.

/// The result of one statement. Values are read in place; a row is a number.
package final class PostgresRows: @unchecked Sendable {
    private let result: OpaquePointer
    /// Rows that the statement returned.
    package let count: Int
    package let columnCount: Int

    init(_ result: OpaquePointer) {
        self.result = result
        count = Int(PQntuples(result))
        columnCount = Int(PQnfields(result))
    }

    deinit {
        PQclear(result)
    }

    /// Rows that an INSERT, UPDATE or DELETE changed, or that a SELECT returned; 0 for other statements.
    package var affectedCount: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

    /// - Precondition: `row` and `column` exist.
    package func isNull(_ row: Int, _ column: Int) -> Bool {
        check(row, column)
        return PQgetisnull(result, Int32(row), Int32(column)) != 0
    }

    /// The value of a column that is never NULL.
    ///
    /// - Throws: `invalid` for NULL and for a column of another type.
    /// - Precondition: `row` and `column` exist.
    package func value<Value: PostgresValue>(
        _ row: Int, _ column: Int, as type: Value.Type = Value.self
    ) throws(PostgresError) -> Value {
        guard let value = try optional(row, column, as: type) else { throw mismatch(column, "is NULL") }
        return value
    }

    /// The value of a column, nil for NULL.
    ///
    /// - Throws: `invalid` for a column of another type.
    /// - Precondition: `row` and `column` exist.
    package func optional<Value: PostgresValue>(
        _ row: Int, _ column: Int, as type: Value.Type = Value.self
    ) throws(PostgresError) -> Value? {
        try checkType(column, Value.postgresType)
        guard !isNull(row, column) else { return nil }
        guard let value = withBytes(row, column, { Value(postgres: $0) }) else {
            throw mismatch(column, "is not \(Value.self)")
        }
        return value
    }

    /// The elements of a one-dimensional array, nil for NULL; empty if the column is NULL or the array is empty.
    ///
    /// - Throws: `invalid` for a column of another type or with more dimensions.
    /// - Precondition: `row` and `column` exist.
    package func array<Value: PostgresValue>(
        _ row: Int, _ column: Int, of type: Value.Type = Value.self
    ) throws(PostgresError) -> [Value?] {
        try checkType(column, Value.postgresArrayType)
        guard !isNull(row, column) else { return [] }
        guard let values = withBytes(row, column, { PostgresArray.decode($0, of: type) }) else {
            throw mismatch(column, "is not an array of \(Value.self)")
        }
        return values
    }

    /// Calls `body` with the binary form of a value, without a copy; with no bytes for NULL.
    ///
    /// - Precondition: `row` and `column` exist.
    package func withBytes<Result>(
        _ row: Int, _ column: Int, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        check(row, column)
        let start = PQgetvalue(result, Int32(row), Int32(column))
        let length = Int(PQgetlength(result, Int32(row), Int32(column)))
        // The result lives until `body` has returned.
        return try withExtendedLifetime(self) { try body(UnsafeRawBufferPointer(start: start, count: length)) }
    }

    private func check(_ row: Int, _ column: Int) {
        precondition(0..<count ~= row && 0..<columnCount ~= column, "there is no row \(row) with column \(column)")
    }

    private func checkType(_ column: Int, _ type: PostgresType) throws(PostgresError) {
        let actual = PQftype(result, Int32(column))
        guard actual == type.rawValue || (type == .text && PostgresType.textLike.contains(actual)) else {
            throw mismatch(column, "has type \(actual), not \(type.rawValue)")
        }
    }

    private func mismatch(_ column: Int, _ what: String) -> PostgresError {
        PostgresError(.invalid, "column \(column) of the result \(what)")
    }
}

/// The binary form of arrays.
enum PostgresArray {
    /// - Returns: nil if the bytes are not a one-dimensional array of this type.
    static func decode<Value: PostgresValue>(_ bytes: UnsafeRawBufferPointer, of type: Value.Type) -> [Value?]? {
        func number(_ offset: Int) -> Int32? {
            guard offset + 4 <= bytes.count else { return nil }
            return Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
        }
        guard let dimensions = number(0), let element = number(8) else { return nil }
        if dimensions == 0 { return [] }
        guard dimensions == 1, element == Int32(bitPattern: Value.postgresType.rawValue), let count = number(12),
            count >= 0, Int(count) <= bytes.count / 4
        else { return nil }
        var values: [Value?] = []
        values.reserveCapacity(Int(count))
        var offset = 20
        for _ in 0..<count {
            guard let length = number(offset) else { return nil }
            offset += 4
            if length == -1 {
                values.append(nil)
                continue
            }
            guard length >= 0, offset + Int(length) <= bytes.count,
                let value = Value(postgres: UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + Int(length))]))
            else { return nil }
            values.append(value)
            offset += Int(length)
        }
        return offset == bytes.count ? values : nil
    }
}
#endif
