import APNSSimulator
import Foundation
import PushTesting
import Testing

@Suite struct `Devices over HTTP` {
    private func object(_ response: CurlResponse) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(response.body.utf8)) as? [String: Any])
    }

    private func alert(_ text: String) -> String { #"{"aps":{"alert":{"title":"\#(text)"},"badge":2}}"# }

    @Test func `a device appears with its first push and lists its notifications`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            #expect(try await running.request("GET", "/devices").body == #"{"devices":[]}"#)
            #expect(try await running.push(headers: headers, body: alert("Hello")).status == 200)
            #expect(try await running.push("/3/device/zz", headers: headers).status == 400)

            let list = try object(try await running.request("GET", "/devices"))["devices"] as? [[String: Any]]
            #expect(list?.count == 1)
            #expect(list?[0]["token"] as? String == "a1b2c3d4…")
            #expect(list?[0]["id"] as? String == "phone-1" && list?[0]["app"] as? String == "com.example.app")
            for name in ["phone-1", "a1b2", RunningSimulator.deviceToken.uppercased()] {
                let response = try await running.request("GET", "/devices/\(name)")
                #expect(!response.body.contains(RunningSimulator.deviceToken))
                let device = try object(response)
                #expect((device["counters"] as? [String: Int])?["shown"] == 1)
                #expect((device["badges"] as? [String: Int]) == ["com.example.app": 2])
                let notification = (device["notifications"] as? [[String: Any]])?.first
                #expect(notification?["title"] as? String == "Hello")
                #expect(notification?["payload"] as? String == alert("Hello"))
                #expect(notification?["apns_id"] as? String == "0a1b2c3d-0000-4000-8000-000000000001")
            }
            for path in ["/devices?tokens=full", "/devices/phone-1?tokens=full"] {
                #expect(try await running.request("GET", path).body.contains(RunningSimulator.deviceToken))
            }
            #expect(try await running.request("POST", "/reset").status == 204)
            #expect(try await running.request("GET", "/devices").body == #"{"devices":[]}"#)
        }
    }

    @Test func `an offline device receives the newest push when it is online again`() async throws {
        try await RunningSimulator.with { running in
            var headers = try running.goodHeaders()
            headers["apns-expiration"] = nil
            let path = "/devices/\(RunningSimulator.deviceToken)"
            let change = #"{"name":"Ann's phone","online":false,"channels":["Y2g="]}"#
            let made = try object(try await running.request("PUT", path, body: change))
            #expect(made["name"] as? String == "Ann's phone" && made["online"] as? Bool == false)
            #expect(made["channels"] as? [String] == ["Y2g="])
            for text in ["one", "two"] { _ = try await running.push(headers: headers, body: alert(text)) }
            let waiting = try object(try await running.request("GET", path))
            #expect(waiting["waiting"] as? Int == 1 && (waiting["notifications"] as? [Any])?.isEmpty == true)
            let back = try object(try await running.request("PUT", "/devices/phone-1", body: #"{"online":true}"#))
            let titles = (back["notifications"] as? [[String: Any]])?.map { $0["title"] as? String }
            #expect(titles == ["two"])
        }
    }

    @Test func `a token state is set and reported`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            _ = try await running.push(headers: headers)
            for (state, reason) in [
                ("unregistered", "Unregistered"), ("expired", "ExpiredToken"), ("wrong-environment", "BadDeviceToken"),
                ("wrong-topic", "DeviceTokenNotForTopic"),
            ] {
                let response = try await running.request(
                    "PUT", "/devices/phone-1", body: #"{"token_state":"\#(state)"}"#)
                #expect(try object(response)["token_state"] as? String == state)
                #expect(try await running.push(headers: headers).reason == reason)
                let device = try object(try await running.request("GET", "/devices/a1b2"))
                #expect(device["last_reason"] as? String == reason)
            }
            _ = try await running.request("PUT", "/devices/phone-1", body: #"{"token_state":"valid"}"#)
            #expect(try await running.push(headers: headers).status == 200)
            let counters =
                try object(try await running.request("GET", "/devices/phone-1"))["counters"] as? [String: Int]
            #expect(counters?["refused"] == 4 && counters?["received"] == 2)
        }
    }

    @Test func `without a push log there are no devices`() async throws {
        try await RunningSimulator.with(RunningSimulator.settings(.fast)) { running in
            let pushed = try await running.push(headers: try running.goodHeaders())
            let list = try await running.request("GET", "/devices")
            #expect(pushed.status == 200 && list.body == #"{"devices":[]}"#)
        }
    }

    @Test func `invalid requests get a problem response`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            _ = try await running.push(headers: headers)
            let other = "a1b2" + String(repeating: "00", count: 30)
            _ = try await running.push("/3/device/\(other)", headers: headers)
            let mistakes: [(String, String, String?, Int, String)] = [
                ("GET", "/devices/phone-9", nil, 404, "no such device"),
                ("GET", "/devices/a1b", nil, 404, "no such device"),
                ("GET", "/devices/ffff", nil, 404, "no such device"),
                ("GET", "/devices/a1b2", nil, 409, "2 devices"),
                ("GET", "/devices?tokens=some", nil, 400, "short or full"),
                ("GET", "/events?device=phone-9", nil, 404, "no such device"),
                ("PUT", "/devices/ffff", #"{"online":true}"#, 404, "no such device"),
                ("PUT", "/devices/phone-1", #"{"online":1}"#, 400, "true or false"),
                ("PUT", "/devices/phone-1", #"{"token_state":"gone"}"#, 400, "one of valid, unregistered"),
                ("PUT", "/devices/phone-1", #"{"name":""}"#, 400, "1 to 64 bytes"),
                ("PUT", "/devices/phone-1", #"{"colour":"red"}"#, 400, "unknown member"),
                ("PUT", "/devices/phone-1", String(repeating: " ", count: 70_000), 413, "larger than"),
            ]
            for (method, path, body, status, words) in mistakes {
                let response = try await running.request(method, path, body: body)
                #expect(response.status == status, "\(path)")
                #expect(response.headers["content-type"] == "application/problem+json", "\(path)")
                #expect(response.body.contains(words), "\(path): \(response.body)")
            }
        }
    }
}

@Suite struct `Event stream` {
    /// Reads events until one satisfies `isLast`, and returns the name, ID and data of each.
    private func events(
        _ running: RunningSimulator, _ path: String, lastID: String? = nil,
        until isLast: ((name: String, id: String, data: String)) -> Bool
    ) async throws -> [(name: String, id: String, data: String)] {
        var arguments = ["-sSN", "--max-time", "30", running.control(path)]
        if let lastID { arguments += ["-H", "Last-Event-ID: \(lastID)"] }
        let curl = try ChildProcess("curl", arguments)
        var events: [(name: String, id: String, data: String)] = []
        try await waitUntil("the event") {
            events = curl.text().components(separatedBy: "\n\n").dropLast().compactMap { block in
                var fields: [String: String] = [:]
                for line in block.split(separator: "\n") {
                    let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
                    if parts.count == 2 { fields[parts[0]] = parts[1] }
                }
                return fields["event"].map { ($0, fields["id"] ?? "", fields["data"] ?? "") }
            }
            return events.contains(where: isLast)
        }
        try await curl.kill()
        return events
    }

    @Test func `it begins with the full state, and a listener that reconnects gets the changes since`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            _ = try await running.push(headers: headers)
            let first = try await events(running, "/events?device=phone-1") { $0.name == "counters" }
            #expect(first.map(\.name).prefix(3) == ["resync", "devices", "screen"])
            #expect(first[1].data.contains(#""id":"phone-1""#))
            #expect(first[2].data.contains(#""order":[1]"#) && first[2].data.contains(#""body":"hello""#))
            #expect(first.last?.data.contains(#""requests":1"#) == true)
            #expect(!first.contains { $0.data.contains(RunningSimulator.deviceToken) })

            let other = String(repeating: "b2", count: 32)
            _ = try await running.push("/3/device/\(other)", headers: headers)
            let lastID = first[2].id
            for (path, header) in [("/events", lastID), ("/events?after=\(lastID)", nil)] {
                let missed = try await events(running, path, lastID: header) { $0.name == "devices" }
                #expect(missed.map(\.name).first == "devices")
                #expect(missed[0].data.contains(#""id":"phone-2""#) && !missed[0].data.contains(#""id":"phone-1""#))
            }
            _ = try await running.request("POST", "/reset")
            let anew = try await events(running, "/events", lastID: lastID) { $0.name == "devices" }
            #expect(anew.map(\.name).prefix(2) == ["resync", "devices"])
            #expect(anew[1].data == #"{"devices":[],"gone":[]}"#)
        }
    }

    @Test func `refused pushes are sent with reason and payload`() async throws {
        try await RunningSimulator.with { running in
            var headers = try running.goodHeaders()
            headers["apns-priority"] = "7"
            for number in 0..<31 {
                let sent = try await running.push(headers: headers, body: #"{"aps":{"badge":\#(number)}}"#)
                #expect(sent.status == 400)
            }
            let first = try await events(running, "/events") { $0.name == "refused" }
            let data = try #require(first.last { $0.name == "refused" }?.data)
            let refused = try #require(try JSONSerialization.jsonObject(with: Data(data.utf8)) as? [String: Any])
            #expect(refused["total"] as? Int == 31 && refused["all"] as? Bool == true)
            let pushes = try #require(refused["pushes"] as? [[String: Any]])
            #expect(pushes.count == 30)
            #expect(pushes.first?["payload"] as? String == #"{"aps":{"badge":1}}"#)
            #expect(pushes.last?["payload"] as? String == #"{"aps":{"badge":30}}"#)
            #expect(pushes.allSatisfy { $0["reason"] as? String == "BadPriority" })
            #expect(pushes.allSatisfy { $0["token"] as? String == "a1b2c3d4…" })

            let curl = try ChildProcess("curl", ["-sSN", "--max-time", "30", running.control("/events")])
            try await waitUntil("the beginning") { curl.text().contains("event: refused") }
            _ = try await running.push(headers: headers, body: #"{"aps":{"badge":99}}"#)
            try await waitUntil("one more") {
                curl.text().split(separator: "\n").contains {
                    $0.hasPrefix(#"data: {"total":32,"pushes":[{"#) && !$0.contains(#""all""#)
                }
            }
            _ = try await running.request("POST", "/reset")
            try await waitUntil("none") { curl.text().contains(#"data: {"total":0,"pushes":[],"all":true}"#) }
            try await curl.kill()
        }
    }

    @Test func `changes are sent to connected listeners`() async throws {
        try await RunningSimulator.with { running in
            let headers = try running.goodHeaders()
            let curl = try ChildProcess("curl", ["-sSN", "--max-time", "30", running.control("/events")])
            try await waitUntil("the beginning") { curl.text().contains("event: counters") }
            _ = try await running.push(headers: headers)
            try await waitUntil("the push") { curl.text().contains(#""id":"phone-1""#) }
            let before = curl.text().count
            _ = try await running.request(
                "PUT", "/tokens/\(RunningSimulator.deviceToken)", body: #"{"state":"expired","timestamp":5}"#)
            try await waitUntil("the token's state") { curl.text().dropFirst(before).contains(#""expired""#) }
            try await curl.kill()
        }
    }

    @Test func `it ends at shutdown`() async throws {
        var curl: ChildProcess?
        try await RunningSimulator.with { running in
            curl = try ChildProcess("curl", ["-sSN", "--max-time", "60", running.control("/events")])
            try await waitUntil("the beginning") { curl?.text().contains("event: counters") == true }
        }
        #expect(try await curl?.waitForExit() == .status(0), "\(curl?.text(.error) ?? "")")
    }
}

@Suite struct `Control API access` {
    @Test func `a request with a foreign host is refused`() async throws {
        try await RunningSimulator.with { running in
            let port = running.simulator.controlPort ?? 0
            for host in [
                "evil.example", "evil.example:\(port)", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example",
            ] {
                for path in ["/", "/pushes", "/devices", "/nowhere"] {
                    let response = try await request(running, "GET", path, ["Host: \(host)"])
                    #expect(response.status == 403, "\(host) \(path)")
                    #expect(response.headers["content-type"] == "application/problem+json")
                }
            }
            for host in ["localhost", "LOCALHOST:1", "a.localhost", "127.0.0.1", "127.9.9.9:80", "[::1]:\(port)"] {
                #expect(try await request(running, "GET", "/healthz", ["Host: \(host)"]).status == 200, "\(host)")
            }
        }
    }

    @Test func `changes from other origins are refused`() async throws {
        try await RunningSimulator.with { running in
            let own = "http://127.0.0.1:\(running.simulator.controlPort ?? 0)"
            for header in [
                "Origin: http://evil.example", "Origin: null", "Origin: http://127.0.0.1:1",
                "Sec-Fetch-Site: cross-site",
                "Sec-Fetch-Site: same-site", "Origin: https://127.0.0.1:\(running.simulator.controlPort ?? 0)",
            ] {
                for (method, path) in [
                    ("POST", "/reset"), ("PUT", "/faults"), ("DELETE", "/faults"), ("PUT", "/devices/abcd"),
                    ("PUT", "/scenario"), ("PUT", "/settings"), ("POST", "/test-push"),
                ] {
                    let response = try await request(running, method, path, [header])
                    #expect(response.status == 403, "\(method) \(path) \(header)")
                    #expect(response.headers["content-type"] == "application/problem+json")
                }
            }
            for headers in [["Origin: \(own)", "Sec-Fetch-Site: same-origin"], ["Sec-Fetch-Site: none"], []] {
                #expect(try await request(running, "POST", "/reset", headers).status == 204, "\(headers)")
            }
        }
    }

    @Test func `a server bound to all addresses accepts numeric hosts and refuses names`() async throws {
        try await RunningSimulator.with(RunningSimulator.settings { $0.host = "0.0.0.0" }) { running in
            let address = try await request(running, "GET", "/healthz", ["Host: 192.0.2.7:8444"])
            let name = try await request(running, "GET", "/healthz", ["Host: evil.example"])
            #expect(address.status == 200 && name.status == 403)
        }
    }

    private func request(
        _ running: RunningSimulator, _ method: String, _ path: String, _ headers: [String]
    ) async throws -> CurlResponse {
        let arguments = ["-sS", "-i", "--max-time", "20", "-X", method] + headers.flatMap { ["-H", $0] }
        return CurlResponse(try await Command.run("curl", arguments + [running.control(path)]))
    }
}
