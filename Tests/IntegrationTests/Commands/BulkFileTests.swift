import APNSSimulator
import APNSWire
import PushTesting
import Testing

/// One file, one request, 200,000 pushes.
@Suite(.serialized) struct `A large file` {
    static let pushes = 200_000

    @Test(.timeLimit(.minutes(10)))
    func `every line is accepted in its place, delivered once, and found by its status`() async throws {
        let gateway = try await GatewayUnderTest(.fast)
        let file = try gateway.pushFile("large", count: Self.pushes, from: 0)
        let answer = try await gateway.post(ndjson: file)
        #expect(answer.isComplete)
        #expect(answer.accepted.count == Self.pushes)
        let states = try await gateway.settledStates(of: answer.accepted)
        #expect(states == ["delivered": Self.pushes])
        // Nothing went wrong, so nothing may have been sent twice.
        let isEachTakenOnce = gateway.simulator.takenIDs().sorted() == answer.accepted.sorted()
        #expect(isEachTakenOnce)
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }
}
