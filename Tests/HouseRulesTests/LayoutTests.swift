import Foundation
import PushTesting
import Testing

/// Where files lie, and which names they declare.
@Suite struct `The layout` {
    @Test func `no folder holds more than 16 Swift files`() throws {
        let files =
            try Repository.files(below: "Sources", suffix: ".swift")
            + Repository.files(below: "Tests", suffix: ".swift")
        try #require(files.count > 400)
        #expect(Self.crowded(files, max: 16) == [])
    }

    @Test func `a crowded folder is reported`() {
        let files = (1...3).map { "Sources/A/\($0).swift" } + ["Sources/A/B/4.swift"]
        #expect(Self.crowded(files, max: 2) == ["Sources/A: 3 files"])
        #expect(Self.crowded(files, max: 3) == [])
    }

    @Test func `no type name is declared in two modules`() throws {
        let files = try SourceText.files(below: "Sources")
        try #require(files.count > 300)
        #expect(Self.duplicateTypes(in: files) == [])
    }

    @Test func `a type name in two modules is reported`() {
        let files = [
            SourceText(path: "Sources/APNS/A/x.swift", text: "package struct Same {}\nprivate enum Own {}"),
            SourceText(path: "Sources/Push/B/y.swift", text: "final class Same {}\nfileprivate enum Own {}"),
            SourceText(path: "Sources/Push/B/z.swift", text: "enum Outer {\n    struct Inner {}\n}"),
            SourceText(path: "Sources/Push/C/z.swift", text: "struct Inner {}\n// struct Outer {}"),
        ]
        #expect(Self.duplicateTypes(in: files) == ["Same: Sources/APNS/A, Sources/Push/B"])
    }

    // MARK: -

    private static func crowded(_ files: [String], max: Int) -> [String] {
        let counts = files.reduce(into: [:]) { $0[($1 as NSString).deletingLastPathComponent, default: 0] += 1 }
        return counts.filter { $0.value > max }.map { "\($0.key): \($0.value) files" }.sorted()
    }

    /// Types at the top level of a file that other files can see.
    private static func duplicateTypes(in files: [SourceText]) -> [String] {
        let declaration =
            /^(?:@\w+(?:\([^)]*\))? )*(?:(?:public|package|internal|final|indirect|nonisolated|open) )*(?:actor|class|enum|protocol|struct|typealias) (\w+)/
        var modules: [String: Set<String>] = [:]
        for file in files {
            let parts = file.path.split(separator: "/")
            // `Sources/Telemetry` is a module by itself, the others lie one folder deeper.
            let module = parts.prefix(parts[1] == "Telemetry" ? 2 : 3).joined(separator: "/")
            for line in file.code {
                guard let match = line.firstMatch(of: declaration) else { continue }
                modules[String(match.1), default: []].insert(module)
            }
        }
        return modules.filter { $0.value.count > 1 }
            .map { "\($0.key): \($0.value.sorted().joined(separator: ", "))" }.sorted()
    }
}
