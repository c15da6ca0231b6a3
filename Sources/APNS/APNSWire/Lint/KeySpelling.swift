/// Detects misspelt keys.
package enum KeySpelling {
    /// Longer names are not compared.
    private static let nameBytesMax = 40

    /// The key that `name` probably means; nil if there is none.
    static func closest<Key: PayloadKey>(to name: UnsafeRawBufferPointer, of keys: Key.Type) -> Key? {
        guard name.count <= nameBytesMax else { return nil }
        return withFolded(name) { folded in Key.allCases.first { isClose(name, folded, to: $0.label) } }
    }

    /// Whether `name` is probably a misspelling of `known`: other case or separators, or one typing error.
    package static func isClose(_ name: UnsafeRawBufferPointer, to known: StaticString) -> Bool {
        guard name.count <= known.utf8CodeUnitCount + 8, name.count <= nameBytesMax else { return false }
        // Short words have too many legitimate neighbours.
        if known.utf8CodeUnitCount < 4 { return isSpeltOtherwise(name, known) }
        return withFolded(name) { isClose(name, $0, to: known) }
    }

    private static func isClose(
        _ name: UnsafeRawBufferPointer, _ folded: UnsafeRawBufferPointer, to known: StaticString
    ) -> Bool {
        // Folding removes separators only, so the lengths rule out most keys.
        guard folded.count <= known.utf8CodeUnitCount + 1, name.count <= known.utf8CodeUnitCount + 8,
            known.utf8CodeUnitCount <= folded.count + 8, !name.equals(known)
        else { return false }
        return withFolded(UnsafeRawBufferPointer(start: known.utf8Start, count: known.utf8CodeUnitCount)) { known in
            folded.elementsEqual(known) || (known.count >= 4 && isOneEditApart(folded, known))
        }
    }

    /// Whether `name` is `known`, a word without separators, in other case or with separators.
    private static func isSpeltOtherwise(_ name: UnsafeRawBufferPointer, _ known: StaticString) -> Bool {
        var index = 0
        for byte in name where byte != UInt8(ascii: "-") && byte != UInt8(ascii: "_") && byte != UInt8(ascii: " ") {
            guard index < known.utf8CodeUnitCount, byte | 0x20 == known.utf8Start[index] else { return false }
            index += 1
        }
        return index == known.utf8CodeUnitCount && !name.equals(known)
    }

    /// Calls `body` with the bytes of `name` in lower case and without separators.
    private static func withFolded<Value>(
        _ name: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Value
    ) -> Value {
        withUnsafeTemporaryAllocation(byteCount: name.count, alignment: 1) { buffer in
            var count = 0
            for byte in name {
                switch byte {
                case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: " "): continue
                case UInt8(ascii: "A")...UInt8(ascii: "Z"): buffer[count] = byte | 0x20
                default: buffer[count] = byte
                }
                count += 1
            }
            return body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }

    /// Whether one byte was inserted, removed or replaced, or two neighbours were swapped.
    private static func isOneEditApart(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        guard abs(a.count - b.count) <= 1 else { return false }
        var start = 0
        while start < a.count, start < b.count, a[start] == b[start] { start += 1 }
        let restA = a[start...]
        let restB = b[start...]
        if a.count > b.count { return restA.dropFirst().elementsEqual(restB) }
        if a.count < b.count { return restA.elementsEqual(restB.dropFirst()) }
        if restA.dropFirst().elementsEqual(restB.dropFirst()) { return true }
        return restA.count >= 2 && restA.prefix(2).reversed().elementsEqual(restB.prefix(2))
            && restA.dropFirst(2).elementsEqual(restB.dropFirst(2))
    }
}
