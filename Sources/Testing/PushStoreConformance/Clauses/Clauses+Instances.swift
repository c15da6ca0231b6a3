import Foundation
import PushModel
import PushStore

/// The promises of a store that several instances share. A store of a single instance does not check them.
extension QueueConformance {
    private static func clause(
        _ name: String,
        _ body: @escaping @Sendable (any QueueHarness, _ other: any QueueInstance) async throws -> Void
    ) -> Clause {
        Clause(name) { harness in
            guard let other = try await harness.openSecond() else { return }
            try await body(harness, other)
        }
    }

    private static let request = ClaimRequest(batchesMax: 10, lease: .seconds(20))

    static let instances: [Clause] = [
        clause("an instance takes over expired leases of one that still runs") { harness, other in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            let lease = try await harness.appendClaimed(batch)
            try expect(try await other.claim(request).isEmpty, "the lease is valid")
            try await harness.advance(by: .seconds(21))
            let taken = try require(try await other.claim(request).first, "the lease has expired")
            try expect(
                try await harness.queue.renew([lease], for: .seconds(20)), is: [lease], "the first lease is lost")
            let late = Settlement(lease: lease, outcomes: Samples.delivered([0, 1]), number: 1, at: now)
            try expect(try await harness.queue.settle([late]), is: [lease], "its late settlement is refused")
            try expect(try await harness.status(batch).state, is: .sending, "nothing is settled")
            let right = Settlement(lease: taken.lease, outcomes: Samples.delivered([0, 1]), number: 1, at: now)
            try expect(try await other.settle([right]), is: [], "that of the new holder is recorded")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "both see the empty queue")
        },
        clause("an instance cannot renew the lease of another one") { harness, other in
            let lease = try await harness.appendClaimed(Samples.batch(at: try await harness.now))
            try expect(try await other.renew([lease], for: .seconds(60)), is: [lease], "it is not its own")
            try await harness.advance(by: .seconds(15))
            try expect(try await harness.queue.renew([lease], for: .seconds(20)), is: [], "the holder keeps it")
            try await harness.advance(by: .seconds(21))
            try expect(try await other.claim(request).count, is: 1, "the other instance did not extend it")
        },
        clause("a crash of one instance leaves the leases of the others") { harness, other in
            let now = try await harness.now
            let lost = Samples.batch(at: now)
            _ = try await harness.appendClaimed(lost)
            let kept = Samples.batch(at: now)
            let lease = try require(
                try await other.append([NewBatch(batch: kept, claim: .seconds(600))])[0], "it is claimed")
            try await harness.crash()
            try expect(try await harness.claim().map(\.batch.id), is: [lost.id], "only the batch of the lost instance")
            let settlement = Settlement(lease: lease, outcomes: Samples.delivered([0]), number: 1, at: now)
            try expect(try await other.settle([settlement]), is: [], "the other lease is valid")
        },
        clause("an instance sees what the other one accepted, sends and settled") { harness, other in
            let now = try await harness.now
            let waiting = Samples.batch(3, at: now, requestID: "one")
            let sent = Samples.batch(2, at: now)
            try await harness.append(waiting)
            let lease = try await harness.appendClaimed(sent)
            _ = try await harness.settle(lease, Samples.delivered([0]))
            let found = try await other.find([waiting.id.push(0), sent.id.push(0), sent.id.push(1)])
            try expect(found.map { $0?.state }, is: [.queued, .settled(.delivered), .sending], "the states")
            try expect(try await other.depth().pushes, is: 4, "the depth")
            try expect(try await other.depth().pushes, is: try await harness.queue.depth().pushes, "the same for both")
        },
        clause("an instance cancels pushes that the other one accepted, and not those it sends") { harness, other in
            let now = try await harness.now
            let waiting = Samples.batch(3, at: now, requestID: "one")
            let sent = Samples.batch(2, at: now, requestID: "one")
            try await harness.append(waiting)
            _ = try await harness.appendClaimed(sent)
            let single = try await other.cancel([waiting.id.push(0), sent.id.push(0)], at: now)
            try expect(single, is: [.cancelled, .tooLate], "single pushes")
            let count = try await other.cancel(.request("one"), at: now)
            try expect(count, is: CancelCount(cancelled: 2, tooLate: 2), "a request")
            try expect(try await harness.claim().isEmpty, "nothing is left to claim")
        },
        clause("a pause by one instance holds for the other") { harness, other in
            let now = try await harness.now
            try await harness.append(Samples.batch(at: now))
            try await other.setPaused(true, app: Samples.app, at: now)
            try expect(try await harness.claim().isEmpty, "the app is paused")
            let lease = try await harness.queue.append([
                NewBatch(batch: Samples.batch(at: now), claim: .seconds(20))
            ])[0]
            try expect(lease, is: nil, "an append does not claim")
            try expect(try await harness.queue.pausedApps().keys.map(\.name), is: [Samples.app.name], "it is listed")
            try await harness.queue.setPaused(false, app: Samples.app, at: now)
            try expect(try await other.claim(request).count, is: 2, "resumed by the other one")
        },
        clause("a push replaces an older one of the other instance with its collapse ID") { harness, other in
            let now = try await harness.now
            let older = Samples.batch(at: now, collapseID: "score")
            try await harness.append(older)
            let newer = Samples.batch(at: now, collapseID: "score")
            _ = try await other.append([NewBatch(batch: newer)])
            try expect(try await harness.status(older).state, is: .settled(.suppressed), "the older one")
            try expect(try await harness.claim().map(\.batch.id), is: [newer.id], "the newer one is sent")
        },
        clause("an instance replays a dead letter of the other one") { harness, other in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            _ = try await harness.settle(harness.appendClaimed(batch), Samples.givenUp([0, 1]), release: .release)
            try expect(try await other.deadLetters(of: nil, after: nil, limit: 10).count, is: 2, "both are listed")
            try expect(try await other.replay(.ids([batch.id.push(1)]), at: now).replayed, is: 1, "one returns")
            let claimed = try await harness.claimOne("it is claimable by the first instance")
            try expect(claimed.pending?.map(\.index), is: [1], "the replayed push")
        },
        clause("of two requests with one idempotency key at two instances, one is accepted") { harness, other in
            let now = try await harness.now
            let key = IdempotencyKey(digest: Data(repeating: 7, count: 32))
            let instances = [harness.queue, other]
            let accepted = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<8 {
                    let instance = instances[number % 2]
                    group.addTask {
                        let batch = Samples.batch(at: now)
                        let record = IdempotencyRecord(
                            fingerprint: Data(repeating: 1, count: 32), body: Data([UInt8(number)]), at: now)
                        do throws(QueueError) {
                            _ = try await instance.append([NewBatch(batch: batch)], storing: [key: record])
                            return true
                        } catch .idempotencyKeyUsed {
                            return false
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            try expect(accepted, is: 1, "the number of accepted requests")
            try expect(try await harness.queue.depth().pushes, is: 1, "the pushes")
            let first = try await harness.queue.idempotencyRecord(for: key, now: now)
            try expect(first != nil, "the response is stored")
            try expect(try await other.idempotencyRecord(for: key, now: now), is: first, "the same for both")
        },
        clause("one app's backlog does not delay the pushes of another one at any instance") { harness, other in
            let now = try await harness.now
            for _ in 0..<40 { try await harness.append(Samples.batch(100, at: now, app: AppID("flood"))) }
            try await harness.advance(by: .milliseconds(10))
            let quiet = Samples.batch(at: try await harness.now, app: AppID("quiet"))
            try await harness.append(quiet)
            // A quantum of the flood, then the quiet app; the other instance may take its turn first.
            var claimed: [BatchID] = []
            for _ in 0..<6 {
                claimed += try await harness.claim(ClaimRequest(batchesMax: 2, lease: .seconds(20))).map(\.batch.id)
                claimed += try await other.claim(ClaimRequest(batchesMax: 2, lease: .seconds(20))).map(\.batch.id)
            }
            try expect(claimed.contains(quiet.id), "the quiet app had its turn")
        },
    ]
}
