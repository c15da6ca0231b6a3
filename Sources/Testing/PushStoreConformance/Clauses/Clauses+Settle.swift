import APNSWire
import PushModel
import PushStore

extension QueueConformance {
    static let settling: [Clause] = [
        Clause("outcomes keep all fields across a crash") { harness in
            let now = try await harness.now
            let batch = Samples.batch(4, at: now)
            let lease = try await harness.appendClaimed(batch)
            try await harness.advance(by: .seconds(1))
            let at = try await harness.now
            _ = try await harness.settle(
                lease,
                [
                    Outcome(index: 0, verdict: .delivered, code: .none, status: 200, attempts: 2),
                    Outcome(
                        index: 1, verdict: .rejected, code: .notSubscribed, status: 410, attempts: 1,
                        reason: .known(.unregistered), tokenDeadAt: 1_700_000_000_123
                    ),
                    Outcome(
                        index: 2, verdict: .rejected, code: .unknownAnswer, status: 418, attempts: 1,
                        reason: .verbatim("TeapotÄ")
                    ),
                    Outcome(index: 3, verdict: .expired, code: .expired, attempts: 0),
                ]
            )
            try await harness.crash()
            let found = try await harness.queue.find((0..<4).map { batch.id.push($0) })
            let expected = [
                PushStatus(
                    id: batch.id.push(0), app: batch.app, lane: batch.lane, state: .settled(.delivered), status: 200,
                    attempts: 2, acceptedAt: now, updatedAt: at
                ),
                PushStatus(
                    id: batch.id.push(1), app: batch.app, lane: batch.lane, state: .settled(.rejected),
                    code: .notSubscribed, status: 410, reason: .known(.unregistered), attempts: 1, acceptedAt: now,
                    updatedAt: at, tokenDeadAt: WallTime(milliseconds: 1_700_000_000_123)
                ),
                PushStatus(
                    id: batch.id.push(2), app: batch.app, lane: batch.lane, state: .settled(.rejected),
                    code: .unknownAnswer, status: 418, reason: .verbatim("TeapotÄ"), attempts: 1, acceptedAt: now,
                    updatedAt: at
                ),
                PushStatus(
                    id: batch.id.push(3), app: batch.app, lane: batch.lane, state: .settled(.expired), code: .expired,
                    acceptedAt: now, updatedAt: at
                ),
            ]
            for index in 0..<4 { try expect(found[index], is: expected[index], "push \(index)") }
        },
        Clause("a finished batch leaves the queue, and its outcomes stay") { harness in
            let batch = Samples.batch(2, at: try await harness.now)
            let lease = try await harness.appendClaimed(batch)
            _ = try await harness.settle(lease, Samples.delivered([0, 1]))
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
            try await harness.advance(by: .seconds(60))
            try expect(try await harness.claim().isEmpty, "nothing to claim")
            try await harness.crash()
            try expect(try await harness.claim().isEmpty, "nothing to claim after a crash")
            try expect(try await harness.status(batch, 1).state, is: .settled(.delivered), "the outcome")
        },
        Clause("a verdict never changes") { harness in
            let batch = Samples.batch(2, at: try await harness.now)
            let lease = try await harness.appendClaimed(batch)
            _ = try await harness.settle(lease, Samples.delivered([0]))
            let late = Outcome(index: 0, verdict: .givenUp, code: .givenUp, attempts: 9)
            try expect(try await harness.settle(lease, [late]), is: [], "a late outcome is not an error")
            try expect(try await harness.status(batch).state, is: .settled(.delivered), "in the same lease")
            let due = try await harness.now + .seconds(5)
            _ = try await harness.settle(lease, retries: [Samples.retry(0, due: due)], release: .release)
            let again = try await harness.claimOne()
            try expect(again.pending?.map(\.index), is: [1], "a settled push is not claimed again")
            _ = try await harness.settle(again.lease, [late])
            try expect(try await harness.status(batch).state, is: .settled(.delivered), "in a later lease")
            try expect(try await harness.queue.depth().pushes, is: 1, "the other push still waits")
        },
        Clause("of two outcomes for one push in one settlement, the first counts") { harness in
            let batch = Samples.batch(2, at: try await harness.now)
            let lease = try await harness.appendClaimed(batch)
            let other = Outcome(index: 0, verdict: .expired, code: .expired, attempts: 1)
            _ = try await harness.settle(lease, Samples.delivered([0]) + [other])
            try expect(try await harness.status(batch).state, is: .settled(.delivered), "the first")
            try expect(try await harness.queue.depth().pushes, is: 1, "it is counted once")
        },
        Clause("after a partial settlement and a crash, only the unsettled pushes are claimed") { harness in
            let now = try await harness.now
            let batch = Samples.batch(10, at: now)
            let lease = try await harness.appendClaimed(batch)
            _ = try await harness.settle(lease, Samples.delivered([0, 2, 4]))
            _ = try await harness.settle(
                lease, Samples.delivered([6]), retries: [Samples.retry(1, attempts: 3, due: now)]
            )
            try await harness.crash()
            let claimed = try await harness.claimOne()
            try expect(claimed.batch == batch, "the batch is as it was appended")
            let pending = try require(claimed.pending, "some pushes are settled")
            try expect(pending.map(\.index), is: [1, 3, 5, 7, 8, 9], "the unsettled pushes")
            try expect(pending.map(\.attempts), is: [3, 0, 0, 0, 0, 0], "their attempts")
            _ = try await harness.settle(claimed.lease, Samples.delivered([1, 3, 5, 7, 8, 9]))
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
        },
        Clause("one call records settlements of many batches") { harness in
            let now = try await harness.now
            var batches: [Batch] = []
            var settlements: [Settlement] = []
            for _ in 0..<20 {
                let batch = Samples.batch(5, at: now)
                batches.append(batch)
                let lease = try await harness.appendClaimed(batch)
                settlements.append(Settlement(lease: lease, outcomes: Samples.delivered(0..<5), at: now))
            }
            try expect(try await harness.queue.settle(settlements), is: [], "none is refused")
            let found = try await harness.queue.find(batches.map { $0.id.push(4) })
            try expect(found.allSatisfy { $0?.state == .settled(.delivered) }, "all are settled")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
        },
        Clause("a released batch is claimable immediately, by any instance") { harness in
            let batch = Samples.batch(at: try await harness.now)
            let lease = try await harness.appendClaimed(batch)
            try expect(try await harness.settle(lease, release: .release), is: [], "released")
            let other = try await harness.openSecond() ?? harness.queue
            let claimed = try await other.claim(ClaimRequest(batchesMax: 1, lease: .seconds(20)))
            try expect(claimed.map(\.batch.id), is: [batch.id], "claimed again")
            try expect(try await harness.settle(lease, Samples.delivered([0])), is: [lease], "the old lease is stale")
        },
    ]
}
