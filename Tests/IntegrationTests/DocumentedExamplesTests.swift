import Foundation
import PushTesting
import Testing

/// What the documents tell people to paste is pasted here.
@Suite struct `Examples of the documents` {
    /// The pages with examples to paste into a shell.
    private static let pages = ["README.md", "docs/api.md"].filter {
        FileManager.default.fileExists(atPath: "\(Repository.root)/\($0)")
    }

    @Test(arguments: pages)
    func `every curl example works as it stands`(_ page: String) async throws {
        let examples = try shellBlocks(of: page).filter { $0.script.contains("curl") }
        try #require(!examples.isEmpty)
        let gateway = try await RunningGateway.start()
        let first = try await curl(
            [
                "\(gateway.url)/push", "-H", "Content-Type: application/json", "-d",
                #"{"device_token":"\#(String(repeating: "ab", count: 32))","payload":{"aps":{"alert":"first"}}}"#,
            ]
        )
        var messageID = try #require(try objects(first.body).first?["msg_id"] as? String)
        for example in examples {
            let script = example.script.replacing("http://127.0.0.1:8025", with: gateway.url)
            let result = try await run("bash", ["-euo", "pipefail", "-c", script], environment: ["MSG_ID": messageID])
            #expect(result.exit == .status(0), "\(page): \(example.script)\n\(result.error)")
            try check(result.output, of: example, on: page)
            // Later examples ask for what the one before has sent.
            if let id = result.output.firstMatch(of: /"msg_id": ?"([0-9a-f-]{36})"/) { messageID = String(id.1) }
        }
        #expect(try await gateway.stop() == .status(0))
    }

    /// A command, and the answer that the page shows below it, if any.
    private struct Example {
        var script: String
        var answer: String

        /// Some examples show what goes wrong.
        var showsProblem: Bool { Example.isProblem(answer) }

        static func isProblem(_ text: String) -> Bool { text.contains("\"type\":") && text.contains("\"title\":") }
    }

    /// The answer must be a problem document exactly where the page shows one, and then the same; refused items of a
    /// batch are no problem.
    private func check(_ output: String, of example: Example, on page: String) throws {
        #expect(!output.isEmpty, "\(page): \(example.script)")
        guard output.hasPrefix("{") else { return }
        #expect(Example.isProblem(output) == example.showsProblem, "\(page): \(example.script)\n\(output)")
        if example.showsProblem { #expect(output.trimmed == example.answer.trimmed, "\(page)") }
    }

    private func shellBlocks(of page: String) throws -> [Example] {
        let text = try String(contentsOfFile: "\(Repository.root)/\(page)", encoding: .utf8)
        return text.matches(of: /```(?:bash|sh)\n((?:.|\n)*?)```\n(?:```json\n((?:.|\n)*?)```)?/).map {
            Example(script: String($0.1), answer: $0.2.map(String.init) ?? "")
        }
    }
}

extension String {
    fileprivate var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
