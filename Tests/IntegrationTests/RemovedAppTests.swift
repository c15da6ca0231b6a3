import Foundation
import PushTesting
import Testing

@Suite struct `An app that was removed from the configuration` {
    @Test func `is listed and counted, and its waiting pushes can be cancelled`() async throws {
        let gateway = try await GatewayUnderTest()
        defer { gateway.process.signal(SIGKILL) }
        func godwit(_ arguments: [String]) async throws -> ProgramResult {
            try await run(Repository.godwit, arguments, environment: ["GODWIT_URL": gateway.url])
        }
        let token = String(repeating: "ab", count: 32)
        let sent = try await godwit([
            "send", "--token", token, "--alert", "later", "--not-before", "1900000000", "--no-wait",
        ])
        #expect(sent.exit == .status(0), "\(sent.error)")
        #expect(try await gateway.stop() == .status(0))
        let file = gateway.folder.file("godwit.yaml")
        let configuration = try String(contentsOfFile: file, encoding: .utf8)
        try configuration.replacing("com.example.app", with: "com.example.new")
            .write(toFile: file, atomically: true, encoding: .utf8)
        try await gateway.restart()

        let list = try await godwit(["apps"]).output
        let line = try #require(list.split(separator: "\n").first { $0.contains("com.example.app") }, "\(list)")
        #expect(line.contains("not configured") && line.contains(" 1 "), "\(list)")
        #expect(list.contains("com.example.new"))
        try await waitUntil("the metric") {
            let metrics = try await curl(["\(gateway.url)/metrics"]).body
            return metrics.contains("\ngodwit_queue_unconfigured_pushes 1\n")
                && metrics.contains("\ngodwit_queue_pushes{app=\"com.example.app\"} 1\n")
        }
        #expect(try await godwit(["cancel", "--app", "com.example.app"]).output == "1 push cancelled\n")
        #expect(!(try await godwit(["apps"]).output.contains("com.example.app")))
        let unknown = try await godwit(["cancel", "--app", "com.example.app"])
        #expect(unknown.exit == .status(1) && unknown.error.contains("no app \"com.example.app\""), "\(unknown.error)")
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }
}
