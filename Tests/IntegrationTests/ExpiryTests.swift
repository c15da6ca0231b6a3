import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

@Suite struct `The verdict of a push that cannot be sent in time` {
    /// Sends pushes that expire soon, and waits for their verdicts.
    private func expectExpired(_ gateway: GatewayUnderTest, code: Set<String>) async throws {
        let expiration = Int(Date().timeIntervalSince1970) + 6
        let file = try gateway.pushFile("pushes", count: 50, from: 1, fields: ",\"expiration\":\(expiration)")
        let ids = try await gateway.post(ndjson: file).accepted
        #expect(ids.count == 50)
        let states = try await gateway.settledStates(of: ids, within: .seconds(60))
        #expect(states == ["expired": 50])
        #expect(Date().timeIntervalSince1970 >= Double(expiration))
        let status = try await curl(["\(gateway.url)/api/v1/messages/\(ids[0])"]).body
        #expect(code.contains { status.contains("\"code\":\($0)") }, "\(status)")
    }

    @Test func `comes while APNs answers 503`() async throws {
        let gateway = try await GatewayUnderTest()
        defer { gateway.process.signal(SIGKILL) }
        let answer = FaultResponse(status: 503, reason: "ServiceUnavailable")
        gateway.simulator.setFaults(FaultPlan([FaultRule(Fault(.answer(answer)))]))
        // The breaker opens before the pushes that expire are sent.
        let file = try gateway.pushFile("waiting", count: 20, from: 100)
        #expect(try await gateway.post(ndjson: file).accepted.count == 20)
        try await waitUntil("the breaker") {
            try await curl(["\(gateway.url)/api/v1/apps"]).body.contains("apns_unreachable")
        }
        try await expectExpired(gateway, code: ["3012", "2011"])
        #expect(try await curl(["\(gateway.url)/api/v1/apps"]).body.contains("apns_unreachable"))
        try await gateway.close()
    }

    @Test func `comes while its app is paused`() async throws {
        let gateway = try await GatewayUnderTest()
        defer { gateway.process.signal(SIGKILL) }
        let paused = try await run(
            Repository.godwit, ["pause", "com.example.app"], environment: ["GODWIT_URL": gateway.url])
        #expect(paused.exit == .status(0), "\(paused.error)")
        try await expectExpired(gateway, code: ["3012"])
        #expect(gateway.simulator.pushes().isEmpty)
        try await gateway.close()
    }
}
