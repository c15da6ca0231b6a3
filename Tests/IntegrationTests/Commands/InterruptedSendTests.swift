import Foundation
import PushTesting
import Testing

/// What `godwit send` reports when it ends before all pushes have a verdict.
@Suite struct `An early end of godwit send` {
    private static let app = "com.example.app"

    private static func line(_ number: Int) -> String {
        let token = String(number + 0x1000_0000, radix: 16) + String(repeating: "0", count: 56)
        return #"{"device_token":"\#(token)","payload":{"aps":{"alert":"x"}}}"#
    }

    /// Three pushes and a refused line, with a blank line between them.
    private static let pushes = [line(0), "", line(1), "{", line(2)].joined(separator: "\n")

    /// Checks the results of `pushes` that wait.
    private func checkResults(_ file: String) throws {
        let results = try objects(try String(contentsOfFile: file, encoding: .utf8))
        #expect(results.count == 4)
        let waiting = results.filter { $0["state"] as? String == "waiting" }
        #expect(waiting.map { $0["index"] as? Int } == [0, 1, 3])
        #expect(waiting.map { $0["line"] as? Int } == [1, 3, 5])
        #expect(waiting.map { $0["token"] as? String } == ["10000000", "10000001", "10000002"])
        #expect(Set(waiting.compactMap { $0["msg_id"] as? String }).count == 3)
        let refused = results.filter { $0["status"] as? String == "refused" }
        #expect(refused.map { $0["line"] as? Int } == [4])
    }

    @Test func `by a time-out writes the IDs`() async throws {
        let gateway = try await RunningGateway.start()
        #expect(try await gateway.godwit(["pause", Self.app]).exit == .status(0))
        let folder = try TemporaryFolder()
        let file = try folder.write(Self.pushes, to: "pushes.ndjson")
        let send = ["send", "--file", file, "--timeout", "0"]
        let listed = try await gateway.godwit(send)
        #expect(listed.exit == .status(1))
        let lines = listed.error.split(separator: "\n")
        #expect(lines.contains { $0.hasPrefix("line 4: refused: 2020 ") }, "\(listed.error)")
        #expect(lines.count { $0.contains(", token 1000000") && $0.contains("…: waiting, 0") } == 3, "\(listed.error)")
        #expect(lines.last?.contains("3 pushes have no verdict yet") == true)

        let written = try await gateway.godwit(send + ["--results", folder.file("results")])
        #expect(
            written.exit == .status(1) && !written.error.contains(": waiting")
                && written.error.contains("results has the IDs"), "\(written.error)")
        try checkResults(folder.file("results"))
        #expect(try await gateway.stop() == .status(0))
    }

    @Test(arguments: [SIGINT, SIGTERM]) func `by a signal reports what was accepted`(_ signal: Int32) async throws {
        let gateway = try await RunningGateway.start()
        #expect(try await gateway.godwit(["pause", Self.app]).exit == .status(0))
        let folder = try TemporaryFolder()
        let file = try folder.write(Self.pushes, to: "pushes.ndjson")
        let results = folder.file("results")
        let send = try ChildProcess(
            Repository.godwit, ["send", "--file", file, "--results", results, "--json", "--url", gateway.url])
        // The note follows the acceptance of all pushes.
        try await waitUntil("the note") { send.text(.error).contains("the app is paused") }
        send.signal(signal)
        #expect(try await send.waitForExit() == .status(1))
        let error = send.text(.error).split(separator: "\n").last ?? ""
        #expect(
            error == "Error: interrupted; all lines have a result (3 accepted, 1 refused): do not send the file again")
        let summary = try #require(try objects(send.text()).first)
        #expect(summary["accepted"] as? Int == 3 && summary["failure"] as? String == "interrupted")
        try checkResults(results)
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `by a signal while standard input has no data names the line`() async throws {
        let gateway = try await RunningGateway.start()
        let script =
            "exec \(Repository.godwit) send --file - --url \(gateway.url) < <(echo '\(Self.line(0))'; sleep 60)"
        let send = try ChildProcess("bash", ["-c", script])
        try await waitUntil("the push") {
            try await curl(["\(gateway.control)/pushes"]).body.contains("10000000")
        }
        send.signal(SIGINT)
        #expect(try await send.waitForExit() == .status(1))
        let error = send.text(.error)
        #expect(error.contains("Error: interrupted; ") && error.contains("start at line "), "\(error)")
        #expect(send.text().hasPrefix("1 push accepted in ") || send.text().isEmpty, "\(send.text())")
        #expect(!send.text().contains(" of 1 "), "the length of the input is not known: \(send.text())")
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `of a push from flags names the push and how to query it`() async throws {
        let gateway = try await RunningGateway.start()
        #expect(try await gateway.godwit(["pause", Self.app]).exit == .status(0))
        let push = ["send", "--token", String(repeating: "ab", count: 32), "--alert", "x", "--url", gateway.url]
        let send = try ChildProcess(Repository.godwit, push)
        try await waitUntil("the note") { send.text(.error).contains("the app is paused") }
        send.signal(SIGINT)
        #expect(try await send.waitForExit() == .status(1))
        let id = try #require(send.text().split(separator: "\n").first)
        let advice = "query it later with: godwit status \(id) --url \(gateway.url)"
        let error = send.text(.error).split(separator: "\n").last ?? ""
        #expect(error == "Error: interrupted; 1 push has no verdict yet; \(advice)")
        #expect(try await gateway.godwit(["status", String(id)]).exit == .status(0))

        let late = try await gateway.godwit(push + ["--timeout", "0"])
        #expect(late.exit == .status(1))
        let reason = "Error: 1 push has no verdict yet; query it later with: godwit status "
        #expect(late.error.contains(reason), "\(late.error)")
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `by the death of the gateway says that all lines have a result`() async throws {
        let gateway = try await GatewayUnderTest()
        defer { gateway.process.signal(SIGKILL) }
        #expect(try await run(Repository.godwit, ["pause", Self.app, "--url", gateway.url]).exit == .status(0))
        let file = try gateway.folder.write(Self.pushes, to: "pushes.ndjson")
        let results = gateway.folder.file("results")
        let send = try ChildProcess(
            Repository.godwit, ["send", "--file", file, "--results", results, "--url", gateway.url])
        try await waitUntil("the note") { send.text(.error).contains("the app is paused") }
        try await gateway.kill()
        #expect(try await send.waitForExit() == .status(1))
        let error = send.text(.error).split(separator: "\n").last ?? ""
        #expect(error.hasSuffix("; all lines have a result (3 accepted, 1 refused): do not send the file again"))
        try checkResults(results)
        try await gateway.close()
    }

    @Test func `before the first line is not taken for success`() async throws {
        let folder = try TemporaryFolder()
        let file = try folder.write(Self.pushes, to: "pushes.ndjson")
        let url = "http://127.0.0.1:\(try freePort())"
        let result = try await run(Repository.godwit, ["send", "--file", file, "--url", url])
        #expect(result.exit == .status(1))
        #expect(result.error.hasSuffix("; no line was sent\n"), "\(result.error)")
    }
}
