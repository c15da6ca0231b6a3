import CNGHTTP2

/// A header block under construction, in one reusable byte array.
///
/// Put fields that many requests share first; `truncate` removes the fields after them.
package struct HTTP2Headers: Sendable {
    /// A block with more fields is a programming error.
    static let fieldsMax = 32

    private struct Field {
        var nameStart: Int
        var nameLength: Int
        var valueLength: Int
        var isIndexed: Bool
    }

    private var bytes: [UInt8] = []
    private var fields: [Field] = []

    package init() {}

    package var count: Int { fields.count }

    /// Appends a field.
    ///
    /// - Parameters:
    ///   - name: lower case.
    ///   - isIndexed: false for values that differ in each request, so that they do not evict useful ones from the
    ///     peer's small HPACK table.
    package mutating func append(_ name: StaticString, _ value: some StringProtocol, isIndexed: Bool = true) {
        begin(name, isIndexed: isIndexed)
        bytes.append(contentsOf: value.utf8)
        end()
    }

    package mutating func append(_ name: StaticString, _ value: StaticString, isIndexed: Bool = true) {
        begin(name, isIndexed: isIndexed)
        bytes.append(contentsOf: UnsafeBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
        end()
    }

    /// Appends a field whose name is known at run time only; lower case.
    package mutating func append(named name: String, _ value: String, isIndexed: Bool = true) {
        precondition(fields.count < Self.fieldsMax, "more than \(Self.fieldsMax) header fields")
        fields.append(
            Field(nameStart: bytes.count, nameLength: name.utf8.count, valueLength: 0, isIndexed: isIndexed)
        )
        bytes.append(contentsOf: name.utf8)
        bytes.append(contentsOf: value.utf8)
        end()
    }

    /// Appends a field whose value `write` appends to the array passed to it.
    @inlinable
    package mutating func append(_ name: StaticString, isIndexed: Bool, write: (inout [UInt8]) -> Void) {
        appendValue(name, isIndexed: isIndexed, write)
    }

    @usableFromInline
    mutating func appendValue(_ name: StaticString, isIndexed: Bool, _ write: (inout [UInt8]) -> Void) {
        begin(name, isIndexed: isIndexed)
        write(&bytes)
        end()
    }

    /// Keeps the first `count` fields and removes the rest.
    package mutating func truncate(to count: Int) {
        guard count < fields.count else { return }
        bytes.removeSubrange(fields[count].nameStart...)
        fields.removeSubrange(count...)
    }

    /// Overwrites the value of the field at `index`: a cheap way to build a block that differs from the previous one in
    /// a few values of fixed length.
    ///
    /// - Parameter write: receives the value's bytes; their number cannot change.
    package mutating func overwriteValue(at index: Int, _ write: (UnsafeMutableRawBufferPointer) -> Void) {
        let field = fields[index]
        let start = field.nameStart + field.nameLength
        bytes.withUnsafeMutableBytes { all in
            write(UnsafeMutableRawBufferPointer(rebasing: all[start..<start + field.valueLength]))
        }
    }

    private mutating func begin(_ name: StaticString, isIndexed: Bool) {
        precondition(fields.count < Self.fieldsMax, "more than \(Self.fieldsMax) header fields")
        fields.append(
            Field(
                nameStart: bytes.count, nameLength: name.utf8CodeUnitCount, valueLength: 0, isIndexed: isIndexed
            )
        )
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }

    private mutating func end() {
        let last = fields.count - 1
        fields[last].valueLength = bytes.count - fields[last].nameStart - fields[last].nameLength
    }

    /// Converts the fields to the library's layout, in `scratch`.
    func withFields<Result>(
        _ scratch: UnsafeMutablePointer<nghttp2_nv>, _ body: (UnsafePointer<nghttp2_nv>, Int) -> Result
    ) -> Result {
        bytes.withUnsafeBufferPointer { buffer in
            // SAFETY: the library copies names and values before the call returns (no NO_COPY flag is set) and does
            // not write through these pointers, although C declares them mutable. `scratch` holds `fieldsMax` fields.
            let base = UnsafeMutablePointer(mutating: buffer.baseAddress!)
            for (index, field) in fields.enumerated() {
                let flags = field.isIndexed ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX
                scratch[index] = nghttp2_nv(
                    name: base + field.nameStart, value: base + field.nameStart + field.nameLength,
                    namelen: field.nameLength, valuelen: field.valueLength, flags: UInt8(flags.rawValue)
                )
            }
            return body(scratch, fields.count)
        }
    }
}
