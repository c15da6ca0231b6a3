import Foundation
import PushTesting
import Testing

@Suite struct `godwit lint` {
    private static let token = String(repeating: "ab", count: 32)

    /// Violates two rules that warn.
    private static let odd =
        #"{"device_token":"\#(token)","payload":{"aps":{"alert":"x"},"badge":1,"sound":"y"},"priority":1}"#
    /// Violates one rule of APNs and one that warns.
    private static let wrong =
        #"{"device_token":"\#(token)","payload":{"aps":{"content-available":1},"badge":1},"#
        + #""push_type":"background","priority":10}"#

    private func lint(_ options: [String]) async throws -> (lines: [String], exit: ChildProcess.Exit) {
        let folder = try TemporaryFolder()
        let file = try folder.write([Self.odd, Self.wrong].joined(separator: "\n"), to: "pushes.ndjson")
        let result = try await run(Repository.godwit, ["lint", file] + options)
        return (result.output.replacing("\(file): ", with: "").split(separator: "\n").map(String.init), result.exit)
    }

    @Test func `shows all findings of each push`() async throws {
        let (lines, exit) = try await lint([])
        #expect(exit == .status(1))
        #expect(lines.contains { $0.hasPrefix("push 1: warning (aps-key-outside)") }, "\(lines)")
        #expect(lines.contains { $0.hasPrefix("push 2: refused (priority-refused)") }, "\(lines)")
        #expect(lines.contains { $0.hasPrefix("push 2: warning (aps-key-outside)") }, "\(lines)")
        #expect(lines.last == "2 pushes: 1 refused, 1 with warnings")
    }

    @Test func `with --strict refuses with all findings of each push`() async throws {
        let (plain, _) = try await lint([])
        let (strict, exit) = try await lint(["--strict"])
        #expect(exit == .status(1))
        #expect(strict.count == plain.count && strict.allSatisfy { !$0.contains(": warning (") }, "\(strict)")
        #expect(strict.count { $0.hasPrefix("push 1: refused (") } >= 1)
        #expect(strict.count { $0.hasPrefix("push 2: refused (") } == 2, "\(strict)")
        #expect(strict.last == "2 pushes: 2 refused, 0 with warnings")
    }
}
