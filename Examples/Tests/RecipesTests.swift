import APNSSimulator
import APNSWire
import Foundation
import Testing

/// Runs the recipes in `Examples/Sources/Recipes` against a simulator over TLS.
@Suite struct `Recipes` {
    private static let now = UNIXTime(secondsSince1970: Int64(Date().timeIntervalSince1970))
    private static let token = DeviceToken(bytes: [UInt8](repeating: 0xAB, count: 32))!

    /// A simulator, and the settings to send to it.
    private final class SimulatedAPNs {
        let simulator: Simulator
        let settings: Settings
        private let folder: URL

        init(_ change: (inout SimulatorConfiguration) -> Void = { _ in }) async throws {
            let credentials = SimulatorCredentials()
            var configuration = SimulatorConfiguration(authentication: .signingKeys([credentials.signingKey]))
            configuration.controlPort = nil
            configuration.shutdownGrace = .zero
            change(&configuration)
            simulator = try await Simulator.start(configuration)
            folder = FileManager.default.temporaryDirectory.appending(path: "recipes-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let key = folder.appending(path: "AuthKey.p8")
            let authority = folder.appending(path: "ca.pem")
            try credentials.privateKeyPEM.write(to: key, atomically: true, encoding: .utf8)
            try simulator.certificateAuthorityPEM.write(to: authority, atomically: true, encoding: .utf8)
            settings = try Settings([
                "APNS_KEY_FILE": key.path, "APNS_KEY_ID": credentials.keyID, "APNS_TEAM_ID": credentials.teamID,
                "APNS_BUNDLE_ID": "com.example.app", "APNS_HOST": "localhost", "APNS_PORT": "\(simulator.port)",
                "APNS_CHANNEL_PORT": "\(simulator.channelPort ?? 0)", "APNS_CA_FILE": authority.path,
            ])
        }

        deinit { try? FileManager.default.removeItem(at: folder) }
    }

    @Test func `one push is accepted`() async throws {
        let apns = try await SimulatedAPNs()
        #expect(try await OnePush.run(apns.settings, to: Self.token, text: "Tea", now: Self.now) == .accepted)
        let push = try #require(apns.simulator.pushes().first)
        #expect(push.topic == "com.example.app")
        try await apns.simulator.shutdown()
    }

    @Test func `one push to a dead token, and one with an unknown key, are reported`() async throws {
        let apns = try await SimulatedAPNs()
        apns.simulator.setTokenState(.unregistered(at: 1_700_000_000_000), of: Self.token)
        let result = try await OnePush.run(apns.settings, to: Self.token, text: "Tea", now: Self.now)
        #expect(result == .tokenIsDead(since: UNIXTime(millisecondsSince1970: 1_700_000_000_000)))
        var otherKey = apns.settings
        otherKey.keyID = "OTHERKEY00"
        guard case .refused = try await OnePush.run(otherKey, to: Self.token, text: "Tea", now: Self.now) else {
            Issue.record("not rejected")
            return
        }
        try await apns.simulator.shutdown()
    }

    @Test func `many pushes are counted, and dead tokens listed`() async throws {
        let apns = try await SimulatedAPNs()
        let tokens = (0..<12_345).map { number in
            DeviceToken(bytes: (0..<32).map { UInt8(truncatingIfNeeded: $0 < 8 ? number >> ($0 * 8) : $0) })!
        }
        apns.simulator.setTokenState(.unregistered(at: 1), of: tokens[7])
        let payload = APNSPayload(alert: "Sale")
        let summary = try await ManyPushes.run(apns.settings, to: tokens, payload: payload)
        #expect(summary.accepted == 12_344 && summary.total == 12_345)
        #expect(summary.dead == [tokens[7]])
        #expect(summary.text == "12344 accepted, 0 not sent, 0 unknown, 1 tokens dead\n  1 × Unregistered")
        try await apns.simulator.shutdown()
    }

    @Test func `a match is started, updated and ended`() async throws {
        let apns = try await SimulatedAPNs()
        let responses = try await MatchActivity.run(
            apns.settings, startToken: Self.token, updateToken: Self.token, now: Self.now)
        #expect(responses.allSatisfy(\.isAccepted) && responses.count == 3)
        #expect(
            apns.simulator.pushes().allSatisfy { $0.topic == "com.example.app.push-type.liveactivity" })
        try await apns.simulator.shutdown()
    }

    @Test func `a channel is created, published to, listed and deleted`() async throws {
        let apns = try await SimulatedAPNs()
        let result = try await MatchChannel.run(apns.settings, now: Self.now)
        #expect(result.listed == [result.channel])
        #expect(apns.simulator.channels(of: "com.example.app").isEmpty)
        try await apns.simulator.shutdown()
    }

    @Test func `the snippet of the simulator article runs`() async throws {
        let response = try await ArticleSnippets.simulator()
        #expect(response.reason == .unregistered && response.advice.isTokenInvalid)
    }

    @Test func `the snippet about texts makes two alerts`() throws {
        let payloads = try ArticleSnippets.texts(17, Self.token).map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(
            payloads == [
                #"{"aps":{"alert":"Order 17 is ready"}}"#,
                #"{"aps":{"alert":{"title":"Order 17","subtitle":"Counter 3","loc-key":"ORDER_READY"},"#
                    + #""badge":1,"sound":"bell.caf"}}"#,
            ])
    }

    @Test func `the snippet of the simulator page runs`() async throws {
        try await ArticleSnippets.scenario()
    }

    @Test func `missing settings are named`() {
        #expect { try Settings([:]) } throws: { "\($0)" == "APNS_KEY_FILE is not set" }
        #expect(throws: RecipeError.self) { try Settings.token("not a token") }
    }
}
