import APNSSimulator
import APNSWire
import Foundation
import Testing

@Suite struct `Responses to curl` {
    @Test func `a valid push gets a 200 with only its ID`() async throws {
        try await RunningSimulator.with { running in
            let response = try await running.push(headers: try running.goodHeaders())
            #expect(response.exitStatus == 0, "\(response.errors)")
            #expect(response.status == 200)
            #expect(response.headers["apns-id"] == "0a1b2c3d-0000-4000-8000-000000000001")
            #expect(response.headers["apns-unique-id"] == nil)
            #expect(response.body.isEmpty)
            #expect(running.simulator.counters.taken == 1)
            #expect(running.simulator.counters.answersByStatus == [200: 1])
            let push = try #require(running.simulator.pushes().first)
            #expect(push.topic == "com.example.app")
            #expect(push.token == DeviceToken(hex: RunningSimulator.deviceToken)?.bytes)
            #expect(push.pushType == .alert && push.priority == .immediate && push.expiration == 0)
            #expect(String(decoding: push.payload, as: UTF8.self) == RunningSimulator.payload)
        }
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        var reason: String
        var status: Int
        var path = "/3/device/\(RunningSimulator.deviceToken)"
        /// Changed header fields; nil removes the field.
        var changes: [String: String?] = [:]
        var more: [String] = []
        var body = RunningSimulator.payload
        var options: [String] = []
        var testDescription: String { "\(reason) \(changes) \(path.count)" }
    }

    static let refusals: [Refusal] = [
        Refusal(reason: "MethodNotAllowed", status: 405, options: ["-X", "PUT"]),
        Refusal(reason: "BadPath", status: 404, path: "/3/devices/abcd"),
        Refusal(reason: "BadPath", status: 404, path: "/"),
        Refusal(reason: "BadPath", status: 404, path: "/3/device/abcd/more"),
        Refusal(reason: "MissingDeviceToken", status: 400, path: "/3/device/"),
        Refusal(reason: "MissingDeviceToken", status: 400, path: "/3/device"),
        Refusal(reason: "BadDeviceToken", status: 400, path: "/3/device/xyz0"),
        Refusal(reason: "BadDeviceToken", status: 400, path: "/3/device/abc"),
        Refusal(reason: "BadDeviceToken", status: 400, path: "/3/device/" + String(repeating: "ab", count: 256)),
        Refusal(reason: "DuplicateHeaders", status: 400, more: ["apns-priority: 5"]),
        Refusal(reason: "DuplicateHeaders", status: 400, more: ["apns-topic: com.example.app"]),
        Refusal(reason: "MissingProviderToken", status: 403, changes: ["authorization": nil]),
        Refusal(reason: "MissingProviderToken", status: 403, changes: ["authorization": "basic abc"]),
        Refusal(reason: "InvalidProviderToken", status: 403, changes: ["authorization": "bearer abc"]),
        Refusal(reason: "InvalidProviderToken", status: 403, changes: ["authorization": "bearer a.b.c"]),
        Refusal(reason: "MissingTopic", status: 400, changes: ["apns-topic": nil]),
        Refusal(reason: "MissingTopic", status: 400, changes: ["apns-topic": ""]),
        Refusal(reason: "TopicDisallowed", status: 400, changes: ["apns-topic": "com.example.other"]),
        Refusal(reason: "TopicDisallowed", status: 400, changes: ["apns-topic": "com.example.app.voip"]),
        Refusal(reason: "TopicDisallowed", status: 400, changes: ["apns-push-type": "voip"]),
        Refusal(reason: "BadMessageId", status: 400, changes: ["apns-id": "not-a-uuid"]),
        Refusal(reason: "BadPriority", status: 400, changes: ["apns-priority": "7"]),
        Refusal(reason: "BadPriority", status: 400, changes: ["apns-priority": ""]),
        Refusal(reason: "BadPriority", status: 400, changes: ["apns-push-type": "background"]),
        Refusal(reason: "BadExpirationDate", status: 400, changes: ["apns-expiration": "1518182259.475"]),
        Refusal(reason: "BadExpirationDate", status: 400, changes: ["apns-expiration": "-1"]),
        Refusal(reason: "BadExpirationDate", status: 400, changes: ["apns-expiration": ""]),
        Refusal(
            reason: "BadExpirationDate", status: 400, changes: ["apns-expiration": String(repeating: "9", count: 19)]
        ),
        Refusal(
            reason: "BadCollapseId", status: 400, changes: ["apns-collapse-id": String(repeating: "é", count: 33)]
        ),
        Refusal(reason: "InvalidPushType", status: 400, changes: ["apns-push-type": "Alert"]),
        Refusal(reason: "PayloadEmpty", status: 400, body: ""),
        Refusal(reason: "PayloadTooLarge", status: 413, body: String(repeating: "x", count: 4097)),
        Refusal(
            reason: "PayloadTooLarge", status: 413,
            changes: ["apns-push-type": "voip", "apns-topic": "com.example.app.voip"],
            body: String(repeating: "x", count: 5121)
        ),
        Refusal(reason: "PayloadTooLarge", status: 413, body: String(repeating: "x", count: 1_000_000)),
    ]

    @Test func `each invalid request gets its reason`() async throws {
        let settings = RunningSimulator.settings { $0.topics = ["com.example.app"] }
        try await RunningSimulator.with(settings) { running in
            let good = try running.goodHeaders()
            for refusal in Self.refusals {
                var headers = good
                for (name, value) in refusal.changes { headers[name] = value }
                let response = try await running.push(
                    refusal.path, headers: headers, moreHeaders: refusal.more, body: refusal.body,
                    options: refusal.options
                )
                #expect(response.exitStatus == 0, "\(refusal.testDescription): \(response.errors)")
                #expect(response.reason == refusal.reason, "\(refusal.testDescription)")
                #expect(response.status == refusal.status, "\(refusal.testDescription)")
                #expect(response.headers["content-type"] == "application/json")
                #expect(response.headers["apns-id"]?.count == 36, "\(refusal.testDescription)")
            }
            #expect(running.simulator.counters.taken == 0)
            #expect(running.simulator.counters.requests == Self.refusals.count)
            #expect(running.simulator.counters.answersByReason["BadPath"] == 3)
        }
    }

    @Test func `values at their limits are accepted`() async throws {
        let settings = RunningSimulator.settings { $0.topics = ["com.example.app"] }
        try await RunningSimulator.with(settings) { running in
            let good = try running.goodHeaders()
            let plain = try await running.push(headers: good, body: String(repeating: "x", count: 4096))
            #expect(plain.status == 200)
            var voip = good
            voip["apns-push-type"] = "voip"
            voip["apns-topic"] = "com.example.app.voip"
            #expect(try await running.push(headers: voip, body: String(repeating: "x", count: 5120)).status == 200)
            var collapsing = good
            collapsing["apns-collapse-id"] = String(repeating: "é", count: 32)
            #expect(try await running.push(headers: collapsing).status == 200)
            let longest = "/3/device/" + String(repeating: "AB", count: 100)
            #expect(try await running.push(longest, headers: good).status == 200)
            var bare = good
            for name in ["apns-id", "apns-priority", "apns-expiration", "apns-push-type"] { bare[name] = nil }
            let response = try await running.push(headers: bare)
            #expect(response.status == 200)
            #expect(APNSID(response.headers["apns-id"] ?? "") != nil)
        }
    }

    @Test func `sandbox responses have a unique ID, and IDs can be in upper case`() async throws {
        let settings = RunningSimulator.settings { configuration in
            configuration.environment = .sandbox
            configuration.usesUpperCaseIDs = true
        }
        try await RunningSimulator.with(settings) { running in
            let response = try await running.push(headers: try running.goodHeaders())
            #expect(response.headers["apns-id"] == "0A1B2C3D-0000-4000-8000-000000000001")
            #expect(APNSID(response.headers["apns-unique-id"] ?? "") != nil)
        }
    }

    @Test func `a client without ALPN is served`() async throws {
        try await RunningSimulator.with { running in
            let response = try await running.push(
                headers: try running.goodHeaders(), options: ["--no-alpn", "--http2-prior-knowledge"]
            )
            #expect(response.status == 200)
        }
    }

    @Test func `connections without HTTP/2 or TLS are closed and counted`() async throws {
        try await RunningSimulator.with { running in
            let old = try await running.push(headers: try running.goodHeaders(), options: ["--http1.1", "--no-alpn"])
            #expect(old.exitStatus != 0)
            let plain = try await Command.run("curl", ["-sS", "http://127.0.0.1:\(running.simulator.port)/"])
            #expect(plain.status != 0)
            let distrusting = try await Command.run("curl", ["-sS", "--http2", running.url()])
            #expect(distrusting.status == 60)
            let fine = try await running.push(headers: try running.goodHeaders())
            #expect(fine.status == 200)
            let counters = running.simulator.counters
            #expect(counters.protocolErrors == 1)
            #expect(counters.tlsFailures == 2)
        }
    }
}
