import APNSSimulator
import APNSWire
import Foundation
import Testing

@Suite struct `Control API` {
    @Test func `it lists counters, IDs and pushes, and resets them`() async throws {
        try await RunningSimulator.with { running in
            #expect(try await running.request("GET", "/healthz").body == "ok\n")
            var headers = try running.goodHeaders()
            for number in 1...3 {
                headers["apns-id"] = "0a1b2c3d-0000-4000-8000-00000000000\(number)"
                _ = try await running.push(headers: headers)
            }
            _ = try await running.push("/3/device/zz", headers: headers)

            let counters = try await running.request("GET", "/counters")
            #expect(counters.headers["content-type"] == "application/json")
            let object = try JSONSerialization.jsonObject(with: Data(counters.body.utf8)) as? [String: Any]
            #expect(object?["requests"] as? Int == 4)
            #expect(object?["taken"] as? Int == 3)
            #expect(object?["answers_by_status"] as? [String: Int] == ["200": 3, "400": 1])
            #expect(object?["answers_by_reason"] as? [String: Int] == ["BadDeviceToken": 1])

            let ids = try await running.request("GET", "/ids").body
            #expect(ids == (1...3).map { "0a1b2c3d-0000-4000-8000-00000000000\($0)\n" }.joined())

            let page = try await running.request("GET", "/pushes?after=1&limit=2")
            let lines = page.body.split(separator: "\n")
            let pushes = try lines.map { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
            #expect(pushes.map { $0?["sequence"] as? Int } == [2, 3])
            #expect(pushes[0]?["token"] as? String == "a1b2c3d4…")
            #expect(pushes[0]?["payload"] as? String == RunningSimulator.payload)
            #expect(pushes[0]?["topic"] as? String == "com.example.app")
            #expect(pushes[0]?["push_type"] as? String == "alert")
            let full = try await running.request("GET", "/pushes?tokens=full")
            #expect(full.body.contains(RunningSimulator.deviceToken))
            #expect(full.body.contains(#""status":400,"reason":"BadDeviceToken","taken":false"#))

            #expect(try await running.request("POST", "/reset").status == 204)
            #expect(try await running.request("GET", "/ids").body.isEmpty)
            #expect(try await running.request("GET", "/pushes").body.isEmpty)
            #expect(running.simulator.counters.requests == 0)
        }
    }

    @Test func `token states are set and deleted`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            let path = "/tokens/\(RunningSimulator.deviceToken.uppercased())"
            let states: [(String, Int, String)] = [
                (
                    #"{"state":"unregistered","timestamp":1454948015990}"#, 410,
                    #"{"reason":"Unregistered","timestamp":1454948015990}"#
                ),
                (#"{"state":"expired","timestamp":5}"#, 410, #"{"reason":"ExpiredToken","timestamp":5}"#),
                (#"{"state":"bad"}"#, 400, #"{"reason":"BadDeviceToken"}"#),
                (#"{"state":"other-topic"}"#, 400, #"{"reason":"DeviceTokenNotForTopic"}"#),
            ]
            for (state, status, body) in states {
                #expect(try await running.request("PUT", path, body: state).status == 204)
                let response = try await running.push(headers: headers)
                #expect(response.status == status)
                #expect(response.body == body)
            }
            #expect(try await running.request("DELETE", path).status == 204)
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `faults are set and deleted`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            let plan = #"{"rules":[{"action":"answer","status":429,"reason":"TooManyRequests","times":1}]}"#
            #expect(try await running.request("PUT", "/faults", body: plan).status == 204)
            #expect(try await running.push(headers: headers).reason == "TooManyRequests")
            #expect(try await running.push(headers: headers).status == 200)
            #expect(try await running.request("PUT", "/faults", body: plan).status == 204)
            #expect(try await running.request("DELETE", "/faults").status == 204)
            #expect(try await running.push(headers: headers).status == 200)
        }
    }

    @Test func `a reset cancels delayed token states`() async throws {
        try await RunningSimulator.with { running in
            let path = "/tokens/\(RunningSimulator.deviceToken)"
            let later = try await running.request("PUT", path, body: #"{"state":"bad","after":"200ms"}"#)
            #expect(later.status == 204)
            #expect(try await running.request("POST", "/reset").status == 204)
            try await Task.sleep(for: .milliseconds(500))
            #expect(try await running.push(headers: try running.goodHeaders()).status == 200)
        }
    }

    struct Mistake: Sendable {
        var method: String
        var path: String
        var body: String?
        var status: Int
        var words: String
    }

    static let mistakes: [Mistake] = [
        Mistake(method: "GET", path: "/nowhere", status: 404, words: "Not Found"),
        Mistake(method: "GET", path: "/pushes?after=x", status: 400, words: "after must be a number"),
        Mistake(method: "GET", path: "/pushes?limit=0", status: 400, words: "limit must be a number"),
        Mistake(method: "GET", path: "/pushes?tokens=all", status: 400, words: "short or full"),
        Mistake(method: "PUT", path: "/tokens/xyz", body: #"{"state":"bad"}"#, status: 400, words: "hexadecimal"),
        Mistake(method: "PUT", path: "/tokens/ab", body: #"{"state":"odd"}"#, status: 400, words: "state must be"),
        Mistake(method: "PUT", path: "/tokens/ab", body: #"{"timestamp":1}"#, status: 400, words: "no \\\"state\\\""),
        Mistake(
            method: "PUT", path: "/tokens/ab", body: #"{"state":"bad","x":1}"#, status: 400, words: "unknown member"),
        Mistake(method: "DELETE", path: "/tokens/abc", status: 400, words: "hexadecimal"),
        Mistake(method: "PUT", path: "/faults", body: "{nonsense}", status: 400, words: "invalid JSON"),
        Mistake(
            method: "PUT", path: "/faults", body: #"{"rules":[{"action":"x"}]}"#, status: 400, words: "rules[0].action"),
        Mistake(
            method: "PUT", path: "/faults", body: String(repeating: " ", count: 300_000), status: 413,
            words: "larger than"),
    ]

    @Test func `an invalid request gets a problem response and changes nothing`() async throws {
        try await RunningSimulator.with { running in
            for mistake in Self.mistakes {
                let response = try await running.request(mistake.method, mistake.path, body: mistake.body)
                #expect(response.status == mistake.status, "\(mistake.path)")
                #expect(response.headers["content-type"] == "application/problem+json", "\(mistake.path)")
                #expect(response.body.contains(mistake.words), "\(mistake.path): \(response.body)")
                #expect(response.body.contains("\"status\":\(mistake.status)"))
            }
            #expect(try await running.push(headers: try running.goodHeaders()).status == 200)
        }
    }
}
