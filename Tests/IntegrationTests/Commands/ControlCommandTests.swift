import Foundation
import PushTesting
import Testing

@Suite struct `The commands for whoever is on call` {
    private static let app = "com.example.app"
    private static let stranger = "00000000-0000-7000-8000-000000000001"

    /// A push far in the future.
    private func accepted(_ gateway: RunningGateway) async throws -> String {
        let token = String(repeating: "ab", count: 32)
        let sent = try await gateway.godwit([
            "send", "--token", token, "--alert", "later", "--not-before", "1900000000", "--no-wait",
        ])
        #expect(sent.exit == .status(0), "\(sent.error)")
        return try #require(sent.output.split(separator: "\n").first.map(String.init))
    }

    @Test func `pushes are cancelled by id, request and app`() async throws {
        let gateway = try await RunningGateway.start()
        let ids = [try await accepted(gateway), try await accepted(gateway)]
        let both = try await gateway.godwit(["cancel"] + ids)
        #expect(both.exit == .status(0), "\(both.error)")
        #expect(both.output == "\(ids[0])  cancelled\n\(ids[1])  cancelled\n\n2 of 2 cancelled\n")
        let unknown = try await gateway.godwit(["cancel", Self.stranger])
        #expect(unknown.exit == .status(1))
        #expect(unknown.output == "\(Self.stranger)  unknown\n")
        let json = try await gateway.godwit(["cancel", Self.stranger, "--json"])
        #expect(json.output.contains("\"result\":\"unknown\""))

        _ = try await accepted(gateway)
        let none = try await gateway.godwit(["cancel", "--request", "nobody"])
        #expect(none.output == "nothing waits\n")
        #expect(none.exit == .status(1))
        let all = try await gateway.godwit(["cancel", "--app", Self.app])
        #expect(all.output == "1 push cancelled\n", "\(all.error)")
        #expect(all.exit == .status(0))

        for wrong in [["cancel"], ["cancel", "nonsense"], ["cancel", Self.stranger, "--app", "x"]] {
            #expect(try await gateway.godwit(wrong).exit == .status(2), "\(wrong)")
        }
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `an app is paused, listed and resumed`() async throws {
        let gateway = try await RunningGateway.start()
        let paused = try await gateway.godwit(["pause", Self.app])
        #expect(paused.exit == .status(0), "\(paused.error)")
        #expect(paused.output.hasPrefix("\(Self.app) is paused"))
        _ = try await accepted(gateway)
        let list = try await gateway.godwit(["apps"]).output
        #expect(list.contains("paused since 20"))
        #expect(list.contains("bundle ID"))
        let apps = try #require(
            try objects(try await gateway.godwit(["apps", "--json"]).output.replacing("\n", with: "")).first)
        let app = try #require((apps["apps"] as? [[String: Any]])?.first)
        #expect((app["queued"] as? [String: Int])?["normal"] == 1)
        #expect(try await gateway.godwit(["resume", Self.app]).output.hasPrefix("\(Self.app) goes on"))
        #expect(try await gateway.godwit(["apps"]).output.contains("paused since") == false)
        let nobody = try await gateway.godwit(["pause", "nobody"])
        #expect(nobody.exit == .status(1))
        #expect(nobody.error.contains("no app of this name is configured"))
        #expect(try await gateway.stop() == .status(0))
    }

    @Test func `dead letters that are not there are said not to be`() async throws {
        let gateway = try await RunningGateway.start()
        #expect(try await gateway.godwit(["dead-letters"]).output == "there are no dead letters\n")
        #expect(
            try await gateway.godwit(["dead-letters", "list", "--app", Self.app, "--json"]).output.contains(
                "\"next\":null"))
        let shown = try await gateway.godwit(["dead-letters", "show", Self.stranger])
        #expect(shown.exit == .status(1))
        #expect(shown.error.contains("there is no dead letter of this msg_id"))
        for verb in ["replay", "purge"] {
            for arguments in [["--all"], ["--app", Self.app]] {
                let none = try await gateway.godwit(["dead-letters", verb] + arguments)
                #expect(none.exit == .status(0), "\(none.error)")
                #expect(none.output == "nothing to \(verb)\n")
            }
            let unknown = try await gateway.godwit(["dead-letters", verb, Self.stranger])
            #expect(unknown.exit == .status(1))
            #expect(unknown.output == "there are no such dead letters\n")
            #expect(try await gateway.godwit(["dead-letters", verb]).exit == .status(2))
        }
        #expect(try await gateway.stop() == .status(0))
    }
}
