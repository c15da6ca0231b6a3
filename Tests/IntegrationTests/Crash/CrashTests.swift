import APNSSimulator
import APNSWire
import Foundation
import Logging
import PushModel
import PushTesting
import SQLiteBackend
import Testing

/// The first two invariants of docs/explanation/architecture.md, with a real gateway, real sockets and `kill -9`.
@Suite(.serialized) struct `Kill nine` {
    static let pushes = 200_000
    static let perRequest = 1_000
    /// The gateway is killed when the simulator has taken this many pushes.
    static let kills = [5_000, 40_000, 90_000, 140_000]

    @Test(.timeLimit(.minutes(15)))
    func `no accepted push is lost, and only what was in flight unrecorded is sent twice`() async throws {
        let gateway = try await GatewayUnderTest(.fast)
        async let posted = Self.postAll(to: gateway)
        var unrecorded = 0
        for threshold in Self.kills {
            try await waitUntil("\(threshold) pushes at the simulator", within: .seconds(300)) {
                gateway.simulator.counters.taken >= threshold
            }
            try await gateway.kill()
            unrecorded += try await Self.takenButUnrecorded(gateway)
            try await gateway.restart()
        }
        let accepted = try await posted
        let states = try await gateway.settledStates(of: accepted)

        let taken = gateway.simulator.takenIDs()
        let distinct = Set(taken)
        let lost = accepted.filter { !distinct.contains($0) }
        let twice = taken.count - distinct.count
        print(
            """
            kill -9 × \(Self.kills.count): \(Self.pushes) offered, \(accepted.count) answered as accepted, \
            \(distinct.count) taken by APNs, \(lost.count) lost, \(twice) sent twice \
            (\(unrecorded) were in flight unrecorded at the kills), states \(states)
            """
        )
        #expect(lost.isEmpty)
        #expect(states == ["delivered": accepted.count])
        #expect(Set(accepted).count == accepted.count)
        #expect(accepted.count > Self.pushes / 2, "a kill costs the requests under way, not the rest")
        #expect(twice <= unrecorded)
        try await gateway.close()
    }

    /// Posts every push once, two requests at a time. A request that breaks off is not repeated: what it was told is
    /// counted, the rest is unknown to the client. Goes on when the gateway is back.
    private static func postAll(to gateway: GatewayUnderTest) async throws -> [APNSID] {
        try await withThrowingTaskGroup(of: [APNSID].self) { group in
            for lane in 0..<2 {
                group.addTask {
                    var accepted: [APNSID] = []
                    for request in stride(from: lane, to: pushes / perRequest, by: 2) {
                        let file = try gateway.pushFile("post-\(lane)", count: perRequest, from: request * perRequest)
                        let answer = try await gateway.post(ndjson: file)
                        accepted += answer.accepted
                        if !answer.isComplete {
                            try await waitUntil("the gateway's return", within: .seconds(60)) {
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

    /// What APNs has taken and the killed gateway's store does not know as settled: at most these may be sent again.
    private static func takenButUnrecorded(_ gateway: GatewayUnderTest) async throws -> Int {
        // What the dead process had written may still be on its way through the simulator.
        try await waitUntil("the end of the dead gateway's connections") {
            gateway.simulator.counters.connectionsOpen == 0
        }
        let taken = Set(gateway.simulator.takenIDs()).map { PushID($0) }
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
