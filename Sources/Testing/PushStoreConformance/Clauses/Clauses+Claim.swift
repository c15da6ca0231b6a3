import PushModel
import PushStore

extension QueueConformance {
    static let claims: [Clause] = [
        Clause("a claimed batch is not claimable again") { harness in
            try await harness.append(Samples.batch(at: try await harness.now))
            _ = try await harness.claimOne()
            try expect(try await harness.claim().isEmpty, "nothing is left to claim")
        },
        Clause("a batch that its append claimed is not claimable") { harness in
            _ = try await harness.appendClaimed(Samples.batch(at: try await harness.now))
            try expect(try await harness.claim().isEmpty, "nothing is left to claim")
        },
        Clause("a batch is not claimable before its not_before") { harness in
            let now = try await harness.now
            let batch = Samples.batch(at: now, notBefore: now + .seconds(60))
            try await harness.append(batch)
            try expect(try await harness.claim().isEmpty, "it is not due yet")
            try await harness.advance(by: .seconds(61))
            try expect(try await harness.claimOne().batch.id, is: batch.id, "it is due now")
        },
        Clause("a batch with a not_before in the past does not overtake older batches") { harness in
            let now = try await harness.now
            let first = Samples.batch(at: now)
            let past = Samples.batch(at: now + .milliseconds(1), notBefore: now + .seconds(-3600))
            let last = Samples.batch(at: now + .milliseconds(2))
            try await harness.append(first)
            try await harness.append(past)
            try await harness.append(last)
            try await harness.advance(by: .milliseconds(10))
            try expect(try await harness.claim().map(\.batch.id), is: [first.id, past.id, last.id], "the order")
        },
        Clause("an append does not claim a batch with a not_before in the future") { harness in
            let now = try await harness.now
            let batch = Samples.batch(at: now, notBefore: now + .seconds(60))
            let leases = try await harness.queue.append([NewBatch(batch: batch, claim: .seconds(20))])
            try expect(leases, is: [nil], "no lease")
            try expect(try await harness.claim().isEmpty, "it is not due yet")
            try await harness.advance(by: .seconds(61))
            try expect(try await harness.claimOne().batch.id, is: batch.id, "it is due now")
        },
        Clause("urgent batches are claimed before normal ones, normal before bulk, whatever their age") { harness in
            let now = try await harness.now
            let bulk = Samples.batch(at: now, lane: .bulk)
            let normal = Samples.batch(at: now + .milliseconds(1), lane: .normal)
            let urgent = Samples.batch(at: now + .milliseconds(2), lane: .urgent)
            try await harness.append(bulk, normal, urgent)
            try await harness.advance(by: .milliseconds(10))
            let claimed = try await harness.claim().map(\.batch.lane)
            try expect(claimed, is: [.urgent, .normal, .bulk], "the order of lanes")
        },
        Clause("within an app and lane the oldest batch is claimed first") { harness in
            let now = try await harness.now
            let batches = (0..<40).map { Samples.batch(at: now + .milliseconds(Int64($0))) }
            for batch in batches.shuffled() { try await harness.append(batch) }
            try await harness.advance(by: .milliseconds(100))
            let first = try await harness.claim(25).map(\.batch.id)
            let rest = try await harness.claim().map(\.batch.id)
            try expect(first + rest == batches.map(\.id), "oldest first")
        },
        Clause("a claim returns at most the requested number of batches") { harness in
            let now = try await harness.now
            for _ in 0..<5 { try await harness.append(Samples.batch(at: now)) }
            try expect(try await harness.claim(2).count, is: 2, "first claim")
            try expect(try await harness.claim(2).count, is: 2, "second claim")
            try expect(try await harness.claim(2).count, is: 1, "third claim")
        },
        Clause("no batch is claimed twice by concurrent claims") { harness in
            let now = try await harness.now
            for _ in 0..<60 { try await harness.append(Samples.batch(at: now)) }
            let queue = harness.queue
            let second = try await harness.openSecond()
            let claimed = try await withThrowingTaskGroup(of: [BatchID].self) { group in
                for number in 0..<30 {
                    let instance = number.isMultiple(of: 2) ? queue : second ?? queue
                    group.addTask {
                        try await instance.claim(ClaimRequest(batchesMax: 3, lease: .seconds(20))).map(\.batch.id)
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            // A claim may return fewer batches than requested; the rest is claimed afterwards.
            let all = try await claimed + harness.claim().map(\.batch.id)
            try expect(Set(all).count, is: all.count, "each batch once")
            try expect(all.count, is: 60, "every batch")
        },
        Clause("batches of excluded apps are not claimed") { harness in
            let now = try await harness.now
            let paused = Samples.batch(at: now, app: AppID("paused"))
            let other = Samples.batch(at: now + .milliseconds(1), app: AppID("other"))
            try await harness.append(paused, other)
            try await harness.advance(by: .milliseconds(10))
            let first = try await harness.claim(excluding: [AppID("paused")]).map(\.batch.id)
            try expect(first, is: [other.id], "only the other app's batch")
            try expect(try await harness.claimOne().batch.id, is: paused.id, "no longer excluded")
        },
        Clause("the depth counts batches and unsettled pushes by app and lane") { harness in
            let now = try await harness.now
            let first = Samples.batch(3, at: now, app: AppID("a"), lane: .urgent)
            let second = Samples.batch(4, at: now + .milliseconds(5), app: AppID("b"))
            try await harness.append(first, second, Samples.batch(5, at: now + .milliseconds(6), app: AppID("b")))
            try await harness.advance(by: .milliseconds(10))
            let full = [
                QueueDepth.Row(app: AppID("a"), lane: .urgent, batches: 1, pushes: 3),
                QueueDepth.Row(app: AppID("b"), lane: .normal, batches: 2, pushes: 9),
            ]
            let before = try await harness.queue.depth()
            try expect(before.rows, is: full, "before")
            try expect(
                before.oldestDue, is: [AppID("a"): now, AppID("b"): second.acceptedAt], "when the oldest became due"
            )
            let claimed = try await harness.claim(1)[0]
            let during = try await harness.queue.depth()
            try expect(during.rows, is: full, "claimed batches count")
            try expect(during.oldestDue, is: [AppID("b"): second.acceptedAt], "claimed batches do not wait")
            _ = try await harness.settle(claimed.lease, Samples.delivered([0]))
            try expect(try await harness.queue.depth().rows.first?.pushes, is: 2, "after one outcome")
            _ = try await harness.settle(claimed.lease, Samples.delivered([1, 2]))
            try expect(try await harness.queue.depth().rows, is: [full[1]], "after the last outcome")
            try await harness.crash()
            try expect(try await harness.queue.depth().rows, is: [full[1]], "after a crash")
        },
        Clause("the age of the backlog counts from the due time, not from acceptance") { harness in
            let now = try await harness.now
            let due = now + .seconds(3600)
            try await harness.append(Samples.batch(2, at: now, notBefore: due))
            try expect(try await harness.queue.depth().oldestDue, is: [:], "nothing is due yet")
            try await harness.advance(by: .seconds(3601))
            let oldest = try await harness.queue.depth().oldestDue
            try expect(oldest, is: [Samples.app: due], "it has been due for a second")
        },
    ]
}
