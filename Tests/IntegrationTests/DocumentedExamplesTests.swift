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
        let examples = try shellBlocks(of: page).filter { $0.contains("curl") }
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
            let script = example.replacing("http://127.0.0.1:8025", with: gateway.url)
            let result = try await run("bash", ["-euo", "pipefail", "-c", script], environment: ["MSG_ID": messageID])
            #expect(result.exit == .status(0), "\(page): \(example)\n\(result.error)")
            try check(result.output, of: example, on: page)
            // Later examples ask for what the one before has sent.
            if let id = result.output.firstMatch(of: /"msg_id": ?"([0-9a-f-]{36})"/) { messageID = String(id.1) }
        }
        #expect(try await gateway.stop() == .status(0))
    }

    /// An answer that an example is shown with must not be a problem document; refused items are part of the tour.
    private func check(_ output: String, of example: String, on page: String) throws {
        #expect(!output.isEmpty, "\(page): \(example)")
        guard output.hasPrefix("{") else { return }
        let isProblem = output.contains("\"type\":") && output.contains("\"title\":")
        #expect(!isProblem, "\(page): \(example)\n\(output)")
    }

    private func shellBlocks(of page: String) throws -> [String] {
        let text = try String(contentsOfFile: "\(Repository.root)/\(page)", encoding: .utf8)
        return text.matches(of: /```(?:bash|sh)\n((?:.|\n)*?)```/).map { String($0.1) }
    }
}
