import PushModel
import PushStore

extension QueueConformance {
    static let leases: [Clause] = [
        Clause("after its lease has expired, a batch is claimable under a higher epoch") { harness in
            let batch = Samples.batch(2, at: try await harness.now)
            try await harness.append(batch)
            let first = try await harness.claimOne()
            try await harness.advance(by: .seconds(21))
            let second = try await harness.claimOne("the batch is claimable again")
            try expect(second.batch == batch, "the batch is as it was appended")
            try expect(second.lease.epoch > first.lease.epoch, "the epoch has risen")
            try await harness.advance(by: .seconds(21))
            try expect(try await harness.claimOne().lease.epoch > second.lease.epoch, "the epoch has risen again")
        },
        Clause("the lease of an append expires like any other") { harness in
            let lease = try await harness.appendClaimed(Samples.batch(at: try await harness.now))
            try await harness.advance(by: .seconds(21))
            try expect(try await harness.claimOne().lease.epoch > lease.epoch, "the epoch has risen")
        },
        Clause("a renewed lease does not expire") { harness in
            let now = try await harness.now
            let kept = try await harness.appendClaimed(Samples.batch(at: now))
            let expired = Samples.batch(at: now + .milliseconds(1))
            _ = try await harness.appendClaimed(expired)
            try await harness.advance(by: .seconds(15))
            try expect(try await harness.queue.renew([kept], for: .seconds(20)).isEmpty, "the lease is valid")
            try await harness.advance(by: .seconds(15))
            try expect(try await harness.claim().map(\.batch.id), is: [expired.id], "only the other lease has expired")
            try await harness.advance(by: .seconds(6))
            try expect(try await harness.claimOne().lease.batch, is: kept.batch, "the renewed lease has expired")
        },
        Clause("renewing reports leases that were overtaken or never existed") { harness in
            let now = try await harness.now
            let old = try await harness.appendClaimed(Samples.batch(at: now))
            try await harness.advance(by: .seconds(21))
            let new = try await harness.claimOne().lease
            let unknown = Lease(batch: BatchID.random(at: now), epoch: 1)
            let lost = try await harness.queue.renew([old, new, unknown], for: .seconds(20))
            try expect(Set(lost), is: [old, unknown], "lost leases")
        },
        Clause("renewing reports leases of settled batches") { harness in
            let lease = try await harness.appendClaimed(Samples.batch(at: try await harness.now))
            _ = try await harness.settle(lease, Samples.delivered([0]))
            try expect(try await harness.queue.renew([lease], for: .seconds(20)), is: [lease], "lost leases")
        },
        Clause("a settlement under an overtaken lease changes nothing and is returned") { harness in
            let batch = Samples.batch(2, at: try await harness.now)
            let old = try await harness.appendClaimed(batch)
            try await harness.advance(by: .seconds(21))
            let new = try await harness.claimOne().lease
            try expect(
                try await harness.settle(old, Samples.delivered([0, 1]), release: .release), is: [old], "refused"
            )
            try expect(try await harness.status(batch).state, is: .sending, "nothing is settled")
            try expect(try await harness.settle(new, Samples.delivered([0, 1])), is: [], "the new lease is valid")
        },
        Clause("a settlement under an unknown lease is returned, and the others of the call are recorded") { harness in
            let now = try await harness.now
            let batch = Samples.batch(at: now)
            let valid = try await harness.appendClaimed(batch)
            let unknown = Lease(batch: BatchID.random(at: now), epoch: 3)
            let refused = try await harness.queue.settle([
                Settlement(lease: unknown, outcomes: Samples.delivered([0]), at: now),
                Settlement(lease: valid, outcomes: Samples.delivered([0]), at: now),
            ])
            try expect(refused, is: [unknown], "refused leases")
            try expect(try await harness.status(batch).state, is: .settled(.delivered), "the other batch")
        },
        Clause("an expired lease is valid until the batch is claimed again") { harness in
            let batch = Samples.batch(at: try await harness.now)
            let lease = try await harness.appendClaimed(batch)
            try await harness.advance(by: .seconds(60))
            try expect(try await harness.settle(lease, Samples.delivered([0])), is: [], "accepted")
            try expect(try await harness.status(batch).state, is: .settled(.delivered), "settled")
        },
        Clause("epochs rise across crashes") { harness in
            try await harness.append(Samples.batch(at: try await harness.now))
            var last: UInt64 = 0
            for _ in 0..<4 {
                let epoch = try await harness.claimOne().lease.epoch
                try expect(epoch > last, "epoch \(epoch) after \(last)")
                last = epoch
                try await harness.crash()
            }
        },
    ]
}
