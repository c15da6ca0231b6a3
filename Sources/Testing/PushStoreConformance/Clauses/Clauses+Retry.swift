import PushModel
import PushStore

extension QueueConformance {
    static let retries: [Clause] = [
        Clause("a claim does not return a push whose retry is not due") { harness in
            let now = try await harness.now
            let batch = Samples.batch(3, at: now)
            let lease = try await harness.appendClaimed(batch)
            let retries = [
                Samples.retry(0, attempts: 1, due: now + .seconds(10)),
                Samples.retry(1, attempts: 2, due: now + .seconds(30)),
            ]
            _ = try await harness.settle(lease, Samples.delivered([2]), retries: retries, release: .release)
            try expect(try await harness.claim().isEmpty, "nothing is due")
            try await harness.advance(by: .seconds(11))
            let first = try await harness.claimOne("the first retry is due")
            let expected = PendingPush(index: 0, attempts: 1, due: now + .seconds(10), code: .apnsUnavailable)
            try expect(first.pending, is: [expected], "the push that is due")
            _ = try await harness.settle(first.lease, Samples.delivered([0]), release: .release)
            try expect(try await harness.claim().isEmpty, "the second retry is not due")
            try await harness.advance(by: .seconds(20))
            let second = try await harness.claimOne("the second retry is due")
            try expect(second.pending?.map(\.index), is: [1], "the push that is due")
            _ = try await harness.settle(second.lease, Samples.delivered([1]))
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
        },
        Clause("a released push without a recorded retry is due immediately, others when their retry is") {
            harness in
            let now = try await harness.now
            let lease = try await harness.appendClaimed(Samples.batch(3, at: now))
            _ = try await harness.settle(
                lease, Samples.delivered([0]), retries: [Samples.retry(1, due: now + .seconds(10))], release: .release
            )
            let claimed = try await harness.claimOne()
            try expect(claimed.pending?.map(\.index), is: [2], "the push without a retry")
        },
        Clause("a postponed batch is claimable unchanged, and not before its time") { harness in
            let batch = Samples.batch(3, at: try await harness.now)
            try await harness.append(batch)
            var claimed = try await harness.claimOne()
            let now = try await harness.now
            let retry = Samples.retry(1, attempts: 4, due: now)
            _ = try await harness.settle(claimed.lease, Samples.delivered([0]), retries: [retry], release: .release)
            claimed = try await harness.claimOne()
            _ = try await harness.settle(claimed.lease, release: .postpone(until: now + .seconds(5)))
            try expect(try await harness.claim().isEmpty, "it is postponed")
            try expect(try await harness.status(batch, 1).code, is: retry.code, "its last answer")
            try await harness.advance(by: .seconds(6))
            claimed = try await harness.claimOne("it is due")
            try expect(claimed.pending?.map(\.attempts), is: [4, 0], "the attempts")
            let finished = try await harness.now
            _ = try await harness.settle(
                claimed.lease, Samples.delivered([1, 2]), release: .postpone(until: finished + .seconds(5))
            )
            try expect(try await harness.queue.depth(), is: QueueDepth(), "a finished batch leaves the queue")
        },
        Clause("after a crash a claim marks the pushes that may have been sent, unless an update was recorded") {
            harness in
            let batch = Samples.batch(4, at: try await harness.now)
            try await harness.append(batch)
            var claimed = try await harness.claimOne()
            let stale = try await harness.queue.settle([
                Settlement(lease: claimed.lease, sends: [0, 1, 2], at: try await harness.now)
            ])
            try expect(stale, is: [], "the lease is valid")
            let now = try await harness.now
            _ = try await harness.settle(claimed.lease, Samples.delivered([0]), retries: [Samples.retry(1, due: now)])
            try await harness.crash()
            claimed = try await harness.claimOne()
            try expect(claimed.isQuarantined, is: false, "an update was recorded")
            try expect(claimed.pending?.map(\.index), is: [1, 2, 3], "the unsettled pushes")
            try expect(
                claimed.pending?.map(\.isUnanswered), is: [false, true, false], "the pushes that may have been sent")
        },
        Clause("a later retry replaces an earlier one") { harness in
            let now = try await harness.now
            let lease = try await harness.appendClaimed(Samples.batch(at: now))
            _ = try await harness.settle(lease, retries: [Samples.retry(0, attempts: 1, due: now + .seconds(5))])
            _ = try await harness.settle(
                lease, retries: [Samples.retry(0, attempts: 2, due: now + .seconds(10))], release: .release
            )
            try await harness.advance(by: .seconds(6))
            try expect(try await harness.claim().isEmpty, "the earlier retry was replaced")
            try await harness.advance(by: .seconds(5))
            try expect(try await harness.claimOne().pending?.map(\.attempts), is: [2], "the later retry counts")
        },
        Clause("retries that were recorded without a release keep their due time across a crash") { harness in
            let now = try await harness.now
            let lease = try await harness.appendClaimed(Samples.batch(2, at: now), lease: .seconds(2))
            _ = try await harness.settle(
                lease,
                retries: [
                    Samples.retry(0, due: now + .seconds(300)), Samples.retry(1, due: now + .seconds(300)),
                ]
            )
            try await harness.crash()
            try expect(try await harness.claim().isEmpty, "nothing is due")
            try await harness.advance(by: .seconds(301))
            try expect(try await harness.claimOne().pending?.count, is: 2, "both are due")
        },
        Clause("a retry moves the batch behind batches that are due earlier") { harness in
            let now = try await harness.now
            let retried = Samples.batch(at: now)
            let lease = try await harness.appendClaimed(retried)
            let other = Samples.batch(at: now + .seconds(1))
            try await harness.append(other)
            _ = try await harness.settle(lease, retries: [Samples.retry(0, due: now + .seconds(2))], release: .release)
            try await harness.advance(by: .seconds(3))
            try expect(try await harness.claim().map(\.batch.id), is: [other.id, retried.id], "the order")
        },
    ]
}
