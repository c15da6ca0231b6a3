import JSONText

/// Writes the members of one JSON object. Omits values that are nil and strings that are empty.
struct JSONObjectWriter {
    private(set) var bytes: [UInt8]
    private var isFirst = true

    /// Appends an object to `bytes`.
    static func object(to bytes: inout [UInt8], _ write: (inout JSONObjectWriter) -> Void) {
        var members = JSONObjectWriter(bytes: bytes)
        // The array must have a single owner; otherwise the first append copies it.
        bytes = []
        JSONWriter.append("{", to: &members.bytes)
        write(&members)
        JSONWriter.append("}", to: &members.bytes)
        bytes = members.bytes
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func string(_ name: some StringProtocol, _ value: String?) {
        guard let value, !value.isEmpty else { return }
        self.name(name)
        JSONWriter.appendString(value, to: &bytes)
    }

    mutating func integer(_ name: some StringProtocol, _ value: (some BinaryInteger)?) {
        guard let value else { return }
        self.name(name)
        JSONWriter.appendInteger(value, to: &bytes)
    }

    mutating func boolean(_ name: some StringProtocol, _ value: Bool) {
        self.name(name)
        JSONWriter.append(value ? "true" : "false", to: &bytes)
    }

    mutating func object(_ name: some StringProtocol, _ write: (inout JSONObjectWriter) -> Void) {
        self.name(name)
        JSONObjectWriter.object(to: &bytes, write)
    }

    mutating func array<Element>(
        _ name: some StringProtocol, _ elements: some Sequence<Element>, _ write: (Element, inout [UInt8]) -> Void
    ) {
        self.name(name)
        JSONWriter.append("[", to: &bytes)
        for (index, element) in elements.enumerated() {
            if index > 0 { JSONWriter.append(",", to: &bytes) }
            write(element, &bytes)
        }
        JSONWriter.append("]", to: &bytes)
    }

    private mutating func name(_ name: some StringProtocol) {
        if !isFirst { JSONWriter.append(",", to: &bytes) }
        isFirst = false
        JSONWriter.appendString(name, to: &bytes)
        JSONWriter.append(":", to: &bytes)
    }
}
