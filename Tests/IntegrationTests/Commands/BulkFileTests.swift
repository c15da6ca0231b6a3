import APNSSimulator
import APNSWire
import PushTesting
import Testing

/// One file, one request, 200,000 pushes.
@Suite(.serialized) struct `A large file` {
    static let pushes = 200_000

    @Test(.timeLimit(.minutes(10)))
    func `each line is accepted, delivered once, and found by its status`() async throws {
        let gateway = try await GatewayUnderTest(.fast)
        let file = try gateway.pushFile("large", count: Self.pushes, from: 0)
        let response = try await gateway.post(ndjson: file)
        #expect(response.isComplete)
        #expect(response.accepted.count == Self.pushes)
        let states = try await gateway.settledStates(of: response.accepted)
        #expect(states == ["delivered": Self.pushes])
        // Without faults there are no duplicates.
        let isEachAcceptedOnce = gateway.simulator.takenIDs().sorted() == response.accepted.sorted()
        #expect(isEachAcceptedOnce)
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }
}
