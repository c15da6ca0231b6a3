import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `Repeated godwit send` {
    private static let count = 2500

    /// About 10 MB, so three chunks.
    private static func pushes(alert: String = "x") -> String {
        let alert = String(repeating: alert, count: 3900)
        return (0..<count).map { number in
            let token = String(number + 0x1000_0000, radix: 16) + String(repeating: "0", count: 56)
            return #"{"device_token":"\#(token)","payload":{"aps":{"alert":"\#(alert)"}}}"#
        }.joined(separator: "\n")
    }

    private static func ids(_ file: String) throws -> [String] {
        try objects(try String(contentsOfFile: file, encoding: .utf8)).compactMap { $0["msg_id"] as? String }
    }

    @Test func `with a key accepts no push twice, even if the gateway is killed`() async throws {
        let gateway = try await GatewayUnderTest()
        defer { gateway.process.signal(SIGKILL) }
        let file = try gateway.folder.write(Self.pushes(), to: "pushes.ndjson")
        let send = ["send", "--file", file, "--idempotency-key", "campaign-7", "--no-wait", "--url", gateway.url]
        let first = try ChildProcess(Repository.godwit, send)
        // The first chunk is accepted, the others are in flight or not sent yet.
        try await waitUntil("the first pushes") { gateway.simulator.counters.taken > 0 }
        try await gateway.kill()
        if try await first.waitForExit() != .status(0) {
            #expect(
                first.text(.error).contains("repeat the same command: no push is accepted twice"),
                "\(first.text(.error))")
        }
        try await gateway.restart()
        var results: [[String]] = []
        for name in ["one", "two"] {
            let path = gateway.folder.file(name)
            let again = try await run(Repository.godwit, send + ["--results", path])
            #expect(again.exit == .status(0), "\(again.error)")
            #expect(again.output.contains("2,500 of 2,500 pushes accepted"), "\(again.output)")
            results.append(try Self.ids(path))
        }
        #expect(results[0] == results[1])
        let third = try await run(Repository.godwit, send)
        #expect(third.output.contains("(stored response: nothing was accepted again)"), "\(third.output)")
        let ids = Set(results[0].compactMap { APNSID($0) })
        #expect(ids.count == Self.count)
        let states = try await gateway.settledStates(of: Array(ids))
        #expect(states == ["delivered": Self.count])
        // APNs received no other ID, so no push was accepted twice.
        #expect(Set(gateway.simulator.takenIDs()) == ids)

        let other = try gateway.folder.write(Self.pushes(alert: "y"), to: "other.ndjson")
        let refused = try await run(
            Repository.godwit, ["send", "--file", other, "--idempotency-key", "campaign-7", "--url", gateway.url])
        #expect(refused.exit == .status(1))
        #expect(refused.error.contains("422") && !refused.error.contains("repeat"), "\(refused.error)")
        try await gateway.close()
    }

    @Test func `with a key can be cancelled by that key`() async throws {
        let gateway = try await RunningGateway.start()
        #expect(try await gateway.godwit(["pause", "com.example.app"]).exit == .status(0))
        let folder = try TemporaryFolder()
        let lines = Self.pushes().split(separator: "\n").prefix(3).joined(separator: "\n")
        let file = try folder.write(lines, to: "pushes.ndjson")
        let sent = try await gateway.godwit(["send", "--file", file, "--idempotency-key", "campaign-9", "--no-wait"])
        #expect(sent.exit == .status(0), "\(sent.error)")
        let cancelled = try await gateway.godwit(["cancel", "--request", "campaign-9"])
        #expect(cancelled.output.contains("3 pushes cancelled"), "\(cancelled.output) \(cancelled.error)")
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `reports that pushes of a paused app are delayed`() async throws {
        let gateway = try await RunningGateway.start()
        #expect(try await gateway.godwit(["pause", "com.example.app"]).exit == .status(0))
        let arguments = ["send", "--token", String(repeating: "ab", count: 32), "--alert", "x", "--no-wait"]
        let sent = try await gateway.godwit(arguments)
        #expect(sent.exit == .status(0))
        #expect(sent.error == "1 push is accepted and delayed: the app is paused; resume it with godwit resume\n")
        let summary = try #require(try objects(try await gateway.godwit(arguments + ["--json"]).output).first)
        #expect(summary["delayed"] as? [String: Int] == ["paused": 1])
        #expect(try await gateway.stop() == .status(0))
    }

    @Test(arguments: ["", "two words", "a,b", "ä", String(repeating: "x", count: 201)])
    func `with a key that no header can hold is a wrong command line`(_ key: String) async throws {
        let result = try await run(
            Repository.godwit, ["send", "--token", "ab", "--alert", "x", "--idempotency-key", key])
        #expect(result.exit == .status(2))
    }
}
