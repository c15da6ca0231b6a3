import APNSSimulator
import PushModel
import PushTesting
import Testing

@Suite(.serialized) struct `A push with on_unanswered drop` {
    @Test(.timeLimit(.minutes(3)))
    func `is given up instead of sent again after kill -9`() async throws {
        let gateway = try await GatewayUnderTest()
        gateway.simulator.setFaults(FaultPlan([FaultRule(Fault(.stall))]))
        let file = try gateway.pushFile("once", count: 20, from: 0, fields: ",\"on_unanswered\":\"drop\"")
        let accepted = try await gateway.post(ndjson: file).accepted
        #expect(accepted.count == 20)
        try await waitUntil("all of them at APNs", within: .seconds(30)) { gateway.simulator.pushes().count == 20 }
        try await gateway.kill()
        gateway.simulator.setFaults(FaultPlan([]))
        try await gateway.restart()
        #expect(try await gateway.settledStates(of: accepted) == ["given_up": 20])
        #expect(gateway.simulator.pushes().count == 20, "no duplicates")
        let status = try await curl(["\(gateway.url)/api/v1/messages/\(accepted[0])"]).body
        #expect(status.contains("\"code\":\(ErrorCode.droppedUnanswered.rawValue)"), "\(status)")

        // Later pushes with the same option are delivered.
        let next = try await gateway.post(
            ndjson: try gateway.pushFile("next", count: 5, from: 100, fields: ",\"on_unanswered\":\"drop\"")
        ).accepted
        #expect(try await gateway.settledStates(of: next) == ["delivered": 5])
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }
}
