import Foundation
import PushAccept
import PushModel
import Testing

@Suite struct `The documentation` {
    private static let docs = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("docs/reference")

    /// `GODWIT_UPDATE_DOCS=1` writes the page instead of comparing it.
    @Test func `the page of error codes matches the table`() throws {
        let file = Self.docs.appendingPathComponent("error-codes.md")
        if ProcessInfo.processInfo.environment["GODWIT_UPDATE_DOCS"] != nil {
            try Data(ErrorCodesPage.markdown.utf8).write(to: file)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == ErrorCodesPage.markdown)
    }

    @Test func `the table of fields has every field`() throws {
        let page = try String(contentsOf: Self.docs.appendingPathComponent("http-api.md"), encoding: .utf8)
        for field in PushField.allCases { #expect(page.contains("`\(field.rawValue)`"), "\(field)") }
    }

    struct Example: Sendable {
        var command: String
        var output: String
    }

    /// A `bash` block and the block after it, which is its output.
    private static func examples() throws -> [Example] {
        let page = try String(contentsOf: docs.appendingPathComponent("http-api.md"), encoding: .utf8)
        return page.matches(of: /```bash\n((?:[^`]|`[^`])*)```\n```\w+\n((?:[^`]|`[^`])*)```/)
            .map { Example(command: String($0.1), output: String($0.2)) }
    }

    @Test func `every example of the API has the output on the page`() async throws {
        let examples = try Self.examples()
        #expect(examples.count >= 8)
        let apps = AppDirectory(apps: [ConfiguredApp(id: AppID("com.example.app"), bundleID: "com.example.app")])
        let clock = TestClock()
        try await TestGateway.run(apps: apps, queue: FaultyStore(delivers: true), clock: clock) { gateway in
            for example in examples {
                // So that the ids of later examples are greater: a search returns the newest push first.
                clock.advance(by: .milliseconds(2))
                let command = example.command.replacing("127.0.0.1:8025", with: "127.0.0.1:\(gateway.port)")
                    .replacing("sleep 1\n", with: "")
                let output = try await onThread { try Self.shell(command) }
                #expect(Self.normal(output) == Self.normal(example.output), "\(example.command)\n\(output)")
            }
        }
    }

    private static func shell(_ command: String) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-ec", command]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Without ids and times, which differ from run to run.
    private static func normal(_ text: String) -> String {
        text.replacing(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/, with: "ID")
            .replacing(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/, with: "TIME")
            .replacing(/"timestamp":\d+/, with: "\"timestamp\":TIME")
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
