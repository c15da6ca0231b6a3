import APNSSimulator
import APNSWire
import Foundation
import PushModel
import PushStore
import PushTesting
import Testing

/// A push whose sending kills the gateway, each time: a test that watches APNs and kills at that moment.
@Suite(.serialized) struct `A poisonous push` {
    static let neighbours = 6

    @Test(.timeLimit(.minutes(5)))
    func `it is given up after five deaths, and its neighbours are delivered`() async throws {
        let gateway = try await GatewayUnderTest()
        // What kills its sender is answered by nobody; the others take long enough for the kill to come first.
        let file = try gateway.pushFile("batch", count: Self.neighbours + 1, from: 0)
        let poison = try #require(DeviceToken(hex: String(repeating: "0", count: 63) + "3"))
        var stall = FaultRule(Fault(.stall))
        stall.tokenPrefix = poison.bytes
        gateway.simulator.setFaults(FaultPlan([stall, FaultRule(Fault(.accept, delay: .milliseconds(500)))]))
        let accepted = try await gateway.post(ndjson: file).accepted
        #expect(accepted.count == Self.neighbours + 1)
        let id = accepted[3]

        var deaths = 0
        while deaths < 12 {
            try await waitUntil("the poisonous push at APNs, or its end", within: .seconds(60)) {
                if Self.arrivals(gateway, poison) > deaths { return true }
                return try await gateway.states(of: [id]) == ["given_up": 1]
            }
            guard Self.arrivals(gateway, poison) > deaths else { break }
            deaths = Self.arrivals(gateway, poison)
            try await gateway.kill()
            try await gateway.restart()
        }
        let states = try await gateway.settledStates(of: accepted)
        #expect(states == ["delivered": Self.neighbours, "given_up": 1])
        let status = try await curl(["\(gateway.url)/api/v1/messages/\(id)"]).body
        #expect(status.contains("\"code\":\(ErrorCode.poison.rawValue)"), "\(status)")
        // A neighbour's answer that was recorded in time is news, and that death then counts for nothing.
        let least = PoisonLimits.redeliveriesBeforeQuarantine + PoisonLimits.isolatedRedeliveriesMax
        #expect((least...least + 3).contains(deaths), "\(deaths) deaths")
        let letters = try await curl(["\(gateway.url)/api/v1/dead-letters"]).body
        #expect(letters.contains("\(id)"))
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }

    private static func arrivals(_ gateway: GatewayUnderTest, _ token: DeviceToken) -> Int {
        gateway.simulator.pushes().count { $0.token == token.bytes }
    }
}
