import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

/// A process that hangs, loses its store to another one, and wakes up again.
@Suite(.serialized) struct `A gateway that was taken over` {
    @Test(.timeLimit(.minutes(3)))
    func `what it does on waking changes nothing, and it ends`() async throws {
        let gateway = try await GatewayUnderTest(
            extra: """
                apns: {connections_max: 1}
                delivery: {lease: 3s, request_timeout: 1s}
                """
        )
        try gateway.simulator.changeSettings {
            $0.streamsMax = 20
            $0.answerDelay = .milliseconds(300)
        }
        let accepted = try await gateway.post(ndjson: gateway.pushFile("load", count: 2000, from: 0)).accepted
        try await waitUntil("pushes on their way") { gateway.simulator.counters.taken >= 100 }
        gateway.process.signal(SIGSTOP)
        let atStop = Set(gateway.simulator.takenIDs())

        var zombie: ChildProcess?
        try await waitUntil("the end of three leases", within: .seconds(60)) {
            zombie = try await gateway.takeover()
            return zombie != nil
        }
        let former = try #require(zombie)
        try gateway.simulator.changeSettings { $0.answerDelay = .zero }
        #expect(try await gateway.settledStates(of: accepted) == ["delivered": accepted.count])
        let statuses = try await Self.statuses(gateway, accepted)
        let taken = gateway.simulator.takenIDs().count

        former.signal(SIGCONT)
        #expect(try await former.waitForExit(within: .seconds(60)) == .status(1))
        #expect(try await Self.statuses(gateway, accepted) == statuses, "no verdict has changed")
        #expect(gateway.simulator.takenIDs().count == taken, "it has sent nothing more")
        #expect(Set(gateway.simulator.takenIDs()) == Set(accepted))
        #expect(taken - accepted.count <= atStop.count, "only what was on its way is sent twice")
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }

    @Test(.timeLimit(.minutes(3)))
    func `one that shows life keeps its store`() async throws {
        let gateway = try await GatewayUnderTest(extra: "delivery: {lease: 3s, request_timeout: 1s}")
        #expect(try await gateway.takeover() == nil)
        let accepted = try await gateway.post(ndjson: gateway.pushFile("load", count: 10, from: 0)).accepted
        #expect(try await gateway.settledStates(of: accepted) == ["delivered": 10])
        try await gateway.close()
    }

    /// All that the API says of these pushes.
    private static func statuses(_ gateway: GatewayUnderTest, _ ids: [APNSID]) async throws -> String {
        let file = gateway.folder.file("all-ids")
        try ids.map { "\"\($0)\"\n" }.joined().write(toFile: file, atomically: true, encoding: .utf8)
        return try await curl([
            "-H", "Content-Type: application/x-ndjson", "--data-binary", "@\(file)",
            "\(gateway.url)/api/v1/messages/query",
        ]).body
    }
}
