import PushModel
import PushStore

/// A write whose response is lost took place. Its caller knows nothing of its result.
extension QueueConformance {
    static let lostResponses: [Clause] = [
        Clause("a settlement that is repeated counts once") { harness in
            let now = try await harness.now
            let batch = Samples.batch(4, at: now)
            let lease = try await harness.appendClaimed(batch)
            let first = Settlement(lease: lease, outcomes: Samples.delivered([0, 1]), number: 1, at: now)
            _ = try await harness.queue.settle([first])
            try expect(try await harness.queue.settle([first]), is: [], "it is not refused")
            try expect(try await harness.queue.depth().pushes, is: 2, "its pushes are counted once")
            let retry = Samples.retry(2, attempts: 1, due: now)
            let second = Settlement(lease: lease, retries: [retry], release: .release, number: 7, at: now)
            _ = try await harness.queue.settle([second])
            // A store of one instance has no connection that could lose a response.
            if try await harness.openSecond() != nil {
                try expect(try await harness.queue.settle([second]), is: [], "the last one of the lease, too")
            }
            let claimed = try await harness.claimOne("the batch is claimable once")
            try expect(claimed.pending?.map(\.index), is: [2, 3], "the unsettled pushes")
            try expect(claimed.pending?.map(\.attempts), is: [1, 0], "their attempts")
            try expect(try await harness.queue.settle([second]), is: [lease], "refused under a later lease")
        },
        Clause("a settlement that ends a batch can be repeated") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            let lease = try await harness.appendClaimed(batch)
            let all = Settlement(
                lease: lease, outcomes: Samples.delivered([0, 1]), release: .release, number: 1, at: now)
            _ = try await harness.queue.settle([all])
            try expect(try await harness.queue.settle([all]), is: [], "it is not refused")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
            try expect(try await harness.status(batch, 1).state, is: .settled(.delivered), "the outcome")
            try expect(harness.queue.settled().counts.values.reduce(0, +), is: 2, "each push is counted once")
        },
        Clause("a settlement that arrives after a later one of the lease is not recorded again") { harness in
            let now = try await harness.now
            let batch = Samples.batch(3, at: now)
            let lease = try await harness.appendClaimed(batch)
            let retry = Samples.retry(0, attempts: 1, due: now)
            let first = Settlement(lease: lease, retries: [retry], number: 1, at: now)
            _ = try await harness.queue.settle([first])
            let later = Samples.retry(0, attempts: 2, due: now)
            _ = try await harness.queue.settle([Settlement(lease: lease, retries: [later], number: 4, at: now)])
            try expect(try await harness.queue.settle([first]), is: [], "it is not refused")
            try await harness.advance(by: .seconds(21))
            try expect(try await harness.claimOne().pending?.first?.attempts, is: 2, "the later one counts")
        },
        Clause("a settlement without a number is recorded among those with one") { harness in
            let now = try await harness.now
            let batch = Samples.batch(3, at: now)
            let lease = try await harness.appendClaimed(batch)
            let numbered = { Settlement(lease: lease, outcomes: Samples.delivered([$0]), number: $1, at: now) }
            _ = try await harness.queue.settle([numbered(0, 3)])
            let cancelled = Outcome(index: 1, verdict: .cancelled, code: .cancelled, attempts: 0)
            try expect(try await harness.settle(lease, [cancelled]), is: [], "a cancellation")
            try expect(try await harness.queue.settle([numbered(2, 4)]), is: [], "the one after it")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "all are settled")
            try expect(try await harness.status(batch, 1).state, is: .settled(.cancelled), "the cancelled push")
        },
        Clause("the number of a settlement is compared with those of its lease only") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            let first = try await harness.appendClaimed(batch)
            _ = try await harness.queue.settle([
                Settlement(lease: first, outcomes: Samples.delivered([0]), release: .release, number: 9, at: now)
            ])
            let second = try await harness.claimOne().lease
            let last = Settlement(
                lease: second, outcomes: Samples.delivered([1]), release: .release, number: 1, at: now)
            try expect(try await harness.queue.settle([last]), is: [], "it is not taken for the first one")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
        },
        Clause("a batch whose claim lost its response is claimable when the lease has expired") { harness in
            let batch = Samples.batch(2, at: try await harness.now)
            try await harness.append(batch)
            _ = try await harness.queue.claim(ClaimRequest(batchesMax: 10, lease: .seconds(20)))
            try expect(try await harness.claim().isEmpty, "it is claimed")
            try await harness.advance(by: .seconds(21))
            let claimed = try await harness.claimOne("it is claimable again")
            try expect(claimed.isQuarantined, is: false, "no push of it was sent")
            try expect(claimed.batch.id, is: batch.id, "the batch")
        },
        Clause("a batch whose append lost its response is not appended twice") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            _ = try await harness.queue.append([NewBatch(batch: batch, claim: .seconds(20))])
            do {
                _ = try await harness.queue.append([NewBatch(batch: batch, claim: .seconds(20))])
                throw BrokenClause(description: "the second append of a batch succeeded")
            } catch let error as QueueError {
                try expect(error.isTransient, "the error of the second append: \(error)")
            }
            try expect(try await harness.queue.depth().pushes, is: 2, "its pushes are counted once")
            try await harness.advance(by: .seconds(21))
            try expect(
                try await harness.claimOne().batch.id, is: batch.id, "it is claimable when the lease has expired")
        },
    ]
}
