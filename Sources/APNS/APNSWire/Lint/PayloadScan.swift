package import JSONText

/// The members of a payload that the rules need, collected in the pass that validates its JSON.
///
/// A set of bits for each property of a value, by key, so that a rule about all keys is one comparison. Plain memory:
/// reading allocates only for a payload with a repeated, misplaced or misspelt key.
package struct PayloadScan {
    enum FormatError: Equatable {
        case notObject
        case malformed(JSONError)
    }

    /// A fault of a key.
    enum Fault: Equatable {
        /// The key occurs twice.
        case repeated(String)
        /// An unknown key resembles a known one.
        case misspelt(String, known: String)
        /// A key of `aps` is next to it instead of inside it.
        case misplaced(APSKey)
    }

    /// nil if the payload is a JSON object.
    private(set) var formatError: FormatError?
    /// nil if there is no member `aps`.
    private(set) var apsKind: JSONReader.Kind?
    /// `event`; nil if it is missing or not one of the events.
    private(set) var event: LiveActivityContent.Event?
    private(set) var faults: [Fault] = []

    /// The keys that occur.
    private(set) var seen = PayloadKeys()
    private(set) var strings = PayloadKeys()
    private(set) var numbers = PayloadKeys()
    private(set) var arrays = PayloadKeys()
    private(set) var objects = PayloadKeys()
    /// The value is `true`.
    private(set) var trues = PayloadKeys()
    /// The value is the number 1.
    private(set) var ones = PayloadKeys()
    /// Numbers without fraction and exponent.
    private(set) var integers = PayloadKeys()
    private(set) var negatives = PayloadKeys()
    /// Numbers from 0 to 1.
    private(set) var units = PayloadKeys()
    /// Numbers that are probably milliseconds.
    private(set) var milliseconds = PayloadKeys()
    /// Texts that are none of the values of their key.
    private(set) var undefined = PayloadKeys()

    package init() {}

    private mutating func reset() { self = PayloadScan() }

    /// Records that a key occurs, without its value.
    ///
    /// - Returns: whether it occurred before; the value before is removed.
    private mutating func insert(_ key: PayloadKeys) -> Bool {
        guard seen.contains(key) else {
            seen.formUnion(key)
            return false
        }
        strings.subtract(key)
        numbers.subtract(key)
        arrays.subtract(key)
        objects.subtract(key)
        trues.subtract(key)
        ones.subtract(key)
        integers.subtract(key)
        negatives.subtract(key)
        units.subtract(key)
        milliseconds.subtract(key)
        undefined.subtract(key)
        return true
    }

    // MARK: Reading

    /// Reads a whole payload.
    mutating func read(_ bytes: UnsafeRawBufferPointer) {
        reset()
        var reader = JSONReader(bytes)
        do throws(JSONError) {
            if try reader.peekKind() == .object {
                try readObject(&reader)
                try reader.finish()
            } else {
                try reader.skipValue()
                try reader.finish()
                formatError = .notObject
            }
        } catch {
            formatError = .malformed(error)
        }
    }

    /// Reads the object that follows in `reader`, and validates it.
    ///
    /// - Returns: the range of the object in the bytes of `reader`.
    @discardableResult
    package mutating func readObject(_ reader: inout JSONReader) throws(JSONError) -> Range<Int> {
        reset()
        reader.skipWhitespace()
        let start = reader.position
        try reader.enterObject()
        var isFirst = true
        while let key = try reader.nextKey(isFirst: isFirst) {
            isFirst = false
            try readRoot(key, &reader)
        }
        return start..<reader.position
    }

    private mutating func readRoot(_ key: JSONReader.Text, _ reader: inout JSONReader) throws(JSONError) {
        switch reader.withName(key, RootName.init) {
        case .aps:
            if apsKind != nil { faults.append(.repeated("aps")) }
            let kind = try reader.peekKind()
            apsKind = kind
            guard kind == .object else {
                try reader.skipValue(depth: 1)
                return
            }
            try reader.enterObject()
            var isFirst = true
            while let key = try reader.nextKey(isFirst: isFirst) {
                isFirst = false
                try readAPS(key, &reader)
            }
        case .known(let key):
            _ = insert(key.bit)
            try readValue(of: key.bit, try reader.peekKind(), &reader, depth: 1)
        case .misplaced(let key):
            faults.append(.misplaced(key))
            try reader.skipValue(depth: 1)
        case .misspelt:
            faults.append(.misspelt(reader.text(key), known: "aps"))
            try reader.skipValue(depth: 1)
        case .custom: try reader.skipValue(depth: 1)
        }
    }

    private mutating func readAPS(_ name: JSONReader.Text, _ reader: inout JSONReader) throws(JSONError) {
        guard let key = reader.withName(name, APSKey.init) else {
            recordMisspelling(name, in: reader, of: APSKey.self)
            try reader.skipValue(depth: 2)
            return
        }
        let bit = key.bit
        if insert(bit) { faults.append(.repeated("\(key.label)")) }
        let kind = try reader.peekKind()
        switch (key, kind) {
        case (.alert, .object):
            objects.formUnion(bit)
            try reader.enterObject()
            var isFirst = true
            while let key = try reader.nextKey(isFirst: isFirst) {
                isFirst = false
                try readAlert(key, &reader)
            }
        case (.sound, .object):
            objects.formUnion(bit)
            try readSound(&reader, depth: 3)
        case (.event, .string):
            event = LiveActivityContent.Event(rawValue: try readText(of: bit, &reader))
        case (.interruptionLevel, .string):
            if InterruptionLevel(rawValue: try readText(of: bit, &reader)) == nil { undefined.formUnion(bit) }
        case (.pttPushType, .string):
            if PushToTalkPushType(rawValue: try readText(of: bit, &reader)) == nil { undefined.formUnion(bit) }
        case (.inputPushChannel, .string):
            if ChannelID(try readText(of: bit, &reader)) == nil { undefined.formUnion(bit) }
        case (.event, _):
            event = nil
            try readValue(of: bit, kind, &reader, depth: 2)
        default: try readValue(of: bit, kind, &reader, depth: 2)
        }
    }

    private mutating func readAlert(_ name: JSONReader.Text, _ reader: inout JSONReader) throws(JSONError) {
        guard let key = reader.withName(name, AlertKey.init) else {
            recordMisspelling(name, in: reader, of: AlertKey.self)
            try reader.skipValue(depth: 3)
            return
        }
        if insert(key.bit) { faults.append(.repeated("\(key.label)")) }
        let kind = try reader.peekKind()
        if key == .sound, kind == .object {
            objects.formUnion(key.bit)
            try readSound(&reader, depth: 4)
        } else {
            try readValue(of: key.bit, kind, &reader, depth: 3)
        }
    }

    private mutating func readSound(_ reader: inout JSONReader, depth: Int) throws(JSONError) {
        try reader.enterObject()
        var isFirst = true
        while let name = try reader.nextKey(isFirst: isFirst) {
            isFirst = false
            if let key = reader.withName(name, SoundKey.init) {
                _ = insert(key.bit)
                try readValue(of: key.bit, try reader.peekKind(), &reader, depth: depth)
            } else {
                recordMisspelling(name, in: reader, of: SoundKey.self)
                try reader.skipValue(depth: depth)
            }
        }
    }

    private mutating func recordMisspelling<Key: PayloadKey>(
        _ name: JSONReader.Text, in reader: JSONReader, of keys: Key.Type
    ) {
        let intended = reader.withName(name) { KeySpelling.closest(to: $0, of: Key.self) }
        if let intended { faults.append(.misspelt(reader.text(name), known: "\(intended.label)")) }
    }

    // MARK: Values

    private mutating func readText(of key: PayloadKeys, _ reader: inout JSONReader) throws(JSONError) -> String {
        strings.formUnion(key)
        return reader.text(try reader.readString())
    }

    private mutating func readValue(
        of key: PayloadKeys, _ kind: JSONReader.Kind, _ reader: inout JSONReader, depth: Int
    ) throws(JSONError) {
        switch kind {
        case .string:
            _ = try reader.readString()
            strings.formUnion(key)
        case .boolean:
            if try reader.readBoolean() { trues.formUnion(key) }
        case .null: try reader.readNull()
        case .number: setNumber(UnsafeRawBufferPointer(rebasing: reader.bytes[try reader.skipValue()]), of: key)
        case .array:
            try reader.skipValue(depth: depth)
            arrays.formUnion(key)
        case .object:
            try reader.skipValue(depth: depth)
            objects.formUnion(key)
        }
    }

    /// - Parameter text: a number of JSON.
    private mutating func setNumber(_ text: UnsafeRawBufferPointer, of key: PayloadKeys) {
        numbers.formUnion(key)
        if !text.contains(where: { $0 == UInt8(ascii: ".") || $0 | 0x20 == UInt8(ascii: "e") }) {
            integers.formUnion(key)
        }
        let number = Self.number(text)
        if number == 1 { ones.formUnion(key) }
        if number < 0 { negatives.formUnion(key) }
        if (0...1).contains(number) { units.formUnion(key) }
        if number >= Double(HeaderLint.millisecondsMin) { milliseconds.formUnion(key) }
    }

    private static func number(_ text: UnsafeRawBufferPointer) -> Double {
        var value = 0
        // Up to 15 digits fit exactly.
        guard text.count <= 15 else { return slowNumber(text) }
        for byte in text {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return slowNumber(text) }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return Double(value)
    }

    private static func slowNumber(_ text: UnsafeRawBufferPointer) -> Double {
        // `Double` accepts every number that the reader accepts.
        Double(String(decoding: text, as: UTF8.self)) ?? .infinity
    }
}

extension JSONReader {
    /// `withBytes` of the other module, which is not specialized here.
    @inline(__always)
    fileprivate func withName<Value>(_ name: Text, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        if name.isEscaped { return withBytes(of: name, body) }
        return body(UnsafeRawBufferPointer(rebasing: bytes[name.contents]))
    }
}
