import Foundation
import PushTesting
import Testing

/// docs/README.md is the index of the documentation.
@Suite struct `The index of the documentation` {
    @Test func `links every page below docs`() throws {
        let index = try String(contentsOfFile: "\(Repository.root)/docs/README.md", encoding: .utf8)
        let linked = Set(index.matches(of: /\]\(([^)#\s]+)\)/).map { "docs/\($0.1)" })
        // The decisions have an index of their own.
        let pages = try Repository.files(below: "docs", suffix: ".md").filter {
            $0 != "docs/README.md" && (!$0.hasPrefix("docs/decisions/") || $0.hasSuffix("README.md"))
        }
        try #require(pages.count > 8)
        #expect(pages.filter { !linked.contains($0) } == [])
    }
}
