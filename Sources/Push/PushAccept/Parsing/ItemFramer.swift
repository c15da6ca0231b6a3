import JSONText

/// Splits a body that arrives in chunks into items, in memory bounded by the size of one item.
///
/// Pure: input is chunks, output is items by a closure. An item within one chunk is not copied; only an item that spans
/// chunks is. There are two formats: lines, and the elements of one JSON array. The framer only finds the end of each
/// item; the parser validates it. A byte order mark at the start of the body is skipped.
package struct ItemFramer {
    package enum Format: Sendable {
        case lines
        case array
    }

    package enum Item {
        case bytes(UnsafeRawBufferPointer)
        /// Longer than `itemBytesMax`; its bytes were dropped.
        case tooLarge
    }

    /// How the body ended.
    package enum Ending: Sendable, Equatable {
        case clean
        /// Within an item.
        case truncated
        /// After the end of the array, with further text.
        case trailing
        /// The body does not start with an array; there was no item.
        case notAnArray
    }

    private enum State {
        case beforeArray
        /// Before the first character of an item.
        case beforeItem
        case inItem
        case afterArray
    }

    let format: Format
    let itemBytesMax: Int
    private var state: State
    /// How many bytes of a byte order mark the body began with so far; nil after its start.
    private var markLength: Int? = 0
    /// The bytes so far of an item whose end has not arrived.
    private var carry: [UInt8] = []
    /// Whether the item in progress is too large already, so that its bytes are dropped.
    private var isSkipping = false
    // The scan of the item in progress; array format only.
    private var depth = 0
    private var isInString = false
    private var isEscape = false
    private var isEmptyArray = true
    private var ending = Ending.clean

    package init(format: Format, itemBytesMax: Int) {
        self.format = format
        self.itemBytesMax = itemBytesMax
        state = format == .lines ? .beforeItem : .beforeArray
    }

    /// Whether further input is ignored.
    package var isFinished: Bool { ending != .clean }

    package mutating func feed(_ chunk: UnsafeRawBufferPointer, _ emit: (Item) -> Void) {
        var chunk = chunk
        while let length = markLength, let first = chunk.first {
            if length < ByteOrderMark.bytes.count, first == ByteOrderMark.bytes[length] {
                markLength = length + 1
                chunk = UnsafeRawBufferPointer(rebasing: chunk.dropFirst())
            } else {
                endMark(emit)
            }
        }
        if !isFinished { split(chunk, emit) }
    }

    /// Ends the start of the body. A part of a mark is ordinary, though invalid, text.
    private mutating func endMark(_ emit: (Item) -> Void) {
        guard let length = markLength else { return }
        markLength = nil
        guard length < ByteOrderMark.bytes.count else { return }
        ByteOrderMark.bytes[..<length].withUnsafeBytes { split($0, emit) }
    }

    private mutating func split(_ chunk: UnsafeRawBufferPointer, _ emit: (Item) -> Void) {
        switch format {
        case .lines: feedLines(chunk, emit)
        case .array: feedArray(chunk, emit)
        }
    }

    /// Ends the body.
    ///
    /// - Parameters:
    ///   - isCutOff: the connection closed early, so an item in progress is truncated even if it looks complete.
    ///   - emit: receives the last line of a body that does not end in a line feed.
    package mutating func end(isCutOff: Bool, _ emit: (Item) -> Void) -> Ending {
        endMark(emit)
        if ending != .clean { return ending }
        switch (format, state) {
        case (.lines, _):
            if isSkipping {
                emit(.tooLarge)
                return .clean
            }
            if carry.allSatisfy(Self.isSpace) { return .clean }
            if isCutOff { return .truncated }
            carry.withUnsafeBytes { emit(.bytes($0)) }
            carry = []
            return .clean
        case (.array, .afterArray): return .clean
        case (.array, .beforeArray): return isCutOff ? .truncated : .notAnArray
        case (.array, _): return .truncated
        }
    }

    // MARK: Lines

    private mutating func feedLines(_ chunk: UnsafeRawBufferPointer, _ emit: (Item) -> Void) {
        var start = 0
        while start < chunk.count {
            guard let end = Self.firstIndex(of: UInt8(ascii: "\n"), in: chunk, from: start) else {
                keep(UnsafeRawBufferPointer(rebasing: chunk[start...]))
                return
            }
            finishItem(UnsafeRawBufferPointer(rebasing: chunk[start..<end]), skipBlank: true, emit)
            start = end + 1
        }
    }

    // MARK: The array

    private mutating func feedArray(_ chunk: UnsafeRawBufferPointer, _ emit: (Item) -> Void) {
        var index = 0
        while index < chunk.count {
            switch state {
            case .inItem:
                let start = index
                guard let end = scanItem(chunk, from: start) else {
                    keep(UnsafeRawBufferPointer(rebasing: chunk[start...]))
                    return
                }
                finishItem(UnsafeRawBufferPointer(rebasing: chunk[start..<end]), skipBlank: false, emit)
                isEmptyArray = false
                state = chunk[end] == UInt8(ascii: "]") ? .afterArray : .beforeItem
                index = end + 1
            case .beforeArray:
                if chunk[index] == UInt8(ascii: "[") {
                    state = .beforeItem
                } else if !Self.isSpace(chunk[index]) {
                    ending = .notAnArray
                    return
                }
                index += 1
            case .beforeItem:
                if Self.isSpace(chunk[index]) {
                    index += 1
                } else if isEmptyArray, chunk[index] == UInt8(ascii: "]") {
                    state = .afterArray
                    index += 1
                } else {
                    // A comma or bracket here is an empty item, which the parser refuses.
                    state = .inItem
                    depth = 0
                    isInString = false
                    isEscape = false
                }
            case .afterArray:
                guard Self.isSpace(chunk[index]) else {
                    ending = .trailing
                    return
                }
                index += 1
            }
        }
    }

    /// The index of the comma or bracket that ends the item in progress; nil if it is not in `chunk`.
    private mutating func scanItem(_ chunk: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var index = start
        while index < chunk.count {
            let byte = chunk[index]
            if isInString {
                if isEscape {
                    isEscape = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscape = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
            } else {
                switch byte {
                case UInt8(ascii: "\""): isInString = true
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"): depth = max(depth - 1, 0)
                case UInt8(ascii: "]"):
                    if depth == 0 { return index }
                    depth -= 1
                case UInt8(ascii: ","):
                    if depth == 0 { return index }
                default: break
                }
            }
            index += 1
        }
        return nil
    }

    // MARK: Items

    private mutating func keep(_ part: UnsafeRawBufferPointer) {
        if isSkipping { return }
        guard carry.count + part.count <= itemBytesMax else {
            isSkipping = true
            carry = []
            return
        }
        carry.append(contentsOf: part)
    }

    private mutating func finishItem(_ rest: UnsafeRawBufferPointer, skipBlank: Bool, _ emit: (Item) -> Void) {
        if isSkipping {
            isSkipping = false
            emit(.tooLarge)
        } else if carry.isEmpty {
            finish(rest, skipBlank: skipBlank, emit)
        } else if carry.count + rest.count > itemBytesMax {
            carry.removeAll(keepingCapacity: true)
            emit(.tooLarge)
        } else {
            carry.append(contentsOf: rest)
            carry.withUnsafeBytes { finish($0, skipBlank: skipBlank, emit) }
            carry.removeAll(keepingCapacity: true)
        }
    }

    private func finish(_ bytes: UnsafeRawBufferPointer, skipBlank: Bool, _ emit: (Item) -> Void) {
        if bytes.count > itemBytesMax {
            emit(.tooLarge)
        } else if !skipBlank || !bytes.allSatisfy(Self.isSpace) {
            emit(.bytes(bytes))
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }

    private static func firstIndex(of byte: UInt8, in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        // Eight bytes at a time, with the usual test for a zero byte in a word.
        let pattern = 0x0101_0101_0101_0101 &* UInt64(byte)
        var index = start
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ pattern
            if (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 != 0 { break }
            index += 8
        }
        while index < bytes.count {
            if bytes[index] == byte { return index }
            index += 1
        }
        return nil
    }
}
