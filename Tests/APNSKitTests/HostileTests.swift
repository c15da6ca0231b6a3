import APNSKit
import APNSWire
import Foundation
import PushTesting
import Testing

/// A server that violates HTTP/2, TLS or its own promises, written with another HTTP/2 stack (Python's h2, hpack and
/// hyperframe).
@Suite(.serialized) struct `A hostile server` {
    @Test func `has all the cases of this test`() async throws {
        #expect(try await HostileServer.cases() == HostileCase.all.map(\.name).sorted())
    }

    @Test(arguments: HostileCase.all)
    func `loses no push, duplicates none and costs no memory`(_ hostile: HostileCase) async throws {
        let server = try await HostileServer(hostile.name)
        let client = try Samples.client(port: server.port) {
            $0.requiresAPNSID = false
            $0.pingInterval = .milliseconds(500)
            $0.pingTimeout = .seconds(1)
            $0.drainTimeout = .seconds(1)
            // Longer than the timeouts of the pushes, so that a connection is not left before they end.
            $0.stallTimeout = .seconds(3)
            $0.connectTimeout = .seconds(2)
        }
        let memory = try PeakMemory()

        let first = Sent(Samples.batch(hostile.pushes, payloadBytes: hostile.payloadBytes))
        let answers = try await first.send(with: client, deadline: hostile.deadline)
        if let expected = hostile.answers { #expect(summary(answers) == expected) }

        let sent = try await recover(client)
        try await waitUntil("the end of the hostile connection") { await client.connections().count == 1 }
        // Every push has ended: the answers are compared with the server's report.
        let growth = try memory.growth()
        #expect(growth < PeakMemory.growthMax, "\(growth >> 20) MiB")
        await client.shutdown(grace: .seconds(5))
        let report = try await server.stop()
        #expect(report.errors.isEmpty)
        for sent in [first] + sent {
            for (index, answer) in sent.answers.enumerated() {
                check(answer, report.requests(for: sent.batch.id(at: index)), of: hostile)
            }
        }
        check(hostile.connection, report, firstIDs: Set(first.ids))
    }

    @Test func `that causes a leak would be detected`() throws {
        let memory = try PeakMemory()
        let leak = UnsafeMutableRawPointer.allocate(byteCount: 2 * PeakMemory.growthMax, alignment: 4096)
        memset(leak, 1, 2 * PeakMemory.growthMax)
        leak.deallocate()
        #expect(try memory.growth() > PeakMemory.growthMax)
    }

    /// Sends small batches until all pushes of one are accepted.
    private func recover(_ client: APNSClient) async throws -> [Sent] {
        var all: [Sent] = []
        try await waitUntil("an accepted batch", within: .seconds(20)) {
            let sent = Sent(Samples.batch(4, from: 10_000 + all.count * 4))
            all.append(sent)
            return try await sent.send(with: client, deadline: .seconds(2)).allSatisfy { $0 == .accepted }
        }
        return all
    }

    /// Checks that the answer to a push agrees with the server's report.
    private func check(_ answer: APNSAnswer, _ requests: [HostileServer.Report.Request], of hostile: HostileCase) {
        // The server may have processed a complete request that it did not refuse.
        let processed = requests.filter { $0.isComplete && $0.result != "refused" }
        switch answer.disposition {
        case .answered:
            #expect(processed.map(\.result) == [answer.status == 200 ? "accepted" : "rejected"])
        case .ambiguous:
            #expect(processed.count <= 1)
            #expect(requests.contains(where: \.isComplete) || !hostile.readsRequests)
        case .refused, .neverWritten:
            #expect(processed.isEmpty)
        }
    }

    /// Checks how long the hostile connection was used.
    private func check(
        _ connection: HostileCase.Connection, _ report: HostileServer.Report, firstIDs: Set<String>
    ) {
        let later = report.requests.filter { !firstIDs.contains($0.id) }
        switch connection {
        case .kept: #expect(report.connections == 1)
        case .lost: #expect(later.allSatisfy { $0.connection > 0 })
        case .givenUp: #expect(later.contains { $0.connection > 0 })
        }
    }

    /// The number of answers of each kind.
    private func summary(_ answers: [APNSAnswer]) -> String {
        let kinds = answers.map { answer in
            switch answer.disposition {
            case .answered where answer.status == 200: "accepted"
            case .answered: "\(answer.status) \(answer.reason)"
            default: "\(answer.disposition) \(answer.failure)" + (answer.reason == .none ? "" : " \(answer.reason)")
            }
        }
        return Dictionary(grouping: kinds) { $0 }.sorted { $0.key < $1.key }
            .map { "\($0.value.count) \($0.key)" }.joined(separator: ", ")
    }
}

/// A batch and its answers.
private final class Sent {
    let batch: NotificationBatch
    private(set) var answers: [APNSAnswer] = []

    init(_ batch: NotificationBatch) {
        self.batch = batch
    }

    var ids: [String] { (0..<batch.count).map { batch.id(at: $0).description } }

    /// - Returns: the answers in the order of the batch; each push has exactly one.
    func send(with client: APNSClient, deadline: Duration) async throws -> [APNSAnswer] {
        let groups = AnswerGroups()
        let began = ContinuousClock.now
        client.send(batch, indexes: nil, ticket: 7, timeouts: Samples.timeouts(deadline), to: groups)
        let all = await groups.all()
        // Tolerates a slow machine, and detects a push that is never reported.
        #expect(ContinuousClock.now - began < deadline * 2 + .seconds(5))
        #expect(all.flatMap(\.indexes).sorted() == batch.entries.indices.map { UInt16($0) })
        #expect(all.map(\.isLast) == all.indices.map { $0 == all.count - 1 })
        let pairs = zip(all.flatMap(\.indexes), all.flatMap(\.answers)).sorted { $0.0 < $1.0 }
        answers = pairs.map(\.1)
        return answers
    }
}
