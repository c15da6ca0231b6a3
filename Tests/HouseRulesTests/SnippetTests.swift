import Foundation
import PushTesting
import Testing

/// Every Swift block of the documentation is compiled: it equals the lines between `// snippet: NAME` and `// snippet end` in
/// a file that is built with the tests.
@Suite struct `Swift in the documentation` {
    private static let pages = ["README.md", "docs/simulator/README.md"]
    private static let sources = "Examples"

    @Test func `is a compiled snippet`() throws {
        let compiled = try Repository.files(below: Self.sources, suffix: ".swift").flatMap {
            snippets(in: try text(of: $0))
        }
        // A test of its own compiles and runs each client.
        let clients = try Repository.files(below: "Examples/Clients", suffix: ".swift").map {
            try text(of: $0).trimmingCharacters(in: .newlines)
        }
        let pages = try Self.pages + Repository.files(below: "Sources/APNS", suffix: ".md")
        let shown = try pages.flatMap { page in blocks(in: try text(of: page)).map { (page, $0) } }
        try #require(shown.count > 10 && pages.count > 8)
        for (page, block) in shown {
            #expect((compiled + clients).contains(block), "\(page) shows code that is compiled nowhere:\n\(block)")
        }
        for snippet in compiled {
            #expect(shown.contains { $0.1 == snippet }, "no page shows this snippet:\n\(snippet)")
        }
    }

    @Test func `is read without its indentation`() {
        let source = "a\n    // snippet: one\n    b\n\n        c\n    // snippet end\nd\n"
        #expect(snippets(in: source) == ["b\n\n    c"])
        #expect(blocks(in: "x\n```swift\nb\n\n    c\n```\n```console\nd\n```\n") == ["b\n\n    c"])
    }

    private func text(of path: String) throws -> String {
        try String(contentsOfFile: "\(Repository.root)/\(path)", encoding: .utf8)
    }

    private func blocks(in page: String) -> [String] {
        page.matches(of: /(?m)^```swift\n((?:.|\n)*?)\n```$/).map { String($0.1) }
    }

    /// The snippets of a source, moved to the left margin.
    private func snippets(in source: String) -> [String] {
        source.matches(of: /(?m)^( *)\/\/ snippet: .*\n((?:.|\n)*?)\n *\/\/ snippet end$/).map { match in
            let lines = match.2.split(separator: "\n", omittingEmptySubsequences: false)
            return lines.map { $0.hasPrefix(match.1) ? $0.dropFirst(match.1.count) : $0 }.joined(separator: "\n")
        }
    }
}
