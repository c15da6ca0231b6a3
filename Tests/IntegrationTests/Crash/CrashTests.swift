import APNSSimulator
import APNSWire
import Foundation
import Logging
import PushModel
import PushTesting
import SQLiteBackend
import Testing

/// The first two invariants of docs/explanation/architecture.md, with a real gateway, real sockets and `kill -9`.
@Suite(.serialized) struct `kill -9 under load` {
    static let pushes = 200_000
    static let perRequest = 1_000
    /// The gateway is killed when the simulator has accepted this many pushes.
    static let kills = [5_000, 40_000, 90_000, 140_000]

    @Test(.timeLimit(.minutes(15)))
    func `loses no accepted push, and only unrecorded pushes are sent again`() async throws {
        let gateway = try await GatewayUnderTest(.fast)
        async let posted = Self.postAll(to: gateway)
        var unrecorded = 0
        for threshold in Self.kills {
            try await waitUntil("\(threshold) pushes at the simulator", within: .seconds(300)) {
                gateway.simulator.counters.taken >= threshold
            }
            try await gateway.kill()
            unrecorded += try await Self.acceptedButUnrecorded(gateway)
            try await gateway.restart()
        }
        let accepted = try await posted
        let states = try await gateway.settledStates(of: accepted)

        let received = gateway.simulator.takenIDs()
        let distinct = Set(received)
        let lost = accepted.filter { !distinct.contains($0) }
        let duplicates = received.count - distinct.count
        print(
            """
            kill -9 × \(Self.kills.count): \(Self.pushes) offered, \(accepted.count) accepted, \
            \(distinct.count) received by APNs, \(lost.count) lost, \(duplicates) duplicates \
            (\(unrecorded) were in flight unrecorded at the kills), states \(states)
            """
        )
        #expect(lost.isEmpty)
        #expect(states == ["delivered": accepted.count])
        #expect(Set(accepted).count == accepted.count)
        #expect(accepted.count > Self.pushes / 2, "only the requests in progress fail at a kill")
        #expect(duplicates <= unrecorded)
        try await gateway.close()
    }

    /// Posts every push once, in two concurrent loops. A failed request is not repeated: the pushes with a result
    /// count, the others are unknown to the client. Continues when the gateway is back.
    private static func postAll(to gateway: GatewayUnderTest) async throws -> [APNSID] {
        try await withThrowingTaskGroup(of: [APNSID].self) { group in
            for lane in 0..<2 {
                group.addTask {
                    var accepted: [APNSID] = []
                    for request in stride(from: lane, to: pushes / perRequest, by: 2) {
                        let file = try gateway.pushFile("post-\(lane)", count: perRequest, from: request * perRequest)
                        let response = try await gateway.post(ndjson: file)
                        accepted += response.accepted
                        if !response.isComplete {
                            try await waitUntil("the gateway to be ready", within: .seconds(60)) {
                                (try? await curl(["\(gateway.url)/readyz"]))?.status == 200
                            }
                        }
                    }
                    return accepted
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }

    /// Pushes that APNs has accepted and that are not settled in the killed gateway's store. Only these may be sent
    /// again.
    private static func acceptedButUnrecorded(_ gateway: GatewayUnderTest) async throws -> Int {
        // The simulator may still process bytes that the killed process has written.
        try await waitUntil("the end of the killed gateway's connections") {
            gateway.simulator.counters.connectionsOpen == 0
        }
        // Sorted, so that a look-up reads the records of few batches.
        let taken = Set(gateway.simulator.takenIDs()).map { PushID($0) }.sorted()
        let store = try SQLiteBackend.open(folder: gateway.storeFolder, logger: Logger(label: "crash test"))
        var settled = 0
        for start in stride(from: 0, to: taken.count, by: 1000) {
            let statuses = try await store.find(Array(taken[start..<min(start + 1000, taken.count)]))
            for case .settled? in statuses.map({ $0?.state }) { settled += 1 }
        }
        await store.close()
        return taken.count - settled
    }
}
