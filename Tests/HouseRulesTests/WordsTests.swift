import Foundation
import PushTesting
import Testing

/// The words that `docs/reference/glossary.md` bans, wherever they occur.
@Suite struct `Words of the glossary` {
    @Test func `no source and no page uses a banned word`() throws {
        let banned = try BannedWords.ofGlossary()
        try #require(banned.phrases.count > 40)
        var findings: [String] = []
        for file in try SourceText.files(below: "Sources") + SourceText.files(below: "Tests") {
            guard !file.path.contains("/Generated/"), file.path != HouseExceptions.path else { continue }
            for index in file.code.indices {
                let text = "\(file.code[index]) \(file.comments[index]) \(file.strings[index])"
                findings += banned.found(in: text, of: file.path).map { "\(file.path):\(index + 1): \($0)" }
            }
        }
        for page in try Repository.files(below: "", suffix: ".md") where page != BannedWords.glossary {
            let text = try String(contentsOfFile: "\(Repository.root)/\(page)", encoding: .utf8)
            for (number, line) in BannedWords.prose(of: text).enumerated() {
                findings += banned.found(in: line, of: page).map { "\(page):\(number + 1): \($0)" }
            }
        }
        let others = try ["sh", "py", "yaml", "proto"].flatMap { try Repository.files(below: "", suffix: ".\($0)") }
        try #require(others.count > 20)
        for file in others {
            let text = try String(contentsOfFile: "\(Repository.root)/\(file)", encoding: .utf8)
            for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                findings += banned.found(in: line, of: file).map { "\(file):\(number + 1): \($0)" }
            }
        }
        #expect(findings.joined(separator: "\n") == "")
    }

    @Test func `an exception that no file needs any more is reported`() throws {
        let banned = try BannedWords.ofGlossary()
        for (path, allowed) in HouseExceptions.words {
            let text = try String(contentsOfFile: "\(Repository.root)/\(path)", encoding: .utf8)
            let found = Set(banned.found(in: text, of: ""))
            for (word, reason) in allowed {
                #expect(found.contains(word), "\(path) no longer contains \"\(word)\"")
                #expect(!reason.isEmpty)
            }
        }
    }

    @Test(arguments: [
        ("// nobody waits", "nobody"), ("let isSuspect = true", "suspect"), ("func tellListeners()", "tell"),
        ("`it answers at once`", "at once"), ("/// What the client is told.", "told"), ("var roomShares = 1", "room"),
        ("\"the store should it fail\"", "should it"), ("HotHandoff.swift", "hot handoff"),
    ])
    func `a banned word is found in names, comments and strings`(_ text: String, _ word: String) throws {
        #expect(try BannedWords.ofGlossary().found(in: text, of: "") == [word])
    }

    @Test(arguments: [
        "let gateway = 1", "// intelligent storytelling", "the store's headroom", "mushrooms", "so manyfold",
    ])
    func `a word that only contains a banned one is not found`(_ text: String) throws {
        #expect(try BannedWords.ofGlossary().found(in: text, of: "") == [])
    }

    @Test func `code in a page is not prose`() {
        #expect(BannedWords.prose(of: "a `tell` b\n```\nnobody\n```\nc") == ["a  b", "", "", "", "c"])
    }
}

/// Phrases in lower case, one or more words each.
struct BannedWords {
    static let glossary = "docs/reference/glossary.md"

    var phrases: [String]

    /// The entries in code style of the column "not" and of the column "do not write".
    static func ofGlossary() throws -> BannedWords {
        let page = try String(contentsOfFile: "\(Repository.root)/\(glossary)", encoding: .utf8)
        var phrases: Set<String> = []
        for row in page.split(separator: "\n") where row.hasPrefix("| ") {
            let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            let cell = cells.count == 2 ? cells[0] : cells.count == 3 ? cells[2] : ""
            phrases.formUnion(cell.matches(of: /`([^`]+)`/).map { words(of: $0.1).joined(separator: " ") })
        }
        return BannedWords(phrases: phrases.sorted())
    }

    /// The banned phrases of a line that no exception of the file allows.
    func found(in line: some StringProtocol, of path: String) -> [String] {
        let text = " \(Self.words(of: line).joined(separator: " ")) "
        return phrases.filter { text.contains(" \($0) ") && HouseExceptions.words[path]?[$0] == nil }
    }

    /// Words in lower case: `isHTTPServer` is "is", "http", "server".
    static func words(of text: some StringProtocol) -> [String] {
        var words: [String] = []
        var word = ""
        var wasLower = false
        for scalar in text.unicodeScalars {
            let isUpper = (65...90).contains(scalar.value)
            guard isUpper || (97...122).contains(scalar.value) else {
                if !word.isEmpty { words.append(word) }
                (word, wasLower) = ("", false)
                continue
            }
            if isUpper, wasLower {
                words.append(word)
                word = ""
            }
            word.unicodeScalars.append(isUpper ? Unicode.Scalar(scalar.value + 32)! : scalar)
            wasLower = !isUpper
        }
        if !word.isEmpty { words.append(word) }
        return words
    }

    /// The lines of a page without its code; a code block leaves empty lines.
    static func prose(of page: String) -> [String] {
        var isCode = false
        return page.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let isFence = line.drop { $0 == " " }.hasPrefix("```")
            if isFence { isCode.toggle() }
            return isCode || isFence ? "" : String(line).replacing(/`[^`]*`/, with: "")
        }
    }
}
