import Foundation
import PushTesting
import Testing

/// README.zh-CN.md is a translation of README.md: a change to one page needs the same change to the other.
@Suite struct `The Chinese README` {
    private static let english = "README.md"
    private static let chinese = "README.zh-CN.md"

    @Test func `has the sections of the English one, in the same order`() throws {
        let english = try Outline(of: Self.english)
        let chinese = try Outline(of: Self.chinese)
        try #require(english.levels.count > 10)
        #expect(chinese.levels == english.levels)
        #expect(chinese.tableRows == english.tableRows)
    }

    @Test func `shows the same commands and programs`() throws {
        let english = try Outline(of: Self.english)
        let chinese = try Outline(of: Self.chinese)
        try #require(english.blocks.count > 8)
        #expect(chinese.blocks == english.blocks)
    }

    @Test func `has the same links and pictures`() throws {
        let english = try Outline(of: Self.english)
        let chinese = try Outline(of: Self.chinese)
        try #require(english.links.count > 15)
        // Each page has one link to the other, in the line that switches the language.
        #expect(english.links.filter { $0 == Self.chinese }.count == 1)
        #expect(chinese.links.filter { $0 == Self.english }.count == 1)
        let others = english.links.filter { $0 != Self.chinese }
        #expect(chinese.links.filter { $0 != Self.english }.sorted() == others.sorted())
    }

    @Test func `is compared section by section`() {
        let page = "# A\n[b](c.md)\n```console\n# no heading [d](e)\n```\n## F\n| g | `h` |\n| --- | --- |\n"
        let outline = Outline(page)
        #expect(outline.levels == [1, 2])
        #expect(outline.tableRows == [0, 2])
        #expect(outline.blocks == ["1: console\n# no heading [d](e)\n"])
        #expect(outline.links == ["c.md"])
    }
}

/// The parts of a page that do not depend on its language.
private struct Outline {
    /// The level of each heading.
    var levels: [Int] = []
    /// The rows of tables below each heading.
    var tableRows: [Int] = []
    /// The fenced blocks, each with the number of its section and its language. Comments after commands are left out: they may
    /// be translated.
    var blocks: [String] = []
    /// The targets of links and pictures.
    var links: [String] = []

    init(of page: String) throws {
        self.init(try String(contentsOfFile: "\(Repository.root)/\(page)", encoding: .utf8))
    }

    init(_ markdown: String) {
        var isCode = false
        for line in markdown.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```") {
                isCode.toggle()
                if isCode { blocks.append("\(levels.count): \(line.dropFirst(3))\n") }
            } else if isCode {
                blocks[blocks.count - 1] += Self.withoutComment(line) + "\n"
            } else if line.hasPrefix("#") {
                levels.append(line.prefix { $0 == "#" }.count)
                tableRows.append(0)
            } else {
                if line.hasPrefix("|"), !tableRows.isEmpty { tableRows[tableRows.count - 1] += 1 }
                links += line.replacing(/`[^`]*`/, with: "").matches(of: /\]\(([^)\s]+)\)/).map { String($0.1) }
            }
        }
    }

    /// A command without the comment behind it.
    private static func withoutComment(_ line: Substring) -> String {
        String(line.replacing(/\s\s+# .*$/, with: ""))
    }
}
