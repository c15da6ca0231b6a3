/// A strict walk through a document: what is wrong is noted with its place, and the walk goes on, so that all problems
/// are told at once.
struct DocumentReader {
    /// Collects what is wrong; one per document.
    final class Problems {
        var list: [String] = []
    }

    let node: DocumentNode
    /// Names from the root, as in `phases[1].faults[0].status`.
    let place: String
    let problems: Problems

    /// Reads all of `bytes` with `read`, which may return anything when it has noted a problem.
    static func read<Value>(
        _ bytes: [UInt8], _ read: (DocumentReader) -> Value
    ) throws(ControlDocumentError) -> Value {
        let problems = Problems()
        let value = read(DocumentReader(node: try DocumentNode.parse(bytes), place: "", problems: problems))
        guard problems.list.isEmpty else { throw ControlDocumentError(problems.list) }
        return value
    }

    var name: String { place.isEmpty ? "the document" : place }

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
        // A word of YAML that happens to look like a number, say a device token.
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

    /// `250ms`, `1.5s`, `2m`, `1h`; from nothing to a day.
    func duration() -> Duration? {
        let what = "a time like 250ms, 5s, 2m or 1h, and a day at most"
        guard case .string(let text) = node.value, let match = text.wholeMatch(of: /([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/),
            let number = Double(match.1)
        else { return mustBe(what) }
        let seconds: Double =
            switch match.2 {
            case "ms": number / 1000
            case "s": number
            case "m": number * 60
            default: number * 3600
            }
        // Before it is made one: a number that no duration can hold would end the process.
        guard seconds <= 86_400 else { return mustBe(what) }
        return .microseconds((seconds * 1_000_000).rounded())
    }

    /// One of `choices`, by name.
    func choice<Value>(_ choices: [(String, Value)]) -> Value? {
        if case .string(let text) = node.value, let choice = choices.first(where: { $0.0 == text }) {
            return choice.1
        }
        let names = choices.map(\.0)
        return mustBe(names.dropLast().joined(separator: ", ") + " or " + (names.last ?? ""))
    }

    /// A number, or one of RFC 9113's names.
    func errorCode() -> UInt32? {
        if case .number = node.value { return integer(0...Int64(UInt32.max)).map { UInt32($0) } }
        guard let name = string() else { return nil }
        guard let code = Self.errorCodes.firstIndex(of: name) else {
            report("\(place) is no HTTP/2 error code; a number or a name like REFUSED_STREAM is")
            return nil
        }
        return UInt32(code)
    }

    func elements(countMax: Int) -> [DocumentReader] {
        guard case .array(let nodes) = node.value else { return mustBe("an array") ?? [] }
        if nodes.count > countMax { report("\(name) has more than \(countMax) elements") }
        return nodes.prefix(countMax).enumerated().map { index, node in
            DocumentReader(node: node, place: "\(place)[\(index)]", problems: problems)
        }
    }

    /// - Returns: nil when it is no object, which is noted.
    func members() -> MemberReader? {
        guard case .object(let members) = node.value else { return mustBe("an object") }
        return MemberReader(self, members)
    }

    var isObject: Bool {
        if case .object = node.value { true } else { false }
    }

    /// RFC 9113, section 7, by number.
    private static let errorCodes = [
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
        "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ]
}

/// The members of one object; those nobody asked for are problems.
final class MemberReader {
    let reader: DocumentReader
    private let members: [(name: String, node: DocumentNode)]
    private var asked: Set<String> = []

    init(_ reader: DocumentReader, _ members: [(name: String, node: DocumentNode)]) {
        self.reader = reader
        self.members = members
    }

    /// The member's value, or nil when there is none.
    func callAsFunction(_ name: String) -> DocumentReader? {
        asked.insert(name)
        guard let member = members.first(where: { $0.name == name }) else { return nil }
        let place = reader.place.isEmpty ? name : "\(reader.place).\(name)"
        return DocumentReader(node: member.node, place: place, problems: reader.problems)
    }

    func has(_ name: String) -> Bool { members.contains { $0.name == name } }

    /// Notes every member that nobody asked for.
    func finish() {
        for (name, node) in members where !asked.contains(name) {
            DocumentReader(node: node, place: reader.place, problems: reader.problems)
                .report("\(reader.name) has an unknown member \"\(name)\"")
        }
    }
}
