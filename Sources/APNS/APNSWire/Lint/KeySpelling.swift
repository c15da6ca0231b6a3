/// Detects misspelt keys.
enum KeySpelling {
    /// Whether `key` is probably a misspelling of `known`: other case or separators, or one typing error.
    static func isClose(_ key: String, to known: String) -> Bool {
        guard key != known, key.utf8.count <= known.utf8.count + 8 else { return false }
        let a = folded(key)
        let b = folded(known)
        if a == b { return true }
        // Short words have too many legitimate neighbours.
        guard b.count >= 4 else { return false }
        return isOneEditApart(a, b)
    }

    private static func folded(_ key: String) -> [UInt8] {
        key.utf8.compactMap { byte in
            switch byte {
            case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: " "): nil
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
            default: byte
            }
        }
    }

    /// Whether one byte was inserted, removed or replaced, or two neighbours were swapped.
    private static func isOneEditApart(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        guard abs(a.count - b.count) <= 1 else { return false }
        let start = zip(a, b).prefix { $0 == $1 }.count
        let restA = a[start...]
        let restB = b[start...]
        if a.count > b.count { return restA.dropFirst().elementsEqual(restB) }
        if a.count < b.count { return restA.elementsEqual(restB.dropFirst()) }
        if restA.dropFirst().elementsEqual(restB.dropFirst()) { return true }
        return restA.count >= 2 && restA.prefix(2).reversed().elementsEqual(restB.prefix(2))
            && restA.dropFirst(2).elementsEqual(restB.dropFirst(2))
    }
}
