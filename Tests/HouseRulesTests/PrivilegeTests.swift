import Foundation
import PushTesting
import Testing

/// Tests run without privileges, except those that are marked.
@Suite struct `Privileges of the tests` {
    /// scripts/test.sh sets the variable.
    @Test(
        .enabled(
            if: ProcessInfo.processInfo.environment["GODWIT_UNPRIVILEGED_TESTS"] != nil, "not run by scripts/test.sh"))
    func `this process has none`() throws {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let effective = try #require(status.firstMatch(of: /CapEff:\s+([0-9a-f]+)/))
        #expect(Int(effective.1, radix: 16) == 0)
        #expect(ProcessInfo.processInfo.environment["GODWIT_UNPRIVILEGED_TESTS"] == "0" || geteuid() != 0)
    }

    @Test func `a test that needs root is marked, and its name says so`() throws {
        let calls = Self.calls.map { "\($0)(" }
        let files = try Repository.files(below: "Tests", suffix: ".swift").map { path in
            (path: path, text: try String(contentsOfFile: "\(Repository.root)/\(path)", encoding: .utf8))
        }
        // Separating code from strings takes much longer than this selection.
        .filter { file in ([".needsRoot", "as root"] + calls).contains { file.text.contains($0) } }
        try #require(files.count > 2)
        #expect(files.flatMap { Self.problems(in: SourceText(path: $0.path, text: $0.text)) } == [])
    }

    @Test(arguments: [
        ("func f() { mount(a, b, c, 0, d) }", "calls mount and has no test that needs root"),
        (
            "@Test(.needsRoot)\nfunc `mounts a disk`() {}",
            "line 1: the name of a test that needs root has no \"as root\""
        ),
        ("@Test func `as root, mounts a disk`() {}", "line 1: \"as root\" in a name without .needsRoot"),
    ])
    func `a file that breaks the rule is reported`(_ text: String, _ problem: String) {
        let file = SourceText(path: "Tests/ATests/BTests.swift", text: text)
        #expect(Self.problems(in: file) == ["Tests/ATests/BTests.swift: \(problem)"])
    }

    @Test func `a marked test is not reported`() {
        let text = "@Test(.needsRoot)\nfunc `as root, mounts a disk`() { mount(a, b, c, 0, d) }"
        #expect(Self.problems(in: SourceText(path: "Tests/ATests/BTests.swift", text: text)) == [])
    }

    // MARK: -

    /// System calls that only root may make.
    private static let calls = ["mount", "umount2", "setns", "unshare", "setuid", "chroot"]

    private static func problems(in file: SourceText) -> [String] {
        var problems: [String] = []
        if !file.code.contains(where: { $0.contains(".needsRoot") }) {
            let called = calls.filter { call in
                file.code.contains { $0.matches(of: /\b(\w+)\(/).contains { $0.1 == call } }
            }
            problems += called.map { "\(file.path): calls \($0) and has no test that needs root" }
        }
        var marked: Int?
        for (index, line) in file.code.enumerated() {
            if line.contains(".needsRoot") { marked = index }
            guard line.contains(/^\s*`|\b(func|struct) `/) else { continue }
            let isNamed = line.contains("as root")
            if let marked, !isNamed {
                problems.append(
                    "\(file.path): line \(marked + 1): the name of a test that needs root has no \"as root\"")
            } else if marked == nil, isNamed {
                problems.append("\(file.path): line \(index + 1): \"as root\" in a name without .needsRoot")
            }
            marked = nil
        }
        return problems
    }
}
