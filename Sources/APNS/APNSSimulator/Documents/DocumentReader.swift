/// Reads a document strictly. It records each problem with its line and continues, so that all problems are reported
/// together.
struct DocumentReader {
    /// Collects the problems of one document.
    final class Problems {
        var list: [String] = []
    }

    let node: DocumentNode
    /// The path from the root, such as `phases[1].faults[0].status`.
    let path: String
    let problems: Problems

    /// Parses `bytes` and reads the document with `read`. Its result is dropped if it has reported a problem.
    static func read<Value>(
        _ bytes: [UInt8], _ read: (DocumentReader) -> Value
    ) throws(ControlDocumentError) -> Value {
        let problems = Problems()
        let value = read(DocumentReader(node: try DocumentNode.parse(bytes), path: "", problems: problems))
        guard problems.list.isEmpty else { throw ControlDocumentError(problems.list) }
        return value
    }

    /// The path, or "the document" for the root.
    var name: String { path.isEmpty ? "the document" : path }

    func report(_ problem: String) {
        problems.list.append((node.line.map { "line \($0): " } ?? "") + problem)
    }

    private func mustBe<Value>(_ what: String) -> Value? {
        report("\(name) must be \(what)")
        return nil
    }

    // MARK: Values

    func string() -> String? {
        switch node.value {
        case .string(let text): text
        // An unquoted YAML string that resembles a number, such as a device token.
        case .number(let text) where node.line != nil: text
        default: mustBe("a string")
        }
    }

    func boolean() -> Bool? {
        guard case .boolean(let value) = node.value else { return mustBe("true or false") }
        return value
    }

    func integer(_ range: ClosedRange<Int64>) -> Int64? {
        guard case .number(let text) = node.value, let value = Int64(text), range.contains(value) else {
            return mustBe("an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func count(_ range: ClosedRange<Int64> = 1...1_000_000_000) -> Int? { integer(range).map { Int($0) } }

    func share() -> Double? {
        guard case .number(let text) = node.value, let value = Double(text), (0...1).contains(value) else {
            return mustBe("a number from 0 to 1")
        }
        return value
    }

    /// `250ms`, `1.5s`, `2m`, `1h`; from zero to one day.
    func duration() -> Duration? {
        let expected = "a duration such as 250ms, 5s, 2m or 1h, and at most a day"
        guard case .string(let text) = node.value, let match = text.wholeMatch(of: /([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/),
            let number = Double(match.1)
        else { return mustBe(expected) }
        let seconds: Double =
            switch match.2 {
            case "ms": number / 1000
            case "s": number
            case "m": number * 60
            default: number * 3600
            }
        // Checked before the conversion, which traps on numbers that no duration can hold.
        guard seconds <= 86_400 else { return mustBe(expected) }
        return .microseconds((seconds * 1_000_000).rounded())
    }

    /// The value of the choice that the string names.
    func choice<Value>(_ choices: [(String, Value)]) -> Value? {
        if case .string(let text) = node.value, let choice = choices.first(where: { $0.0 == text }) {
            return choice.1
        }
        let names = choices.map(\.0)
        return mustBe(names.dropLast().joined(separator: ", ") + " or " + (names.last ?? ""))
    }

    /// A number, or a name from RFC 9113.
    func errorCode() -> UInt32? {
        if case .number = node.value { return integer(0...Int64(UInt32.max)).map { UInt32($0) } }
        guard let name = string() else { return nil }
        guard let code = Self.errorCodes.firstIndex(of: name) else {
            report("\(path) is not an HTTP/2 error code; use a number or a name such as REFUSED_STREAM")
            return nil
        }
        return UInt32(code)
    }

    func elements(countMax: Int) -> [DocumentReader] {
        guard case .array(let nodes) = node.value else { return mustBe("an array") ?? [] }
        if nodes.count > countMax { report("\(name) has more than \(countMax) elements") }
        return nodes.prefix(countMax).enumerated().map { index, node in
            DocumentReader(node: node, path: "\(path)[\(index)]", problems: problems)
        }
    }

    /// The members of the object. Returns nil and reports a problem for any other value.
    func members() -> MemberReader? {
        guard case .object(let members) = node.value else { return mustBe("an object") }
        return MemberReader(self, members)
    }

    var isObject: Bool {
        if case .object = node.value { true } else { false }
    }

    /// Source: RFC 9113, section 7. The index is the code.
    private static let errorCodes = [
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
        "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ]
}

/// The members of one object. Members that are never read are problems.
final class MemberReader {
    let reader: DocumentReader
    private let members: [(name: String, node: DocumentNode)]
    private var readNames: Set<String> = []

    init(_ reader: DocumentReader, _ members: [(name: String, node: DocumentNode)]) {
        self.reader = reader
        self.members = members
    }

    /// The member's value; nil if it is missing.
    func callAsFunction(_ name: String) -> DocumentReader? {
        readNames.insert(name)
        guard let member = members.first(where: { $0.name == name }) else { return nil }
        let path = reader.path.isEmpty ? name : "\(reader.path).\(name)"
        return DocumentReader(node: member.node, path: path, problems: reader.problems)
    }

    func has(_ name: String) -> Bool { members.contains { $0.name == name } }

    /// Reports every member that was not read.
    func finish() {
        for (name, node) in members where !readNames.contains(name) {
            DocumentReader(node: node, path: reader.path, problems: reader.problems)
                .report("\(reader.name) has an unknown member \"\(name)\"")
        }
    }
}
