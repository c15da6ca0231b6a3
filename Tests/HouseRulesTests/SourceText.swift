import Foundation
import PushTesting

/// A Swift file, separated into code, comments and strings, so that a rule can read one of them.
struct SourceText {
    /// The path from the root of the repository.
    let path: String
    /// The code, by line: strings and comments are blank, interpolations are kept.
    let code: [String]
    /// The comments, by line.
    let comments: [String]
    /// The string literals, by line, without their interpolations.
    let strings: [String]

    init(path: String, text: String) {
        self.path = path
        var splitter = Splitter(text)
        splitter.run()
        code = splitter.code.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        comments = splitter.comments.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        strings = splitter.strings.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// Every Swift file below a folder of the repository, sorted.
    static func files(below folder: String) throws -> [SourceText] {
        try Repository.files(below: folder, suffix: ".swift").map {
            SourceText(path: $0, text: try String(contentsOfFile: "\(Repository.root)/\($0)", encoding: .utf8))
        }
    }

    /// The modules that the file imports, with any access level or attribute.
    var imports: Set<String> {
        Set(
            code.compactMap { line in
                line.firstMatch(of: /^\s*(?:@\w+ |package |public |internal |private )*import (?:\w+ )??(\w+)/)
                    .map { String($0.1) }
            }
        )
    }
}

extension SourceText {
    /// An `#if` with all its branches.
    private struct Conditional {
        var condition: String
        /// The first line of the imports in the branches.
        var line = 0
        var imported: Set<String> = []
        var access: Set<String> = []
    }

    /// Numbers, from 1, of the lines that compile with one C library only.
    ///
    /// With `InternalImportsByDefault`, a public import in one branch and an internal one in another also compile on one
    /// system only.
    var unguardedSystemLibraries: [Int] {
        let libraries: Set = ["Glibc", "Musl", "Darwin"]
        var found: [Int] = []
        var open: [Conditional] = []
        for (index, line) in code.enumerated() {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("#if ") {
                open.append(Conditional(condition: line))
            } else if line.hasPrefix("#else"), !open.isEmpty {
                open[open.count - 1].condition = line
            } else if line.hasPrefix("#endif"), let ended = open.popLast() {
                let some = ended.imported.intersection(libraries)
                if !some.isEmpty && some != libraries || ended.access.count > 1 { found.append(ended.line) }
            } else if let match = line.firstMatch(of: /^(?:@\w+ )?((?:package |public |internal )?)import (\w+)/) {
                if open.isEmpty {
                    if libraries.contains(String(match.2)) { found.append(index + 1) }
                } else {
                    if open[open.count - 1].imported.isEmpty { open[open.count - 1].line = index + 1 }
                    open[open.count - 1].imported.insert(String(match.2))
                    open[open.count - 1].access.insert(String(match.1))
                }
            } else if line.contains(/(?:SOCK|RLIMIT|RUSAGE|IPPROTO)_[A-Z]+\.rawValue/) {
                if open.last?.condition.contains("canImport(Glibc)") != true { found.append(index + 1) }
            }
        }
        return found
    }
}

extension Repository {
    /// Paths of files, from the root. Hidden folders and build products are not included.
    static func files(below folder: String, suffix: String) throws -> [String] {
        let start = folder.isEmpty ? root : "\(root)/\(folder)"
        guard let walk = FileManager.default.enumerator(atPath: start) else { return [] }
        var found: [String] = []
        for case let path as String in walk {
            // Hidden folders hold what was built, and other people's files with it.
            if path.split(separator: "/").last?.hasPrefix(".") == true {
                walk.skipDescendants()
            } else if path.hasSuffix(suffix) {
                found.append(folder.isEmpty ? path : "\(folder)/\(path)")
            }
        }
        return found.sorted()
    }
}

/// Separates code, comments and strings, one character at a time.
private struct Splitter {
    private enum Mode {
        case code(parentheses: Int)
        case string(hashes: Int, isMultiline: Bool)
        case lineComment
        case blockComment(depth: Int)
    }

    private let text: [Character]
    private var index = 0
    private var modes: [Mode] = [.code(parentheses: 0)]
    private(set) var code = ""
    private(set) var comments = ""
    private(set) var strings = ""

    init(_ text: String) {
        self.text = Array(text)
    }

    mutating func run() {
        while index < text.count {
            switch modes[modes.count - 1] {
            case .code(let parentheses): stepInCode(parentheses)
            case .string(let hashes, let isMultiline): stepInString(hashes, isMultiline)
            case .lineComment:
                if text[index] == "\n" { modes.removeLast() } else { take(1, asComment: true) }
            case .blockComment(let depth): stepInBlock(depth)
            }
        }
    }

    private mutating func stepInCode(_ parentheses: Int) {
        if starts("//") {
            modes.append(.lineComment)
        } else if starts("/*") {
            modes.append(.blockComment(depth: 1))
            take(2, asComment: true)
        } else if let (hashes, quotes) = stringStart() {
            modes.append(.string(hashes: hashes, isMultiline: quotes == 3))
            blank(hashes + quotes)
        } else if starts("(") {
            modes[modes.count - 1] = .code(parentheses: parentheses + 1)
            take(1)
        } else if starts(")"), parentheses == 0, modes.count > 1 {
            modes.removeLast()
            blank(1)
        } else {
            if starts(")") { modes[modes.count - 1] = .code(parentheses: parentheses - 1) }
            take(1)
        }
    }

    private mutating func stepInString(_ hashes: Int, _ isMultiline: Bool) {
        let marks = String(repeating: "#", count: hashes)
        let end = (isMultiline ? "\"\"\"" : "\"") + marks
        if starts("\\\(marks)(") {
            blank(2 + hashes)
            modes.append(.code(parentheses: 0))
        } else if hashes == 0, starts("\\") {
            blank(2)
        } else if starts(end) {
            blank(end.count)
            modes.removeLast()
        } else {
            blank(1)
        }
    }

    private mutating func stepInBlock(_ depth: Int) {
        if starts("*/") {
            take(2, asComment: true)
            if depth == 1 { modes.removeLast() } else { modes[modes.count - 1] = .blockComment(depth: depth - 1) }
        } else if starts("/*") {
            take(2, asComment: true)
            modes[modes.count - 1] = .blockComment(depth: depth + 1)
        } else {
            take(1, asComment: true)
        }
    }

    private func stringStart() -> (hashes: Int, quotes: Int)? {
        var at = index
        while at < text.count, text[at] == "#" { at += 1 }
        guard at < text.count, text[at] == "\"" else { return nil }
        let isMultiline = at + 2 < text.count && text[at + 1] == "\"" && text[at + 2] == "\""
        return (at - index, isMultiline ? 3 : 1)
    }

    private func starts(_ word: String) -> Bool {
        var at = index
        for character in word {
            guard at < text.count, text[at] == character else { return false }
            at += 1
        }
        return true
    }

    private mutating func take(_ count: Int, asComment: Bool = false) {
        for _ in 0..<count where index < text.count {
            let character = text[index]
            index += 1
            if character == "\n" {
                code.append(character)
                comments.append(character)
                strings.append(character)
            } else if asComment {
                comments.append(character)
            } else {
                code.append(character)
            }
        }
    }

    private mutating func blank(_ count: Int) {
        for _ in 0..<count where index < text.count {
            if text[index] == "\n" {
                code.append("\n")
                comments.append("\n")
                strings.append("\n")
            } else {
                code.append(" ")
                strings.append(text[index])
            }
            index += 1
        }
    }
}
