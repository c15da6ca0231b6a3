import Foundation
import PushTesting
import Testing

@Suite struct `Control commands` {
    private static let app = "com.example.app"
    private static let unknownID = "00000000-0000-7000-8000-000000000001"

    /// Sends a push that is due far in the future, and returns its ID.
    private func sendScheduled(_ gateway: RunningGateway) async throws -> String {
        let token = String(repeating: "ab", count: 32)
        let sent = try await gateway.godwit([
            "send", "--token", token, "--alert", "later", "--not-before", "1900000000", "--no-wait",
        ])
        #expect(sent.exit == .status(0), "\(sent.error)")
        return try #require(sent.output.split(separator: "\n").first.map(String.init))
    }

    @Test func `pushes are cancelled by id, request and app`() async throws {
        let gateway = try await RunningGateway.start()
        let ids = [try await sendScheduled(gateway), try await sendScheduled(gateway)]
        let both = try await gateway.godwit(["cancel"] + ids)
        #expect(both.exit == .status(0), "\(both.error)")
        #expect(both.output == "\(ids[0])  cancelled\n\(ids[1])  cancelled\n\n2 of 2 cancelled\n")
        let unknown = try await gateway.godwit(["cancel", Self.unknownID])
        #expect(unknown.exit == .status(1))
        #expect(unknown.output == "\(Self.unknownID)  no push with this ID\n")
        let json = try await gateway.godwit(["cancel", Self.unknownID, "--json"])
        #expect(json.output.contains("\"result\":\"unknown\""))

        _ = try await sendScheduled(gateway)
        let none = try await gateway.godwit(["cancel", "--request", "nosuch"])
        #expect(none.output == "no waiting pushes of request \"nosuch\"\n")
        #expect(none.exit == .status(1))
        let all = try await gateway.godwit(["cancel", "--app", Self.app])
        #expect(all.output == "1 push cancelled\n", "\(all.error)")
        #expect(all.exit == .status(0))

        for wrong in [["cancel"], ["cancel", "nonsense"], ["cancel", Self.unknownID, "--app", "x"]] {
            #expect(try await gateway.godwit(wrong).exit == .status(2), "\(wrong)")
        }
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `an app is paused, listed and resumed`() async throws {
        let gateway = try await RunningGateway.start()
        let paused = try await gateway.godwit(["pause", Self.app])
        #expect(paused.exit == .status(0), "\(paused.error)")
        #expect(paused.output.hasPrefix("\(Self.app) is paused"))
        _ = try await sendScheduled(gateway)
        let list = try await gateway.godwit(["apps"]).output
        #expect(list.contains("paused since 20"))
        #expect(list.contains("bundle ID"))
        let apps = try #require(
            try objects(try await gateway.godwit(["apps", "--json"]).output.replacing("\n", with: "")).first)
        let app = try #require((apps["apps"] as? [[String: Any]])?.first)
        #expect((app["queued"] as? [String: Int])?["normal"] == 1)
        #expect(try await gateway.godwit(["resume", Self.app]).output.hasPrefix("\(Self.app) is resumed"))
        #expect(try await gateway.godwit(["apps"]).output.contains("paused since") == false)
        for arguments in [
            ["pause", "nosuch"], ["resume", "nosuch"], ["cancel", "--app", "nosuch"],
            ["dead-letters", "list", "--app", "nosuch"], ["dead-letters", "replay", "--app", "nosuch"],
        ] {
            let unknown = try await gateway.godwit(arguments)
            #expect(unknown.exit == .status(1))
            #expect(
                unknown.error == "Error: no app \"nosuch\" is configured; godwit apps lists them\n", "\(unknown.error)")
        }
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `missing dead letters are reported`() async throws {
        let gateway = try await RunningGateway.start()
        #expect(try await gateway.godwit(["dead-letters"]).output == "no dead letters\n")
        #expect(
            try await gateway.godwit(["dead-letters", "list", "--app", Self.app, "--json"]).output.contains(
                "\"next\":null"))
        let shown = try await gateway.godwit(["dead-letters", "show", Self.unknownID])
        #expect(shown.exit == .status(1))
        #expect(shown.error.contains("no dead letter with this msg_id"))
        for (action, confirmation) in [("replay", []), ("purge", ["--yes"])] {
            for arguments in [["--all"], ["--app", Self.app]] {
                let none = try await gateway.godwit(["dead-letters", action] + arguments + confirmation)
                #expect(none.exit == .status(0), "\(none.error)")
                #expect(none.output == "no dead letters to \(action)\n")
            }
            let unknown = try await gateway.godwit(["dead-letters", action, Self.unknownID] + confirmation)
            #expect(unknown.exit == .status(1))
            let lines = "\(Self.unknownID) is not a dead letter; it may have been replayed or purged\n"
            #expect(unknown.output == lines)
            #expect(try await gateway.godwit(["dead-letters", action]).exit == .status(2))
        }
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `pushes are found by token, app and state`() async throws {
        let gateway = try await RunningGateway.start()
        let ids = [try await sendScheduled(gateway), try await sendScheduled(gateway)]
        let token = String(repeating: "ab", count: 32)
        let found = try await gateway.godwit(["messages", "--token", token, "--since", "1h"])
        #expect(found.exit == .status(0), "\(found.error)")
        #expect(ids.allSatisfy(found.output.contains))
        #expect(found.output.hasSuffix("\n\n2 pushes to the device abababab…\n") && !found.output.contains(token))
        #expect(try await gateway.godwit(["cancel", ids[0]]).exit == .status(0))
        let cancelled = try await gateway.godwit(
            ["messages", "--app", Self.app, "--state", "cancelled", "--state", "rejected"])
        #expect(cancelled.output.contains(ids[0]) && !cancelled.output.contains(ids[1]))
        let none = try await gateway.godwit(["messages", "--code", "3002", "--request-id", "nosuch"])
        #expect(none.exit == .status(0) && none.output.hasPrefix("no such pushes since 20"))
        let json = try await gateway.godwit(["messages", "--token", token, "--limit", "1", "--json"]).output
        #expect(try objects(json.replacing("\n", with: "")).first?["next"] is String)
        #expect(none.error.contains("--request-id finds pushes of bulk requests"))
        for wrong in [["--token", "xyz"], ["--since", "soon"], ["--limit", "0"], ["--code", "9999"]] {
            #expect(try await gateway.godwit(["messages"] + wrong).exit == .status(2), "\(wrong)")
        }
        let state = try await gateway.godwit(["messages", "--state", "nosuch"])
        #expect(state.exit == .status(2))
        #expect(state.error.hasPrefix("Error: --state 'nosuch' is not a state; use one of queued, "))
        let prefix = try await gateway.godwit(["messages", "--token", "abababab"])
        #expect(prefix.exit == .status(0) && prefix.output.hasPrefix("no such pushes since 20"))
        #expect(prefix.error.hasPrefix("--token has 8 digits; give the whole device token"), "\(prefix.error)")
        #expect(found.error.isEmpty)
        #expect(try await gateway.stop() == .status(0))
    }
}
