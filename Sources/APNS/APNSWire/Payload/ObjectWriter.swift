import JSONText

/// Writes one JSON object, member by member. Members that are nil are left out.
struct ObjectWriter {
    private var bytes = [UInt8(ascii: "{")]
    /// Whether an infinity or a NaN was passed. The text is then invalid.
    private(set) var isNotFinite = false
    private var isFirst = true

    mutating func finish() -> [UInt8] {
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    mutating func write(_ key: StaticString, _ value: String?) {
        guard let value else { return }
        start(key)
        JSONWriter.appendString(value, to: &bytes)
    }

    mutating func write(_ key: StaticString, _ value: (some BinaryInteger)?) {
        guard let value else { return }
        start(key)
        JSONWriter.appendInteger(value, to: &bytes)
    }

    mutating func write(_ key: StaticString, _ value: Double?) {
        guard let value else { return }
        start(key)
        if !JSONWriter.appendNumber(value, to: &bytes) { isNotFinite = true }
    }

    mutating func write(_ key: StaticString, _ value: [String]?) {
        guard let value else { return }
        start(key)
        bytes.append(UInt8(ascii: "["))
        for (index, text) in value.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            JSONWriter.appendString(text, to: &bytes)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    /// Writes `value`, which must be JSON, unchanged.
    mutating func write(_ key: StaticString, json value: [UInt8]?) {
        guard let value else { return }
        start(key)
        bytes += value
    }

    mutating func write(_ member: PayloadMember) {
        separate()
        JSONWriter.appendString(member.key, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        bytes += member.json
    }

    /// Writes the number 1 if `isSet`; otherwise nothing.
    mutating func writeFlag(_ key: StaticString, _ isSet: Bool) {
        if isSet { write(key, 1) }
    }

    /// Writes `true` if `isSet`; otherwise nothing.
    mutating func writeTrue(_ key: StaticString, _ isSet: Bool) {
        guard isSet else { return }
        start(key)
        JSONWriter.append("true", to: &bytes)
    }

    mutating func writeObject(_ key: StaticString, _ body: (inout ObjectWriter) -> Void) {
        start(key)
        bytes.append(UInt8(ascii: "{"))
        isFirst = true
        body(&self)
        bytes.append(UInt8(ascii: "}"))
        isFirst = false
    }

    private mutating func start(_ key: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        // Keys are constants that need no escapes.
        JSONWriter.append(key, to: &bytes)
        JSONWriter.append("\":", to: &bytes)
    }

    private mutating func separate() {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
    }
}
