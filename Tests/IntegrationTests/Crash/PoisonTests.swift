import APNSSimulator
import APNSWire
import Foundation
import PushModel
import PushStore
import PushTesting
import Testing

/// The gateway crashes each time it sends one push. The test kills it whenever that push arrives at the simulator.
@Suite(.serialized) struct `A poison push` {
    static let otherPushes = 6

    @Test(.timeLimit(.minutes(5)))
    func `is given up after five crashes, and the other pushes of its batch are delivered`() async throws {
        let gateway = try await GatewayUnderTest()
        // The poison push is not answered. The answers to the others are delayed until after the kill.
        let file = try gateway.pushFile("batch", count: Self.otherPushes + 1, from: 0)
        let poison = try #require(DeviceToken(hex: String(repeating: "0", count: 63) + "3"))
        var stall = FaultRule(Fault(.stall))
        stall.tokenPrefix = poison.bytes
        gateway.simulator.setFaults(FaultPlan([stall, FaultRule(Fault(.accept, delay: .milliseconds(500)))]))
        let accepted = try await gateway.post(ndjson: file).accepted
        #expect(accepted.count == Self.otherPushes + 1)
        let id = accepted[3]

        var crashes = 0
        while crashes < 12 {
            try await waitUntil("the poison push to arrive or to be given up", within: .seconds(60)) {
                if Self.arrivals(gateway, poison) > crashes { return true }
                return try await gateway.states(of: [id]) == ["given_up": 1]
            }
            guard Self.arrivals(gateway, poison) > crashes else { break }
            crashes = Self.arrivals(gateway, poison)
            try await gateway.kill()
            try await gateway.restart()
        }
        let states = try await gateway.settledStates(of: accepted)
        #expect(states == ["delivered": Self.otherPushes, "given_up": 1])
        let status = try await curl(["\(gateway.url)/api/v1/messages/\(id)"]).body
        #expect(status.contains("\"code\":\(ErrorCode.poison.rawValue)"), "\(status)")
        // A crash does not count if the answer to another push of the batch was recorded before it.
        let min = PoisonLimits.redeliveriesBeforeQuarantine + PoisonLimits.isolatedRedeliveriesMax
        #expect((min...min + 3).contains(crashes), "\(crashes) crashes")
        let letters = try await curl(["\(gateway.url)/api/v1/dead-letters"]).body
        #expect(letters.contains("\(id)"))
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }

    private static func arrivals(_ gateway: GatewayUnderTest, _ token: DeviceToken) -> Int {
        gateway.simulator.pushes().count { $0.token == token.bytes }
    }
}
