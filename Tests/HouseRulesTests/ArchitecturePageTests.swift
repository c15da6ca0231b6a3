import Foundation
import PushTesting
import Testing

@Suite struct `The architecture page` {
    private func page() throws -> String {
        try String(contentsOfFile: "\(Repository.root)/docs/explanation/architecture.md", encoding: .utf8)
    }

    @Test func `names files and folders that exist`() throws {
        let paths = try page().matches(of: /(?m)^\|.*$/).flatMap { row in
            row.0.matches(of: /`((?:Sources|Tests|Fuzz|Examples|deploy|proto|docs)(?:\/[^`]*)?)`/).map { String($0.1) }
        }
        try #require(paths.count > 30)
        #expect(paths.filter { !FileManager.default.fileExists(atPath: "\(Repository.root)/\($0)") } == [])
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
