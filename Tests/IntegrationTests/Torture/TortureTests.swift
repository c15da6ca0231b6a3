import Foundation
import PushTesting
import Testing

/// Short runs of `godwit-lab torture`.
@Suite(.serialized) struct `godwit-lab torture` {
    @Test(.timeLimit(.minutes(5)))
    func `keeps every promise in a short run`() async throws {
        let folder = try TemporaryFolder()
        let result = try await run(
            Repository.godwitLab,
            ["torture", "--duration", "12", "--kills", "3", "--stops", "1", "--seed", "7", "--directory", folder.path],
            within: .seconds(240)
        )
        #expect(result.exit == .status(0), "\(result.output)\(result.error)")
        #expect(result.output.contains("3 × kill -9, 2 × SIGTERM"))
        #expect(result.output.contains("seed 7"))
        try Self.expectNoToken(result.output + result.error)
        for log in ["client.log", "apns.log", "store.log", "events.log"] {
            try Self.expectNoToken(String(contentsOfFile: folder.file(log), encoding: .utf8))
        }
        let again = try await run(Repository.godwitLab, ["torture", "--check", folder.path])
        #expect(again.exit == .status(0))
        #expect(again.output == result.output)
    }

    @Test(.timeLimit(.minutes(5)))
    func `detects that a gateway lost pushes`() async throws {
        let folder = try TemporaryFolder()
        let result = try await run(
            Repository.godwitLab,
            [
                "torture", "--duration", "6", "--kills", "2", "--stops", "0", "--seed", "7", "--control",
                "--directory", folder.path,
            ],
            within: .seconds(240)
        )
        #expect(result.exit == .status(1))
        let row = try #require(
            result.output.split(separator: "\n").first { $0.contains("  lost ") }?.split(separator: " "))
        #expect(try #require(Int(row[1].filter(\.isNumber))) > 0)
        #expect(result.output.contains("lost: ") && result.output.contains("A promise was broken."))
    }

    @Test func `uses a folder for one run only`() async throws {
        let folder = try TemporaryFolder()
        try folder.write("", to: "client.log")
        let result = try await run(Repository.godwitLab, ["torture", "--directory", folder.path])
        #expect(result.exit == .status(1))
        #expect(result.error.contains("use a separate folder for each run"))
    }

    /// A device token of a run has 64 hexadecimal digits in a row.
    private static func expectNoToken(_ text: String) throws {
        #expect(text.firstMatch(of: /[0-9a-f]{48}/) == nil)
    }
}
