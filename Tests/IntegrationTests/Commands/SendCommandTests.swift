import Foundation
import PushTesting
import Testing

@Suite struct `godwit send and godwit status` {
    private static let token = String(repeating: "ab", count: 32)

    @Test func `a push from flags is delivered, and its status can be queried`() async throws {
        let gateway = try await RunningGateway.start()
        let sent = try await gateway.godwit(["send", "--token", Self.token, "--alert", "Tea \"is\" ready ☕"])
        #expect(sent.exit == .status(0), "\(sent.error)")
        let words = sent.output.split(separator: "\n")
        try #require(words.count == 2, "\(sent.output)")
        #expect(words[1] == "delivered")

        let status = try await gateway.godwit(["status", String(words[0]), "--json"])
        #expect(status.exit == .status(0), "\(status.error)")
        let object = try #require(try objects(status.output).first)
        #expect(object["msg_id"] as? String == String(words[0]))
        #expect(object["state"] as? String == "delivered")
        #expect(try await gateway.godwit(["status", String(words[0])]).output.contains("delivered"))

        let unknown = try await gateway.godwit(["status", "00000000-0000-7000-8000-000000000001"])
        #expect(unknown.exit == .status(1))
        #expect(unknown.error.contains("has no push with this ID"))
        // The control API of the simulator is another server.
        let token = Self.token
        for arguments in [
            ["status", "00000000-0000-7000-8000-000000000001"], ["apps"], ["send", "--token", token, "--alert", "x"],
        ] {
            let other = try await gateway.godwit(arguments + ["--url", gateway.control])
            #expect(other.exit == .status(1))
            #expect(
                other.error == "Error: \(gateway.control) does not respond like a Godwit gateway\n", "\(other.error)")
        }
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `a file is sent, and each push has a result`() async throws {
        let gateway = try await RunningGateway.start()
        let folder = try TemporaryFolder()
        let pushes = (0..<3000).map { number in
            let token = String(number + 0x1000_0000, radix: 16) + String(repeating: "0", count: 56)
            return #"{"device_token":"\#(token)","payload":{"aps":{"alert":"\#(number)"}}}"#
        }
        let file = try folder.write(pushes.joined(separator: "\n"), to: "pushes.ndjson")
        let results = folder.file("results.ndjson")
        let sent = try await gateway.godwit(["send", "--file", file, "--results", results])
        #expect(sent.exit == .status(0), "\(sent.output) \(sent.error)")
        #expect(sent.output.contains("3,000 of 3,000 pushes accepted"))
        let lines = try objects(try String(contentsOfFile: results, encoding: .utf8))
        #expect(lines.count == 3000)
        #expect(Set(lines.compactMap { $0["msg_id"] as? String }).count == 3000)
        #expect(lines.allSatisfy { $0["state"] as? String == "delivered" })
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `refused pushes are counted by reason and result in status 1`() async throws {
        let gateway = try await RunningGateway.start()
        let folder = try TemporaryFolder()
        let good = #"{"device_token":"\#(Self.token)","payload":{"aps":{"alert":"x"}}}"#
        let lines = [good, #"{"payload":{"aps":{}}}"#, "{", good, #"{"device_token":"zz","payload":{}}"#]
        let file = try folder.write(lines.joined(separator: "\n"), to: "pushes.ndjson")
        for arguments in [["--file", file], ["--file", "-"]] {
            let sent = try await gateway.godwit(["send", "--json"] + arguments, input: file)
            #expect(sent.exit == .status(1))
            let summary = try #require(try objects(sent.output).first)
            #expect(summary["accepted"] as? Int == 2)
            #expect(summary["refused"] as? Int == 3)
            let outcomes = try #require(summary["outcomes"] as? [[String: Any]])
            let delivered = outcomes.first { $0["state"] as? String == "delivered" }
            #expect(delivered?["pushes"] as? Int == 2)
            #expect(Set(outcomes.compactMap { $0["code"] as? Int }).isSuperset(of: [2020, 2022]))
        }
        let text = try await gateway.godwit(["send", "--file", file])
        let refusals = text.error.split(separator: "\n")
        #expect(refusals.count == 3, "\(text.error)")
        #expect(
            refusals.first == "line 2: refused: 2022 missing_field, device_token: required, or device_tokens",
            "\(text.error)")
        #expect(refusals.last?.hasPrefix("line 5: refused: ") == true)
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `warnings of the lint are shown, each kind once`() async throws {
        let gateway = try await RunningGateway.start()
        let folder = try TemporaryFolder()
        let odd = #"{"device_token":"\#(Self.token)","payload":{"aps":{"alert":"x"},"badge":1}}"#
        let good = #"{"device_token":"\#(Self.token)","payload":{"aps":{"alert":"x"}}}"#
        let file = try folder.write([good, odd, odd].joined(separator: "\n"), to: "pushes.ndjson")
        let sent = try await gateway.godwit(["send", "--file", file])
        #expect(sent.exit == .status(0), "a push with warnings is accepted: \(sent.error)")
        #expect(sent.output.contains("; 1 kind of warnings\n"), "\(sent.output)")
        let warning =
            "warning (aps-key-outside): `badge` is next to `aps`, where it has no effect; move the key into `aps`"
        #expect(sent.error == "line 2: \(warning)\n", "\(sent.error)")
        let json = try await gateway.godwit(["send", "--file", file, "--json"])
        let warnings = try #require(try objects(json.output).first?["warnings"] as? [[String: Any]])
        #expect(warnings.count == 1 && warnings[0]["rule"] as? String == "aps-key-outside")
        #expect(warnings[0]["line"] as? Int == 2)
        let one = try await gateway.godwit(
            ["send", "--token", Self.token, "--payload", #"{"aps":{"alert":"x"},"badge":1}"#])
        #expect(one.exit == .status(0) && one.error == "\(warning)\n", "\(one.error)")
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `with --no-wait, acceptance suffices`() async throws {
        let gateway = try await RunningGateway.start()
        let sent = try await gateway.godwit([
            "send", "--token", Self.token, "--payload", #"{"aps":{"alert":"x"}}"#, "--no-wait",
        ])
        #expect(sent.exit == .status(0), "\(sent.error)")
        #expect(sent.output.hasSuffix("accepted\n"))
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `a scheduled push is not waited for`() async throws {
        let gateway = try await RunningGateway.start()
        let later = Int(Date().timeIntervalSince1970) + 86_400
        let sent = try await gateway.godwit(["send", "--token", Self.token, "--alert", "x", "--not-before", "\(later)"])
        #expect(sent.exit == .status(0), "\(sent.error)")
        #expect(sent.output.hasSuffix("scheduled\n"))
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `an unreachable gateway is reported in one line with status 1`() async throws {
        let url = "http://127.0.0.1:\(try freePort())"
        for arguments in [
            ["send", "--token", Self.token, "--alert", "x"], ["status", "00000000-0000-7000-8000-000000000001"],
        ] {
            let result = try await run(Repository.godwit, arguments + ["--url", url])
            #expect(result.exit == .status(1))
            #expect(result.error.contains(url) && result.error.contains("cannot be reached"), "\(result.error)")
            #expect(result.error.split(separator: "\n").count == 1)
        }
    }

    @Test(
        arguments: [
            ["send"], ["send", "--token", "ab"], ["send", "--token", "ab", "--alert", "x", "--payload", "{}"],
            ["send", "--token", "ab", "--payload", "{"], ["send", "--file", "x", "--token", "ab"],
            ["send", "--url", "nowhere", "--token", "ab", "--alert", "x"], ["send", "--no-such-flag"],
            ["status"], ["status", "17"], ["send", "--token", "ab", "--badge", "-1"],
            ["send", "--token", "ab", "--alert", "x", "--expiration", "3600"],
            ["send", "--token", "ab", "--alert", "x", "--expiration", "1h", "--idempotency-key", "k"],
            ["demo", "--port", "99999"], ["demo", "--control-port", "-1"], ["serve", "--port", "65536"],
            ["simulate", "--port", "65535"], ["messages", "--state", "nosuch"], ["sned"], ["dead-letters", "lst"],
            ["dead-letters", "purge", "--all"], ["apps", "--ca", "/etc/hosts"], ["apps", "--header", "hunter2"],
        ]
    )
    func `a wrong command line results in status 2`(_ arguments: [String]) async throws {
        let result = try await run(Repository.godwit, arguments)
        #expect(result.exit == .status(2), "\(result.error)")
        #expect(result.error.hasPrefix("Error: "), "\(result.error)")
    }

    @Test(
        arguments: [
            (["send", "--tokn", "ab", "--alert", "x"], "Unknown option '--tokn'. Did you mean '--token'?"),
            (["send", "--token", "ab", "--alrt", "x"], "Unknown option '--alrt'. Did you mean '--alert'?"),
            (["cancel", "--ap", "x"], "Unknown option '--ap'. Did you mean '--app'?"),
            (["dead-letters", "replay", "--al"], "Unknown option '--al'. Did you mean '--all'?"),
            (["send", "--alert", "x"], "--token is missing"),
            (["sned", "--token", "ab"], "Unknown command 'sned'. Did you mean 'send'?"),
            (["demo", "--port", "99999"], "--port must be 0 to 65535"),
        ]
    )
    func `an unknown option is reported before a missing one`(_ arguments: [String], _ error: String) async throws {
        let result = try await run(Repository.godwit, arguments)
        #expect(result.exit == .status(2))
        #expect(result.error.hasPrefix("Error: \(error)"), "\(result.error)")
    }

    @Test(arguments: [[], ["--idempotency-key", "k"]])
    func `a file without a push is reported in one line`(_ options: [String]) async throws {
        let gateway = try await RunningGateway.start()
        let folder = try TemporaryFolder()
        let file = try folder.write("\n  \n", to: "pushes.ndjson")
        let sent = try await gateway.godwit(["send", "--file", file] + options)
        #expect(sent.exit == .status(1))
        #expect(sent.error == "Error: \(file) has no push\n", "\(sent.error)")
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `files that cannot be read or written are reported in one line`() async throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("{}\n", to: "pushes.ndjson")
        for arguments in [
            ["--file", folder.file("missing")], ["--file", folder.path],
            ["--file", file, "--results", "/proc/results"],
        ] {
            let result = try await run(Repository.godwit, ["send"] + arguments)
            #expect(result.exit == .status(1))
            #expect(
                result.error.hasPrefix("Error: ") && result.error.split(separator: "\n").count == 1, "\(result.error)")
        }
    }
}
