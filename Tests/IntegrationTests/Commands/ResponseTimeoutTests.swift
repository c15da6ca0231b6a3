import Foundation
import PushTesting
import Testing

/// A gateway that is stopped or hangs keeps its port: the kernel accepts connections for it.
@Suite struct `A gateway that does not respond` {
    private static let id = "00000000-0000-7000-8000-000000000001"

    @Test(
        arguments: [
            ["apps"], ["pause", "x"], ["resume", "x"], ["cancel", id], ["cancel", "--app", "x"], ["status", id],
            ["dead-letters"], ["dead-letters", "show", id], ["dead-letters", "replay", "--all"],
            ["dead-letters", "purge", "--all", "--yes"],
        ].map { $0 + ["--timeout", "1"] } + [
            ["send", "--token", String(repeating: "ab", count: 32), "--alert", "x", "--response-timeout", "1"]
        ]
    )
    func `is reported in one line with status 1`(_ arguments: [String]) async throws {
        let listener = try LoopbackListener()
        let url = "http://127.0.0.1:\(listener.port)"
        let result = try await run(Repository.godwit, arguments + ["--url", url], within: .seconds(60))
        #expect(result.exit == .status(1))
        #expect(result.error.hasPrefix("Error: the gateway at \(url) has not responded for 1.0 s"), "\(result.error)")
        #expect(result.error.split(separator: "\n").count == 1, "\(result.error)")
        withExtendedLifetime(listener) {}
    }

    @Test func `is not reported while the command waits for its input`() async throws {
        let gateway = try await RunningGateway.start()
        let push = #"{"device_token":"\#(String(repeating: "ab", count: 32))","payload":{"aps":{"alert":"x"}}}"#
        let script =
            "(echo '\(push)'; sleep 3; echo '\(push)') | \(Repository.godwit) send --file - --response-timeout 1"
        let sent = try await run("bash", ["-c", script], environment: ["GODWIT_URL": gateway.url])
        #expect(sent.exit == .status(0), "\(sent.error)")
        #expect(sent.output.contains("2 of 2 pushes accepted"), "\(sent.output)")
        // A stopped process is reported.
        gateway.process.signal(SIGSTOP)
        let apps = try await gateway.godwit(["apps", "--timeout", "1"])
        #expect(apps.exit == .status(1) && apps.error.contains("has not responded"), "\(apps.error)")
        gateway.process.signal(SIGCONT)
        #expect(try await gateway.godwit(["apps"]).exit == .status(0))
        #expect(try await gateway.stop() == .status(0))
    }

    @Test(arguments: [("http://127.0.0.1:1", "connection refused"), ("https://127.0.0.1:1", "connection refused")])
    func `is reported with the reason if the connection fails`(_ url: String, _ reason: String) async throws {
        let result = try await run(Repository.godwit, ["apps", "--url", url])
        #expect(result.exit == .status(1))
        #expect(result.error == "Error: the gateway at \(url) cannot be reached: \(reason)\n")
    }

    @Test func `is reported if it has no TLS and the URL is https`() async throws {
        let gateway = try await RunningGateway.start()
        let url = gateway.url.replacing("http:", with: "https:")
        let result = try await run(Repository.godwit, ["apps", "--url", url])
        #expect(result.exit == .status(1))
        #expect(result.error.contains("TLS handshake failed"), "\(result.error)")
        #expect(try await gateway.stop() == .status(0))
    }
}
