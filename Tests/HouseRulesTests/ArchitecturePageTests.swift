import Foundation
import PushTesting
import Testing

@Suite struct `The architecture page` {
    private func page() throws -> String {
        try String(contentsOfFile: "\(Repository.root)/docs/explanation/architecture.md", encoding: .utf8)
    }

    /// The text below the heading `title`, up to the next heading of its level.
    private func section(_ title: String) throws -> String {
        let parts = try page().components(separatedBy: "\n## ")
        return try #require(parts.first { $0.hasPrefix("\(title)\n") }, "there is a section \(title)")
    }

    /// The names of all types in Sources, and of the folders of its modules. Read once: it takes seconds.
    private static let knownNames = Result {
        let keywords: Set<Substring> = ["struct", "class", "enum", "actor", "protocol", "typealias"]
        var names: Set<String> = []
        for file in try SourceText.files(below: "Sources") {
            names.formUnion(file.path.split(separator: "/").dropLast().map(String.init))
            for line in file.code {
                let words = line.split { !$0.isLetter && !$0.isNumber && $0 != "_" }
                for (keyword, name) in zip(words, words.dropFirst())
                where keywords.contains(keyword) && name.first?.isUppercase == true {
                    names.insert(String(name))
                }
            }
        }
        return names
    }

    @Test func `names files and folders that exist`() throws {
        let paths = try page().matches(of: /(?m)^\|.*$/).flatMap { row in
            row.0.matches(of: /`((?:Sources|Tests|Fuzz|Examples|deploy|proto|docs|scripts)(?:\/[^`]*)?)`/)
                .map { String($0.1) }
        }
        try #require(paths.count > 30)
        #expect(paths.filter { !FileManager.default.fileExists(atPath: "\(Repository.root)/\($0)") } == [])
    }

    @Test(arguments: ["A batch on its way", "Where to change what"])
    func `names types that exist`(_ title: String) throws {
        let names = try section(title).matches(of: /`([A-Z]\w*)`/).map { String($0.1) }
        try #require(names.count > 10)
        let known = try Self.knownNames.get()
        #expect(names.filter { !known.contains($0) } == [])
    }

    @Test func `draws types that exist`() throws {
        let drawing = try #require(try section("A batch on its way").components(separatedBy: "\n```").dropFirst().first)
        // Not the messages of the stored form, such as godwit.v1.Batch.
        let names = drawing.matches(of: /(?:^|[^.\w])([A-Z]\w*)/).map { String($0.1) }
        try #require(names.count > 10)
        let known = try Self.knownNames.get()
        #expect(names.filter { !known.contains($0) } == [])
    }

    @Test func `has a row for the folder of each module`() throws {
        let page = try page()
        for folder in ["Sources/APNS", "Sources/Push", "Sources/Backends", "Sources/Testing", "Sources/Executables"] {
            for name in try FileManager.default.contentsOfDirectory(atPath: "\(Repository.root)/\(folder)") {
                guard !name.hasPrefix(".") else { continue }
                #expect(page.contains("| `\(folder)/\(name)` |"), "\(folder)/\(name)")
            }
        }
    }
}
