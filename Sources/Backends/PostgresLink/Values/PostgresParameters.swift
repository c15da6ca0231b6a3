/// The parameters of one call, in binary form.
///
/// Small values and arrays share one buffer. A `bytea` of some size keeps the array that it came from, so that the only
/// copy is the one that libpq makes for its output.
package struct PostgresParameters: Sendable {
    enum Slot: Sendable {
        case null
        /// A range of `bytes`.
        case range(Range<Int>)
        case whole([UInt8])
    }

    private(set) var slots: [Slot] = []
    private(set) var bytes: [UInt8] = []
    package private(set) var types: [PostgresType] = []
    /// Bytes of all values.
    package private(set) var byteCount = 0

    /// A `bytea` of this size keeps its own array.
    private static let wholeBytesMin = 512

    package init() {}

    /// Appends a value, or NULL of the same type.
    package mutating func append<Value: PostgresValue>(_ value: Value?) {
        types.append(Value.postgresType)
        guard let value else {
            slots.append(.null)
            return
        }
        if let whole = value as? [UInt8], whole.count >= Self.wholeBytesMin {
            slots.append(.whole(whole))
            byteCount += whole.count
            return
        }
        let start = bytes.count
        value.encode(into: &bytes)
        finish(from: start)
    }

    /// Appends a one-dimensional array without NULLs, as `unnest` takes it.
    package mutating func append<Value: PostgresValue>(array values: some Collection<Value>) {
        let start = beginArray(of: Value.self, count: values.count, hasNull: false)
        for value in values { appendElement(value) }
        finish(from: start)
    }

    /// Appends a one-dimensional array in which nil is NULL.
    package mutating func append<Value: PostgresValue>(optionals values: some Collection<Value?>) {
        let start = beginArray(of: Value.self, count: values.count, hasNull: values.contains { $0 == nil })
        for value in values {
            if let value { appendElement(value) } else { bytes.append(bigEndian: Int32(-1)) }
        }
        finish(from: start)
    }

    /// Reserves capacity for values of this many bytes.
    package mutating func reserve(bytes count: Int) {
        bytes.reserveCapacity(bytes.count + count)
    }

    // The binary form of an array: dimensions, whether there are NULLs, element type, then size and lower bound of each
    // dimension, then each element with its length (array_recv in the server's arrayfuncs.c).
    private mutating func beginArray<Value: PostgresValue>(of type: Value.Type, count: Int, hasNull: Bool) -> Int {
        types.append(Value.postgresArrayType)
        let start = bytes.count
        bytes.append(bigEndian: Int32(count == 0 ? 0 : 1))
        bytes.append(bigEndian: Int32(hasNull ? 1 : 0))
        bytes.append(bigEndian: Value.postgresType.rawValue)
        if count > 0 {
            bytes.append(bigEndian: Int32(count))
            bytes.append(bigEndian: Int32(1))
        }
        return start
    }

    private mutating func appendElement<Value: PostgresValue>(_ value: Value) {
        let lengthIndex = bytes.count
        bytes.append(bigEndian: Int32(0))
        value.encode(into: &bytes)
        bytes.replace(at: lengthIndex, bigEndian: Int32(bytes.count - lengthIndex - 4))
    }

    private mutating func finish(from start: Int) {
        slots.append(.range(start..<bytes.count))
        byteCount += bytes.count - start
    }

    /// Calls `body` with a pointer to each value, nil for NULL, and its length.
    func withPointers<Result>(
        _ body: ([UnsafePointer<CChar>?], [Int32]) -> Result
    ) -> Result {
        // SAFETY: `bytes` and the arrays of `whole` slots are kept by `self`, unchanged, until `body` has returned. An
        // array's own storage does not move while it is not mutated.
        bytes.withUnsafeBytes { shared in
            var pointers: [UnsafePointer<CChar>?] = []
            var lengths: [Int32] = []
            pointers.reserveCapacity(slots.count)
            lengths.reserveCapacity(slots.count)
            return Self.collect(slots[...], shared, &pointers, &lengths, body)
        }
    }

    /// Nests one closure for each `whole` slot, so that all pointers are valid together.
    private static func collect<Result>(
        _ slots: ArraySlice<Slot>, _ shared: UnsafeRawBufferPointer, _ pointers: inout [UnsafePointer<CChar>?],
        _ lengths: inout [Int32], _ body: ([UnsafePointer<CChar>?], [Int32]) -> Result
    ) -> Result {
        for (index, slot) in zip(slots.indices, slots) {
            switch slot {
            case .null:
                pointers.append(nil)
                lengths.append(0)
            case .range(let range):
                // An empty buffer has no address, and nil would be NULL.
                let start = shared.baseAddress.map { $0 + range.lowerBound } ?? emptyValue
                pointers.append(start.assumingMemoryBound(to: CChar.self))
                lengths.append(Int32(range.count))
            case .whole(let array):
                // SAFETY: the pointer is used within the closure only.
                return array.withUnsafeBytes { whole in
                    pointers.append(whole.baseAddress?.assumingMemoryBound(to: CChar.self))
                    lengths.append(Int32(whole.count))
                    return collect(slots[(index + 1)...], shared, &pointers, &lengths, body)
                }
            }
        }
        return body(pointers, lengths)
    }

    // SAFETY: one byte that is never written or freed.
    private nonisolated(unsafe) static let emptyValue = UnsafeRawPointer(
        UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))
}
