import APNSSimulator
import Foundation
import PushTesting
import Testing

@Suite struct `Options of godwit send` {
    private static let tokens = ["ab", "cd"].map { String(repeating: $0, count: 32) }

    /// The payload and the expiration of the last push that the simulator received.
    private func send(
        _ gateway: GatewayUnderTest, _ arguments: [String], input: String? = nil, environment: [String: String] = [:]
    ) async throws -> ReceivedPush {
        let result = try await run(
            Repository.godwit, ["send", "--token", Self.tokens[0], "--url", gateway.url] + arguments,
            environment: environment, input: input)
        #expect(result.exit == .status(0), "\(result.error)")
        return try #require(gateway.simulator.pushes().last)
    }

    @Test func `describe an alert, or read a payload`() async throws {
        let gateway = try await GatewayUnderTest()
        defer { gateway.process.signal(SIGKILL) }
        let file = try gateway.folder.write("\u{FEFF}{\"aps\":\n{\"alert\":\"f\"}}\n", to: "payload.json")
        let cases: [(arguments: [String], payload: String)] = [
            (["--alert", "x"], #"{"aps":{"alert":"x"}}"#),
            (
                ["--title", "t", "--subtitle", "s", "--alert", "b", "--sound", "default", "--badge", "3"],
                #"{"aps":{"alert":{"title":"t","subtitle":"s","body":"b"},"sound":"default","badge":3}}"#
            ),
            (["--badge", "0"], #"{"aps":{"badge":0}}"#),
            (["--payload", "@\(file)"], #"{"aps": {"alert":"f"}} "#),
            (["--payload", "@~/payload.json"], #"{"aps": {"alert":"f"}} "#),
            (["--payload", "-"], #"{"aps": {"alert":"f"}} "#),
        ]
        for one in cases {
            let push = try await send(
                gateway, one.arguments, input: file, environment: ["HOME": gateway.folder.path])
            let payload = String(decoding: push.payload, as: UTF8.self)
            #expect(payload.trimmingCharacters(in: .whitespaces) == one.payload.trimmingCharacters(in: .whitespaces))
        }
        let now = Int64(Date().timeIntervalSince1970)
        let relative = try await send(gateway, ["--alert", "x", "--expiration", "1h"])
        let expiration = try #require(relative.expiration)
        #expect((now + 3600...now + 3700).contains(expiration))
        let absolute = try await send(gateway, ["--alert", "x", "--expiration", "2100-01-01T00:00:00Z"])
        #expect(absolute.expiration == 4_102_444_800)
        try await gateway.close()
    }

    @Test func `send to several devices, and list the results`() async throws {
        let gateway = try await RunningGateway.start()
        let sent = try await gateway.godwit(
            ["send", "--alert", "x", "--token", Self.tokens[0], "--token", "zz", "--token", Self.tokens[1]])
        #expect(sent.exit == .status(1))
        let lines = sent.output.split(separator: "\n").map { $0.split(separator: " ") }
        try #require(lines.count == 4, "\(sent.output)")
        #expect(lines[1].first == "abababab" && lines[1].last == "delivered")
        #expect(lines[2].contains("refused:") && lines[3].first == "cdcdcdcd")
        let json = try await gateway.godwit(
            ["send", "--alert", "x", "--token", Self.tokens[0], "--token", "zz", "--json"])
        let results = try #require(try objects(json.output).first?["results"] as? [[String: Any]])
        #expect(Set(results.compactMap { $0["index"] as? Int }) == [0, 1] && results.count == 2)
        let delivered = try #require(results.first { $0["state"] as? String == "delivered" })
        #expect(delivered["token"] as? String == "abababab" && delivered["msg_id"] as? String != nil)
        // Several IDs.
        let ids = [String(lines[1][1]), String(lines[3][1])]
        let status = try await gateway.godwit(["status"] + ids)
        #expect(status.exit == .status(0), "\(status.error)")
        #expect(status.output.components(separatedBy: "\n\n").count == 2, "\(status.output)")
        let unknown = "00000000-0000-7000-8000-000000000001"
        let some = try await gateway.godwit(["status", ids[0], unknown, "--json"])
        #expect(some.exit == .status(1))
        #expect(try objects(some.output).map { $0["state"] as? String } == ["delivered", "unknown"])
        #expect(try await gateway.stop() == .status(0))
    }

    @Test(arguments: [[], ["--idempotency-key", "mark"]])
    func `accept a file with a byte order mark`(_ options: [String]) async throws {
        let gateway = try await RunningGateway.start()
        let folder = try TemporaryFolder()
        let push = #"{"device_token":"\#(Self.tokens[0])","payload":{"aps":{"alert":"x"}}}"#
        let file = try folder.write("\u{FEFF}\(push)\n", to: "pushes.ndjson")
        for arguments in [["--file", file], ["--file", "-"], ["--file=~/pushes.ndjson"]] {
            let sent = try await run(
                Repository.godwit, ["send"] + arguments + options,
                environment: ["GODWIT_URL": gateway.url, "HOME": folder.path], input: file)
            #expect(sent.exit == .status(0), "\(sent.output) \(sent.error)")
        }
        #expect(try await gateway.stop() == .status(0))
    }
}
