import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

/// The client programs in README.md run as printed, each against a gateway and a simulator.
@Suite struct `Clients of the README` {
    /// A section of the page with one program.
    struct Client: Sendable, CustomTestStringConvertible {
        let heading: String
        let language: String
        /// The same program in Examples/Clients.
        let file: String
        /// The commands that build and run it in its folder; the last one prints the response or the push ID.
        let commands: [[String]]

        var testDescription: String { heading }

        static let all = [
            Client(
                heading: "curl", language: "bash", file: "send.sh", commands: [["bash", "-euo", "pipefail", "send.sh"]]
            ),
            Client(heading: "Python", language: "python", file: "send.py", commands: [["python3", "send.py"]]),
            Client(heading: "Node.js", language: "javascript", file: "send.mjs", commands: [["node", "send.mjs"]]),
            Client(heading: "Go", language: "go", file: "send.go", commands: [["go", "run", "send.go"]]),
            Client(
                heading: "Swift", language: "swift", file: "send.swift",
                commands: [["swiftc", "send.swift", "-o", "send"], ["./send"]]
            ),
        ]
    }

    @Test(arguments: Client.all)
    func `sends a push that reaches APNs`(_ client: Client) async throws {
        let folder = try TemporaryFolder()
        try folder.write(Self.program(of: client), to: client.file)
        let gateway = try await GatewayUnderTest()
        defer { gateway.process.signal(SIGKILL) }
        // go refuses to run without a cache folder; this one outlives the test, so that Go's library is built once.
        let environment = ["GODWIT_URL": gateway.url, "GOCACHE": "\(Repository.root)/.build/tests/go-cache"]
        var output = ""
        for command in client.commands {
            // The limit covers the first build of Go's library.
            let result = try await run(
                command[0], Array(command.dropFirst()), environment: environment, folder: folder.path,
                within: .seconds(300)
            )
            #expect(result.exit == .status(0), "\(client.file): \(result.error)")
            output = result.output
        }
        let match = try #require(output.firstMatch(of: /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/), "\(output)")
        let id = try #require(APNSID(String(match.0)))
        #expect(try await gateway.settledStates(of: [id]) == ["delivered": 1])
        #expect(gateway.simulator.takenIDs() == [id])
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }

    @Test(arguments: Client.all)
    func `is the file in Examples, word for word`(_ client: Client) throws {
        let path = "\(Repository.root)/Examples/Clients/\(client.file)"
        let file = try String(contentsOfFile: path, encoding: .utf8)
            // The Swift file has the markers of compiled snippets.
            .replacing("// snippet: client\n", with: "").replacing("// snippet end\n", with: "")
        #expect(try Self.program(of: client) == file)
    }

    /// The first block in the client's language below its heading.
    private static func program(of client: Client) throws -> String {
        let page = try String(contentsOfFile: "\(Repository.root)/README.md", encoding: .utf8)
        let section = try #require(page.split(separator: "\n### \(client.heading)\n").dropFirst().first)
        let rest = try #require(section.split(separator: "```\(client.language)\n").dropFirst().first)
        return String(try #require(rest.split(separator: "\n```").first)) + "\n"
    }
}
