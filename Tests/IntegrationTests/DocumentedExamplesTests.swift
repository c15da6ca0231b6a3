import Foundation
import PushTesting
import Testing

/// Runs the shell examples of the documentation as printed.
///
/// A block marked `bash` or `sh` runs; one marked `console` is only shown, because it needs Apple or does not end.
@Suite struct `Examples of the documentation` {
    private static let pages = [
        "README.md", "docs/reference/http-api.md", "docs/tutorials/first-push.md",
        "docs/tutorials/first-push-to-simulator.md", "docs/guides/send-reliably.md",
        "docs/guides/cancel-and-pause.md",
    ]

    /// A device token that no other example uses.
    private static let deviceToken = String(repeating: "c3", count: 32)

    @Test(arguments: pages)
    func `every shell example works as printed`(_ page: String) async throws {
        let examples = try shellBlocks(of: page).filter { $0.script.contains("curl") || $0.script.contains("godwit") }
        try #require(!examples.isEmpty)
        let gateway = try await RunningGateway.start()
        let first = try await curl(
            [
                "\(gateway.url)/push", "-H", "Content-Type: application/json", "-d",
                #"{"device_token":"\#(String(repeating: "ab", count: 32))","payload":{"aps":{"alert":"first"}}}"#,
            ]
        )
        var messageID = try #require(try objects(first.body).first?["msg_id"] as? String)
        let folder = try TemporaryFolder()
        let programs = (Repository.godwit as NSString).deletingLastPathComponent
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        for example in examples {
            let script = example.script
                .replacing("http://127.0.0.1:8025", with: gateway.url)
                .replacing("http://127.0.0.1:8444", with: gateway.control)
            let result = try await run(
                "bash", ["-euo", "pipefail", "-c", script],
                environment: [
                    "MSG_ID": messageID, "DEVICE_TOKEN": Self.deviceToken, "GODWIT_URL": gateway.url,
                    "PATH": "\(programs):\(path)",
                ], folder: folder.path
            )
            #expect(result.exit == .status(0), "\(page): \(example.script)\n\(result.error)")
            try check(result.output, of: example, on: page)
            // Later examples query the push of the one before.
            if let id = result.output.firstMatch(of: /"msg_id": ?"([0-9a-f-]{36})"/) { messageID = String(id.1) }
        }
        #expect(try await gateway.stop() == .status(0))
    }

    /// A command, and the response that the page shows below it, if any.
    private struct Example {
        var script: String
        var response: String

        /// Some examples show an error.
        var showsProblem: Bool { Example.isProblem(response) }

        static func isProblem(_ text: String) -> Bool { text.contains("\"type\":") && text.contains("\"title\":") }
    }

    /// The response must be a problem document exactly where the page shows one, and then the same; refused items of a
    /// batch are not problem documents.
    private func check(_ output: String, of example: Example, on page: String) throws {
        #expect(!output.isEmpty, "\(page): \(example.script)")
        guard output.hasPrefix("{") else { return }
        #expect(Example.isProblem(output) == example.showsProblem, "\(page): \(example.script)\n\(output)")
        if example.showsProblem { #expect(output.trimmed == example.response.trimmed, "\(page)") }
    }

    private func shellBlocks(of page: String) throws -> [Example] {
        let text = try String(contentsOfFile: "\(Repository.root)/\(page)", encoding: .utf8)
        return text.matches(of: /```(?:bash|sh)\n((?:.|\n)*?)```\n(?:```json\n((?:.|\n)*?)```)?/).map {
            Example(script: String($0.1), response: $0.2.map(String.init) ?? "")
        }
    }
}

extension String {
    fileprivate var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
