import Foundation
import PushTesting
import Testing

@Suite struct `godwit demo` {
    @Test func `sends the test pushes of the phone page through its gateway`() async throws {
        let gateway = try await RunningGateway.start()
        let own = ["-X", "POST", "-H", "Origin: \(gateway.control)", "-H", "Sec-Fetch-Site: same-origin"]
        let sent = try await curl(own + ["\(gateway.control)/test-push?device=phone-1"])
        #expect(sent.status == 200 && sent.body.contains(#""via":"gateway""#), "\(sent.body)")
        let id = try #require(GatewayUnderTest.value(of: "msg_id", in: sent.body))
        try await waitUntil("the delivery") {
            try await gateway.godwit(["status", id]).output.contains("delivered")
        }
        let device = try await curl(["\(gateway.control)/devices/phone-1"]).body
        #expect(device.contains(#""title":"Test push""#) && device.contains(#""apns_id":"\#(id)""#), "\(device)")

        // A page of another site gets nothing sent, neither by the simulator nor by the gateway.
        let foreign = ["-X", "POST", "-H", "Origin: http://evil.example", "-H", "Sec-Fetch-Site: cross-site"]
        #expect(try await curl(foreign + ["\(gateway.control)/test-push"]).status == 403)
        let direct = own + ["-H", "Content-Type: application/json", "-d", "{}", "\(gateway.url)/push"]
        #expect(try await curl(direct).status == 403)
        #expect(try await gateway.stop() == .status(0))
    }
}
