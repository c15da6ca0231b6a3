import JSONText
import Yams

/// The error for an invalid control document. It lists every problem with its line, or its path in JSON.
public struct ControlDocumentError: Error, Equatable, CustomStringConvertible {
    /// One text per problem; never empty.
    public var problems: [String]

    public var description: String { problems.joined(separator: "; ") }

    init(_ problems: [String]) {
        self.problems = problems
    }
}

/// The tree of a parsed JSON or YAML document.
struct DocumentNode {
    enum Value {
        case object([(name: String, node: DocumentNode)])
        case array([DocumentNode])
        case string(String)
        /// The text of the number.
        case number(String)
        case boolean(Bool)
        case null
    }

    var value: Value
    /// The line, from 1; nil in JSON.
    var line: Int?

    /// Bounds nesting and recursion.
    private static let depthMax = 16
    /// Bounds the number of values.
    private static let countMax = 20_000
    /// Bounds YAML aliases before parsing. Yams expands aliases before values can be counted, and a key made of 40
    /// nested aliases has 2^40 parts to compare.
    private static let aliasesMax = 8

    /// Parses text that begins with a brace as JSON, and any other text as YAML.
    static func parse(_ bytes: [UInt8]) throws(ControlDocumentError) -> DocumentNode {
        let first = bytes.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        return first == UInt8(ascii: "{") ? try json(bytes) : try yaml(bytes)
    }

    // MARK: JSON

    private static func json(_ bytes: [UInt8]) throws(ControlDocumentError) -> DocumentNode {
        do {
            return try bytes.withUnsafeBytes { buffer in
                var reader = JSONReader(buffer)
                let node = try json(&reader, depth: 0)
                try reader.finish()
                return node
            }
        } catch let error as ControlDocumentError {
            throw error
        } catch {
            throw ControlDocumentError(["invalid JSON: \(error)"])
        }
    }

    private static func json(_ reader: inout JSONReader, depth: Int) throws -> DocumentNode {
        guard depth < depthMax else { throw ControlDocumentError(["nested deeper than \(depthMax) levels"]) }
        switch try reader.peekKind() {
        case .object:
            var members: [(name: String, node: DocumentNode)] = []
            var names: Set<String> = []
            try reader.enterObject()
            while let key = try reader.nextKey(isFirst: members.isEmpty) {
                let name = reader.text(key)
                guard names.insert(name).inserted else { throw ControlDocumentError(["duplicate member \"\(name)\""]) }
                members.append((name, try json(&reader, depth: depth + 1)))
            }
            return DocumentNode(value: .object(members))
        case .array:
            var elements: [DocumentNode] = []
            try reader.enterArray()
            while try reader.nextElement(isFirst: elements.isEmpty) {
                elements.append(try json(&reader, depth: depth + 1))
            }
            return DocumentNode(value: .array(elements))
        case .string: return DocumentNode(value: .string(reader.text(try reader.readString())))
        case .boolean: return DocumentNode(value: .boolean(try reader.readBoolean()))
        case .null:
            try reader.readNull()
            return DocumentNode(value: .null)
        case .number:
            let range = try reader.skipValue()
            let text = String(decoding: UnsafeRawBufferPointer(rebasing: reader.bytes[range]), as: UTF8.self)
            return DocumentNode(value: .number(text))
        }
    }

    // MARK: YAML

    private static func yaml(_ bytes: [UInt8]) throws(ControlDocumentError) -> DocumentNode {
        guard aliases(in: bytes) <= aliasesMax else {
            throw ControlDocumentError(["more than \(aliasesMax) aliases; quote values that begin with *"])
        }
        do {
            guard let root = try Yams.compose(yaml: String(decoding: bytes, as: UTF8.self)) else {
                throw ControlDocumentError(["the document is empty"])
            }
            var count = 0
            return try yaml(root, depth: 0, &count)
        } catch let error as ControlDocumentError {
            throw error
        } catch {
            throw ControlDocumentError(["invalid YAML: \(error)"])
        }
    }

    /// Counts possible aliases: an asterisk before a word, unless it is inside a word or first in a quoted text.
    private static func aliases(in bytes: [UInt8]) -> Int {
        var count = 0
        var previous = UInt8(ascii: " ")
        for (index, byte) in bytes.enumerated() {
            if byte == UInt8(ascii: "*"), index + 1 < bytes.count, isWordByte(bytes[index + 1]),
                !isWordByte(previous), !quotes.contains(previous)
            {
                count += 1
            }
            previous = byte
        }
        return count
    }

    private static let quotes: [UInt8] = [UInt8(ascii: "\""), UInt8(ascii: "'")]

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private static func yaml(_ node: Node, depth: Int, _ count: inout Int) throws(ControlDocumentError) -> DocumentNode
    {
        let line = node.mark?.line
        guard depth < depthMax else { throw ControlDocumentError(["nested deeper than \(depthMax) levels"]) }
        // Aliases can expand a small file to a huge tree.
        count += 1
        guard count <= countMax else { throw ControlDocumentError(["more than \(countMax) values"]) }
        switch node {
        case .mapping(let mapping):
            var members: [(name: String, node: DocumentNode)] = []
            for (key, value) in mapping {
                guard let name = key.scalar?.string else {
                    throw ControlDocumentError(["line \(line ?? 0): a member name must be a scalar"])
                }
                members.append((name, try yaml(value, depth: depth + 1, &count)))
            }
            return DocumentNode(value: .object(members), line: line)
        case .sequence(let sequence):
            var elements: [DocumentNode] = []
            for element in sequence { elements.append(try yaml(element, depth: depth + 1, &count)) }
            return DocumentNode(value: .array(elements), line: line)
        case .scalar(let scalar): return DocumentNode(value: value(of: scalar), line: line)
        case .alias: throw ControlDocumentError(["line \(line ?? 0): an alias without an anchor"])
        }
    }

    /// Resolves a scalar by a subset of YAML 1.2's core schema, in which `yes` and `no` are strings.
    private static func value(of scalar: Node.Scalar) -> Value {
        guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
        switch scalar.string {
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        case "", "null", "~": return .null
        default:
            let isNumber = scalar.string.wholeMatch(of: /[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?/) != nil
            return isNumber ? .number(scalar.string) : .string(scalar.string)
        }
    }
}
