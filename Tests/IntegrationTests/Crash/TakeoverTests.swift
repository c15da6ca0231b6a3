import APNSSimulator
import APNSWire
import Foundation
import PushTesting
import Testing

/// A process hangs, another one takes over its store, and the first one continues.
@Suite(.serialized) struct `A takeover` {
    @Test(.timeLimit(.minutes(3)))
    func `ends the previous owner when it continues, and no verdict changes`() async throws {
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
        try await waitUntil("pushes in flight") { gateway.simulator.counters.taken >= 100 }
        gateway.process.signal(SIGSTOP)
        let atStop = Set(gateway.simulator.takenIDs())

        var previousOwner: ChildProcess?
        try await waitUntil("the takeover after three leases", within: .seconds(60)) {
            previousOwner = try await gateway.takeover()
            return previousOwner != nil
        }
        let former = try #require(previousOwner)
        try gateway.simulator.changeSettings { $0.answerDelay = .zero }
        #expect(try await gateway.settledStates(of: accepted) == ["delivered": accepted.count])
        let statuses = try await Self.statuses(gateway, accepted)
        let taken = gateway.simulator.takenIDs().count

        former.signal(SIGCONT)
        #expect(try await former.waitForExit(within: .seconds(60)) == .status(1))
        #expect(try await Self.statuses(gateway, accepted) == statuses, "no verdict changed")
        #expect(gateway.simulator.takenIDs().count == taken, "it sent nothing more")
        #expect(Set(gateway.simulator.takenIDs()) == Set(accepted))
        #expect(taken - accepted.count <= atStop.count, "only pushes in flight are sent again")
        #expect(try await gateway.stop() == .status(0))
        try await gateway.close()
    }

    @Test(.timeLimit(.minutes(3)))
    func `is refused while the owner has a heartbeat`() async throws {
        let gateway = try await GatewayUnderTest(extra: "delivery: {lease: 3s, request_timeout: 1s}")
        #expect(try await gateway.takeover() == nil)
        let accepted = try await gateway.post(ndjson: gateway.pushFile("load", count: 10, from: 0)).accepted
        #expect(try await gateway.settledStates(of: accepted) == ["delivered": 10])
        try await gateway.close()
    }

    /// The status lines of these pushes.
    private static func statuses(_ gateway: GatewayUnderTest, _ ids: [APNSID]) async throws -> String {
        let file = gateway.folder.file("all-ids")
        try ids.map { "\"\($0)\"\n" }.joined().write(toFile: file, atomically: true, encoding: .utf8)
        return try await curl([
            "-H", "Content-Type: application/x-ndjson", "--data-binary", "@\(file)",
            "\(gateway.url)/api/v1/messages/query",
        ]).body
    }
}
