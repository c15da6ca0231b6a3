import APNSWire
import PushModel
import PushStore

extension QueueConformance {
    static let lookups: [Clause] = [
        Clause("an unknown push has no status") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            try await harness.append(batch)
            let ids = [BatchID.random(at: now).push(0), batch.id.push(1), batch.id.push(2), batch.id.push(1)]
            let found = try await harness.queue.find(ids)
            try expect(found.map { $0?.id }, is: [nil, ids[1], nil, ids[3]], "parallel to the ids")
        },
        Clause("a push is queued, then sending, then settled") { harness in
            let now = try await harness.now
            let batch = Samples.batch(at: now, lane: .urgent)
            try await harness.append(batch)
            let queued = try await harness.status(batch)
            try expect(
                queued,
                is: PushStatus(
                    id: batch.id.push(0), app: batch.app, lane: .urgent, state: .queued, acceptedAt: now, updatedAt: now
                ), "queued"
            )
            let lease = try await harness.claimOne().lease
            try expect(try await harness.status(batch).state, is: .sending, "claimed")
            _ = try await harness.settle(lease, release: .release)
            try expect(try await harness.status(batch).state, is: .queued, "released")
            _ = try await harness.settle(harness.claimOne().lease, Samples.delivered([0]))
            try expect(try await harness.status(batch).state, is: .settled(.delivered), "settled")
        },
        Clause("a push with a not_before is scheduled, then queued") { harness in
            let now = try await harness.now
            let batch = Samples.batch(at: now, notBefore: now + .seconds(60))
            try await harness.append(batch)
            let scheduled = try await harness.status(batch)
            try expect(scheduled.state, is: .scheduled, "before")
            try expect(scheduled.nextAttemptAt, is: now + .seconds(60), "its due time")
            try await harness.advance(by: .seconds(61))
            try expect(try await harness.status(batch).state, is: .queued, "after")
        },
        Clause("a push with a recorded retry is retrying, with its last answer") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            let lease = try await harness.appendClaimed(batch)
            let due = now + .seconds(30)
            _ = try await harness.settle(
                lease, Samples.delivered([1]), retries: [Samples.retry(0, attempts: 4, due: due)], release: .release
            )
            let expected = PushStatus(
                id: batch.id.push(0), app: batch.app, lane: batch.lane, state: .retrying, code: .apnsUnavailable,
                status: 503, reason: .known(.serviceUnavailable), attempts: 4, acceptedAt: now, updatedAt: now,
                nextAttemptAt: due
            )
            try expect(try await harness.status(batch), is: expected, "waiting")
            try await harness.crash()
            try expect(try await harness.status(batch), is: expected, "after a crash")
            try await harness.advance(by: .seconds(31))
            _ = try await harness.claimOne()
            try expect(try await harness.status(batch).state, is: .sending, "claimed again")
        },
    ]
}
