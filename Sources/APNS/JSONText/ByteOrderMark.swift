/// The bytes EF BB BF, with which some editors and exports begin a text in UTF-8. RFC 8259, 8.1: a parser may ignore them.
package enum ByteOrderMark {
    package static let bytes: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// The length of the mark at the start of `text`; 0 without one.
    package static func length(in text: UnsafeRawBufferPointer) -> Int {
        text.count >= 3 && text[0] == 0xEF && text[1] == 0xBB && text[2] == 0xBF ? 3 : 0
    }
}
