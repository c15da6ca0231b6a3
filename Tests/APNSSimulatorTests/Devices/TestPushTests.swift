import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Synchronization
import Testing

@Suite struct `Test pushes of the phone page` {
    private func object(_ response: CurlResponse) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(response.body.utf8)) as? [String: Any])
    }

    @Test func `without a gateway are delivered by the simulator, to a new device or an existing one`() async throws {
        try await RunningSimulator.with { running in
            for _ in 0..<2 {
                let sent = try await running.request("POST", "/test-push")
                #expect(sent.status == 200 && sent.body == #"{"via":"simulator"}"#, "\(sent.text)")
            }
            let again = try await running.request("POST", "/test-push?device=phone-1")
            #expect(again.status == 200, "\(again.text)")
            let devices = try object(try await running.request("GET", "/devices"))["devices"] as? [[String: Any]]
            let ids = (devices ?? []).map { $0["id"] as? String }
            let shown = (devices ?? []).map { ($0["counters"] as? [String: Int])?["shown"] }
            let previews = (devices ?? []).map { $0["preview"] as? String }
            #expect(ids == ["phone-1", "phone-2"] && shown == [2, 1] && previews == ["Test push", "Test push"])
            #expect(running.simulator.counters.requests == 0, "nothing came over APNs")

            // As APNs, it refuses a push to an uninstalled app.
            _ = try await running.request("PUT", "/devices/phone-1", body: #"{"token_state":"unregistered"}"#)
            #expect(try await running.request("POST", "/test-push?device=phone-1").status == 200)
            let device = try object(try await running.request("GET", "/devices/phone-1"))
            #expect(device["last_reason"] as? String == "Unregistered")
            #expect(try await running.request("POST", "/test-push?device=phone-9").status == 404)
        }
    }

    @Test func `go through a gateway, if there is one`() async throws {
        let pushes = Mutex<[TestPush]>([])
        let settings = RunningSimulator.settings { configuration in
            configuration.sendTestPush = { push in
                let count = pushes.withLock { pushes in
                    pushes.append(push)
                    return pushes.count
                }
                return count == 1 ? .accepted(id: "0193f1c2") : .failed("the gateway refused it: paused")
            }
        }
        try await RunningSimulator.with(settings) { running in
            let path = "/test-push?device=phone-1"
            _ = try await running.push(headers: try running.goodHeaders())
            let sent = try await running.request("POST", path)
            #expect(sent.status == 200 && sent.body == #"{"via":"gateway","msg_id":"0193f1c2"}"#, "\(sent.text)")
            let failed = try await running.request("POST", path)
            #expect(failed.status == 502 && failed.body.contains("the gateway refused it: paused"), "\(failed.text)")
            #expect(running.simulator.pushes().count == 1, "the simulator delivers nothing itself")
        }
        let sent = pushes.withLock { $0 }
        #expect(sent.map(\.token.hex) == [RunningSimulator.deviceToken, RunningSimulator.deviceToken])
        let payload = String(decoding: sent[0].payload, as: UTF8.self)
        let time = try #require(payload.firstMatch(of: /"body":"Sent at (\d\d:\d\d:\d\d) UTC\."/)).1
        #expect(
            payload
                == #"{"aps":{"alert":{"title":"Test push","body":"Sent at \#(time) UTC."},"sound":"default"}}"#)
    }

    @Test func `need devices`() async throws {
        try await RunningSimulator.with(RunningSimulator.settings { $0.pushLogMax = 0 }) { running in
            let refused = try await running.request("POST", "/test-push")
            #expect(refused.status == 409, "\(refused.text)")
        }
    }
}
