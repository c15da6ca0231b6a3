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
        let files = try SourceText.files(below: "Tests")
        try #require(files.count > 150)
        #expect(files.flatMap(Self.problems) == [])
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

    private static func problems(in file: SourceText) -> [String] {
        var problems: [String] = []
        if let call = file.code.lazy.compactMap({ $0.firstMatch(of: /\b(mount|umount2|setns|unshare|setuid|chroot)\(/) }
        ).first,
            !file.code.contains(where: { $0.contains(".needsRoot") })
        {
            problems.append("\(file.path): calls \(call.1) and has no test that needs root")
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
