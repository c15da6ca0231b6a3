import APNSSimulator
import APNSWire
import Foundation
import Logging
import PushModel
import PushTesting
import SQLiteBackend
import Testing

/// SIGTERM while pushes are in flight.
@Suite(.serialized) struct `SIGTERM under load` {
    static let pushes = 2000

    /// Starts a gateway with one slow connection to APNs, and posts far more pushes than it can send concurrently.
    private static func loaded(grace: String) async throws -> (GatewayUnderTest, [APNSID]) {
        let gateway = try await GatewayUnderTest(extra: "apns: {connections_max: 1}", grace: grace)
        try gateway.simulator.changeSettings {
            $0.streamsMax = 20
            $0.answerDelay = .milliseconds(300)
        }
        let accepted = try await gateway.post(ndjson: gateway.pushFile("load", count: pushes, from: 0)).accepted
        try #require(accepted.count == pushes)
        try await waitUntil("pushes in flight") { gateway.simulator.counters.taken >= 50 }
        return (gateway, accepted)
    }

    @Test(.timeLimit(.minutes(3)))
    func `records the pushes in flight, and counts no attempt for unsent pushes`() async throws {
        let (gateway, accepted) = try await Self.loaded(grace: "0s")
        gateway.process.signal(SIGTERM)
        #expect(try await gateway.process.waitForExit(within: .seconds(25)) == .status(0))

        let taken = Set(gateway.simulator.takenIDs())
        let store = try SQLiteBackend.open(folder: gateway.storeFolder, logger: Logger(label: "stop test"))
        var unsent = 0
        for start in stride(from: 0, to: accepted.count, by: 1000) {
            let ids = accepted[start..<min(start + 1000, accepted.count)]
            for (id, status) in zip(ids, try await store.find(ids.map { PushID($0) })) {
                let status = try #require(status)
                if taken.contains(id) {
                    #expect(status.state == .settled(.delivered))
                } else {
                    unsent += 1
                    #expect(status.attempts == 0)
                    #expect(status.state == .queued || status.state == .retrying)
                }
            }
        }
        await store.close()
        #expect(unsent > 0, "all pushes were sent before the stop, so the test proves nothing")

        try gateway.simulator.changeSettings { $0.answerDelay = .zero }
        try await gateway.restart()
        #expect(try await gateway.settledStates(of: accepted) == ["delivered": accepted.count])
        #expect(gateway.simulator.takenIDs().count == accepted.count, "no duplicates")
        try await gateway.close()
    }

    @Test(.timeLimit(.minutes(3)))
    func `shortens the drain if it is repeated, and loses nothing`() async throws {
        // The first signal alone would wait for the whole grace period.
        let (gateway, accepted) = try await Self.loaded(grace: "2m")
        gateway.simulator.setFaults(FaultPlan([FaultRule(Fault(.stall))]))
        gateway.process.signal(SIGTERM)
        try await waitUntil("the gateway to be not ready") {
            (try? await curl(["\(gateway.url)/readyz"]))?.status == 503
        }
        gateway.process.signal(SIGTERM)
        #expect(try await gateway.process.waitForExit(within: .seconds(25)) == .status(0))

        gateway.simulator.setFaults(FaultPlan())
        try gateway.simulator.changeSettings { $0.answerDelay = .zero }
        try await gateway.restart()
        #expect(try await gateway.settledStates(of: accepted) == ["delivered": accepted.count])
        try await gateway.close()
    }
}
