import Foundation
import PushTesting
import Testing

@Suite struct `The documentation` {
    @Test func `every link has a target`() throws {
        let pages = try Repository.files(below: "", suffix: ".md")
        try #require(pages.contains("README.md"))
        var broken: [String] = []
        for page in pages {
            let folder = (page as NSString).deletingLastPathComponent
            for link in links(in: try text(of: page)) where !leads(link, from: page, in: folder) {
                broken.append("\(page): \(link)")
            }
        }
        #expect(broken == [])
    }

    @Test func `a broken link is reported`() {
        #expect(links(in: "see [a](b.md#c), `[x](y)` and ![p](q.png)\n```\n[no](link)\n```") == ["b.md#c", "q.png"])
        #expect(!leads("no-such-page.md", from: "README.md", in: ""))
        #expect(!leads("#no-such-heading", from: "README.md", in: ""))
        #expect(leads("docs/explanation/architecture.md#module-dependencies", from: "README.md", in: ""))
    }

    @Test func `every decision is listed and has every section`() throws {
        let pages = try Repository.files(below: "docs/decisions", suffix: ".md").filter { !$0.hasSuffix("README.md") }
        let list = try text(of: "docs/decisions/README.md")
        try #require(!pages.isEmpty)
        for page in pages {
            let text = try text(of: page)
            for heading in [
                "Status", "Context", "Decision", "Consequences", "What would change our mind", "Alternatives",
            ] {
                #expect(text.contains("\n## \(heading)\n"), "\(page) has a section \(heading)")
            }
            #expect(list.contains("(\((page as NSString).lastPathComponent))"), "\(page) is in the list")
        }
    }

    // MARK: -

    private func text(of path: String) throws -> String {
        try String(contentsOfFile: "\(Repository.root)/\(path)", encoding: .utf8)
    }

    /// The targets of the links of a page, without code blocks.
    private func links(in markdown: String) -> [String] {
        var isCode = false
        var found: [String] = []
        for line in markdown.split(separator: "\n") {
            if line.trimmingCharacters(in: .whitespaces).hasPrefix("```") { isCode.toggle() }
            guard !isCode else { continue }
            let prose = String(line).replacing(/`[^`]*`/, with: "")
            found += prose.matches(of: /\]\(([^)\s]+)\)/).map { String($0.1) }
        }
        return found
    }

    private func leads(_ link: String, from page: String, in folder: String) -> Bool {
        if link.contains("://") || link.hasPrefix("mailto:") { return true }
        let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let relative = folder.isEmpty ? String(parts[0]) : "\(folder)/\(parts[0])"
        let path = parts[0].isEmpty ? page : relative
        guard FileManager.default.fileExists(atPath: "\(Repository.root)/\(path)") else { return false }
        guard parts.count == 2, path.hasSuffix(".md") else { return true }
        return ((try? anchors(of: path)) ?? []).contains(String(parts[1]))
    }

    /// The anchors of headings on a rendered page: lower case, no punctuation, dashes instead of spaces.
    private func anchors(of page: String) throws -> Set<String> {
        Set(
            try text(of: page).split(separator: "\n").filter { $0.hasPrefix("#") }.map { line in
                let heading = line.drop { $0 == "#" }.trimmingCharacters(in: .whitespaces).lowercased()
                return heading.filter { $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" || $0 == " " }
                    .replacing(" ", with: "-")
            }
        )
    }
}
