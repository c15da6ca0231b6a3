import Yams

/// Reads one mapping of a YAML document strictly: a value of the wrong type and an unknown key are problems, each with
/// its line.
struct YAMLReader {
    /// A problem of a file, with its location.
    struct Problem {
        /// The path of the key, such as `apps[0].key.file`.
        var path: String
        /// Counted from 1; nil if the problem has no line.
        var line: Int?
        var text: String
        /// An unknown key does not prevent the validation of other values.
        var isUnknownKey = false

        var description: String { (line.map { "line \($0): " } ?? "") + text }
    }

    private(set) var problems: [Problem] = []
    /// The line of each key that was read, by path.
    private(set) var lines: [String: Int] = [:]
    private let path: String
    private let line: Int?
    private let mapping: Node.Mapping?
    private var known: Set<String> = []

    init(_ root: Node?) {
        self.init(root, path: "")
    }

    private init(_ node: Node?, path: String) {
        self.path = path
        line = node?.mark?.line
        mapping = node?.mapping
        // An empty file or section is an empty mapping.
        if let node, node.mapping == nil, node.null == nil {
            problems.append(
                Problem(
                    path: path, line: line,
                    text: "\(path.isEmpty ? "the file" : path) must be a mapping of keys to values"
                )
            )
        }
    }

    private mutating func node(_ key: String) -> Node? {
        known.insert(key)
        guard let node = mapping?[key] else { return nil }
        lines[name(key)] = node.mark?.line
        return node
    }

    private mutating func report(_ key: String, _ node: Node, _ text: String) {
        problems.append(Problem(path: name(key), line: node.mark?.line, text: "\(name(key)) \(text)"))
    }

    private mutating func merge(_ reader: YAMLReader) {
        problems += reader.problems
        lines.merge(reader.lines) { $1 }
    }

    private func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    // MARK: Values

    mutating func read(_ key: String, _ store: (String) -> Void) {
        guard let node = node(key) else { return }
        guard let scalar = node.scalar, node.null == nil else {
            report(key, node, "must be a string")
            return
        }
        store(scalar.string)
    }

    mutating func readRequired(_ key: String, _ store: (String) -> Void) {
        guard mapping?[key] != nil else {
            known.insert(key)
            if mapping != nil {
                problems.append(Problem(path: name(key), line: line, text: "\(name(key)) is missing"))
            }
            return
        }
        read(key, store)
    }

    mutating func read(_ key: String, oneOf values: [String], _ store: (String) -> Void) {
        guard let node = node(key) else { return }
        guard let text = node.string, values.contains(text) else {
            report(key, node, "must be one of \(values.joined(separator: ", "))")
            return
        }
        store(text)
    }

    mutating func read(_ key: String, _ store: (Int) -> Void) {
        guard let node = node(key) else { return }
        guard let number = node.int else {
            report(key, node, "must be a whole number")
            return
        }
        store(number)
    }

    /// Reads a number with a unit: `500ms`, `10s`, `5m`, `24h`, `7d`.
    mutating func readDuration(_ key: String, _ store: (Duration) -> Void) {
        guard let node = node(key) else { return }
        guard let text = node.string, let duration = Self.duration(text) else {
            report(key, node, "must be a duration such as 500ms, 10s, 5m, 24h or 7d")
            return
        }
        store(duration)
    }

    static func duration(_ text: String) -> Duration? {
        let units: [(String, Int64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
        for (unit, milliseconds) in units where text.hasSuffix(unit) {
            guard let number = Int64(text.dropLast(unit.count)), number >= 0 else { continue }
            let (product, overflow) = number.multipliedReportingOverflow(by: milliseconds)
            return overflow ? nil : .milliseconds(product)
        }
        return nil
    }

    // MARK: Structure

    /// Reads a nested mapping.
    mutating func section(_ key: String, _ fill: (inout YAMLReader) -> Void) {
        guard let node = node(key) else { return }
        var reader = YAMLReader(node, path: name(key))
        fill(&reader)
        reader.finish()
        merge(reader)
    }

    /// Reads at most one of several sections; `fill` receives its key.
    mutating func section(oneOf keys: [String], _ fill: (String, inout YAMLReader) -> Void) {
        known.formUnion(keys)
        let present = keys.filter { mapping?[$0] != nil }
        guard present.count <= 1 else {
            let choice = keys.map(name).joined(separator: " or ")
            problems.append(Problem(path: name(keys[0]), line: line, text: "only one of \(choice) is allowed"))
            return
        }
        for key in present { section(key) { fill(key, &$0) } }
    }

    /// Reports that none of `keys` is there, unless one of them has a problem already.
    mutating func reportMissing(_ keys: [String], _ reason: String = "") {
        let names = keys.map(name)
        guard mapping != nil, !problems.contains(where: { names.contains($0.path) }) else { return }
        let text = "\(names.joined(separator: " or ")) is missing\(reason)"
        problems.append(Problem(path: names[0], line: line, text: text))
    }

    /// Reads a list of mappings.
    mutating func list(_ key: String, _ fill: (inout YAMLReader) -> Void) {
        guard let node = node(key) else { return }
        guard let items = node.sequence else {
            report(key, node, "must be a list")
            return
        }
        for (index, item) in items.enumerated() {
            let path = "\(name(key))[\(index)]"
            lines[path] = item.mark?.line
            var reader = YAMLReader(item, path: path)
            fill(&reader)
            reader.finish()
            merge(reader)
        }
    }

    /// Reads a list of strings.
    mutating func readTexts(_ key: String, _ store: ([String]) -> Void) {
        guard let node = node(key) else { return }
        let texts = node.sequence?.map { $0.null == nil ? $0.scalar?.string : nil }
        guard let texts, !texts.contains(nil) else {
            report(key, node, "must be a list of strings")
            return
        }
        store(texts.compactMap(\.self))
    }

    /// The present names of former keys.
    private static let renamedKeys = [
        "limits.keyed_body_max_mib": "limits.idempotent_body_max_mib",
        "limits.keyed_bodies_max_mib": "limits.idempotent_bodies_max_mib",
    ]
    /// Why former keys do not exist any more.
    private static let removedKeys = ["delivery.breaker_slow_after": "a slow answer no longer opens a circuit breaker"]

    /// Reports every key that was not read.
    mutating func finish() {
        for (key, _) in mapping ?? [:] {
            guard let text = key.string, known.contains(text) else {
                let name = name(key.string ?? "?")
                let hint =
                    Self.renamedKeys[name].map { "; it is \($0) now" } ?? Self.removedKeys[name].map { "; \($0)" } ?? ""
                problems.append(
                    Problem(
                        path: name, line: key.mark?.line, text: "\(name) is not a known key\(hint)",
                        isUnknownKey: true
                    )
                )
                continue
            }
        }
    }
}
