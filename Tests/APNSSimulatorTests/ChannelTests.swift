import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `Broadcast channels` {
    static let app = "com.example.app"
    static let state = #"{"aps":{"event":"update","content-state":{}}}"#

    /// Sends a request to channel management, or with `isBroadcast` to the port for pushes.
    private func request(
        _ running: RunningSimulator, _ method: String, _ path: String, _ headers: [String: String] = [:],
        body: String? = nil, isBroadcast: Bool = false, isAuthorized: Bool = true
    ) async throws -> CurlResponse {
        let port = isBroadcast ? running.simulator.port : running.simulator.channelPort ?? 0
        var arguments = ["-sS", "-i", "--max-time", "20", "--http2", "--cacert", running.authority, "-X", method]
        if isAuthorized { arguments += ["-H", "authorization: bearer \(try running.token())"] }
        for (name, value) in headers { arguments += ["-H", "\(name): \(value)"] }
        if body != nil { arguments += ["--data-binary", "@-"] }
        arguments.append("https://localhost:\(port)\(path)")
        return CurlResponse(try await Command.run("curl", arguments, input: body ?? ""))
    }

    private func create(_ running: RunningSimulator, policy: Int) async throws -> String {
        let body = #"{"message-storage-policy":\#(policy),"push-type":"LiveActivity"}"#
        let response = try await request(running, "POST", "/1/apps/\(Self.app)/channels", body: body)
        #expect(response.status == 201 && response.body.isEmpty, "\(response.text)")
        return try #require(response.headers["apns-channel-id"])
    }

    @Test func `channels are created, read, listed and deleted`() async throws {
        try await RunningSimulator.with { running in
            let first = try await create(running, policy: 1)
            let second = try await create(running, policy: 0)
            let requestID = "0a1b2c3d-0000-4000-8000-000000000007"
            let read = try await request(
                running, "GET", "/1/apps/\(Self.app)/channels",
                ["apns-channel-id": first, "apns-request-id": requestID])
            #expect(read.status == 200 && read.headers["apns-request-id"] == requestID)
            #expect(read.body == #"{"message-storage-policy":1,"push-type":"LiveActivity"}"#)
            let list = try await request(running, "GET", "/1/apps/\(Self.app)/all-channels")
            let object = try JSONSerialization.jsonObject(with: Data(list.body.utf8)) as? [String: [String]]
            #expect(object?["channels"].map(Set.init) == [first, second])
            #expect(APNSID(list.headers["apns-request-id"] ?? "") != nil)
            let deletion = try await request(
                running, "DELETE", "/1/apps/\(Self.app)/channels", ["apns-channel-id": first])
            #expect(deletion.status == 204 && deletion.body.isEmpty)
            #expect(running.simulator.channels(of: Self.app).map(\.id) == [second])
            let gone = try await request(running, "GET", "/1/apps/\(Self.app)/channels", ["apns-channel-id": first])
            #expect(gone.status == 400 && gone.reason == "ChannelNotRegistered")
            #expect(try await request(running, "GET", "/1/apps/other/all-channels").body == #"{"channels":[]}"#)
            try await waitUntil("the counters") { running.simulator.counters.channelRequests == 7 }
        }
    }

    @Test func `each invalid channel management request gets its reason`() async throws {
        let settings = RunningSimulator.settings {
            $0.channelsMax = 1
            $0.broadcastTopics = ["com.example.app"]
        }
        try await RunningSimulator.with(settings) { running in
            let id = try await create(running, policy: 1)
            let path = "/1/apps/\(Self.app)/channels"
            let good = #"{"message-storage-policy":0,"push-type":"LiveActivity"}"#
            let mistakes: [(String, String, [String: String], String?, Int, String)] = [
                ("POST", path, [:], good, 400, "CannotCreateChannelConfig"),
                ("POST", path, [:], "", 400, "PayloadEmpty"),
                ("POST", path, [:], "{", 400, "BadRequestPayload"),
                (
                    "POST", path, [:], #"{"message-storage-policy":0,"push-type":"LiveActivity","x":1}"#, 400,
                    "BadRequestParams"
                ),
                (
                    "POST", path, [:], #"{"message-storage-policy":2,"push-type":"LiveActivity"}"#, 400,
                    "BadRequestParams"
                ),
                ("POST", path, [:], #"{"message-storage-policy":0}"#, 400, "MissingPushType"),
                ("POST", path, [:], #"{"message-storage-policy":0,"push-type":"alert"}"#, 400, "InvalidPushType"),
                ("GET", path, [:], nil, 400, "MissingChannelId"),
                ("GET", path, ["apns-channel-id": "not base64!"], nil, 400, "BadChannelId"),
                ("DELETE", path, ["apns-channel-id": "AAAA"], nil, 400, "ChannelNotRegistered"),
                ("DELETE", path, ["apns-channel-id": id, "apns-request-id": "7"], nil, 400, "BadMessageId"),
                ("PUT", path, [:], good, 405, "MethodNotAllowed"),
                ("POST", "/1/apps/\(Self.app)/all-channels", [:], good, 405, "MethodNotAllowed"),
                ("GET", "/1/apps/\(Self.app)/channels/\(id)", [:], nil, 404, "BadPath"),
                ("GET", "/1/apps//channels", [:], nil, 404, "BadPath"),
                ("POST", "/3/device/abcd", [:], "{}", 404, "BadPath"),
                ("GET", "/1/apps/com.example.off/all-channels", [:], nil, 400, "FeatureNotEnabled"),
                ("GET", "/1/apps/\(Self.app).push-type.liveactivity/all-channels", [:], nil, 400, "TopicDisallowed"),
            ]
            for (method, path, headers, body, status, reason) in mistakes {
                let response = try await request(running, method, path, headers, body: body)
                #expect(response.reason == reason && response.status == status, "\(method) \(path): \(response.text)")
            }
            let unauthorized = try await request(running, "GET", path, isAuthorized: false)
            #expect(unauthorized.status == 403 && unauthorized.reason == "MissingProviderToken")
        }
    }

    @Test func `a broadcast is accepted, and stored if the channel stores messages`() async throws {
        try await RunningSimulator.with { running in
            for policy in [0, 1] {
                let id = try await create(running, policy: policy)
                let end = policy == 0 ? 0 : Int(Date().timeIntervalSince1970) + 60
                let response = try await request(
                    running, "POST", "/4/broadcasts/apps/\(Self.app)",
                    [
                        "apns-channel-id": id, "apns-push-type": "liveactivity", "apns-priority": "5",
                        "apns-expiration": "\(end)",
                    ], body: Self.state, isBroadcast: true
                )
                #expect(response.status == 200 && response.body.isEmpty, "\(response.text)")
                #expect(APNSID(response.headers["apns-request-id"] ?? "") != nil)
                let channel = try #require(running.simulator.channels(of: Self.app).first { $0.id == id })
                #expect(channel.broadcasts == 1)
                #expect(channel.stored?.expiresAt == (policy == 0 ? nil : Int64(end) * 1000))
                #expect(channel.stored?.payload == (policy == 0 ? nil : Array(Self.state.utf8)))
                try await waitUntil("the log") { running.simulator.pushes().last?.channelID == id }
            }
            try await waitUntil("the counters") { running.simulator.counters.broadcastsTaken == 2 }
            #expect(running.simulator.counters.taken == 0)
        }
    }

    @Test func `an invalid broadcast gets the first reason in the order of checks`() async throws {
        try await RunningSimulator.with { running in
            let id = try await create(running, policy: 0)
            let good = [
                "apns-channel-id": id, "apns-push-type": "liveactivity", "apns-priority": "5", "apns-expiration": "0",
            ]
            let mistakes: [([String: String?], String, Int, String)] = [
                (["apns-channel-id": nil, "apns-push-type": nil], Self.state, 400, "MissingChannelId"),
                (["apns-channel-id": "???"], Self.state, 400, "BadChannelId"),
                (["apns-push-type": nil, "apns-priority": "7"], Self.state, 400, "MissingPushType"),
                (["apns-push-type": "alert", "apns-expiration": "x"], Self.state, 400, "InvalidPushType"),
                (["apns-expiration": "1.5", "apns-priority": "7"], Self.state, 400, "BadExpirationDate"),
                (["apns-expiration": "4000000000"], Self.state, 400, "BadExpirationDate"),
                (["apns-priority": "7", "apns-channel-id": "AAAA"], Self.state, 400, "BadPriority"),
                (["apns-channel-id": "AAAA"], "", 400, "ChannelNotRegistered"),
                ([:], "", 400, "PayloadEmpty"),
                ([:], String(repeating: " ", count: 5121), 413, "PayloadTooLarge"),
            ]
            for (changes, body, status, reason) in mistakes {
                var headers = good
                for (name, value) in changes { headers[name] = value }
                let response = try await request(
                    running, "POST", "/4/broadcasts/apps/\(Self.app)", headers, body: body, isBroadcast: true)
                #expect(response.reason == reason && response.status == status, "\(changes): \(response.text)")
            }
            let full = try await request(
                running, "POST", "/4/broadcasts/apps/\(Self.app)", good, body: String(repeating: " ", count: 5120),
                isBroadcast: true)
            #expect(full.status == 200)
        }
    }

    @Test func `a topic-specific key covers only its own app`() async throws {
        let credentials = SimulatorCredentials()
        var key = credentials.signingKey
        key.topics = ["com.example.other"]
        var configuration = SimulatorConfiguration(authentication: .signingKeys([key]))
        configuration.shutdownGrace = .milliseconds(100)
        try await RunningSimulator.with(exactly: configuration, credentials) { running in
            let response = try await request(running, "GET", "/1/apps/\(Self.app)/all-channels")
            #expect(response.status == 403 && response.reason == "TopicMismatch")
            #expect(try await request(running, "GET", "/1/apps/com.example.other/all-channels").status == 200)
        }
    }
}
