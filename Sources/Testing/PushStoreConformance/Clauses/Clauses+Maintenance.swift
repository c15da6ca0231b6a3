import APNSWire
import Foundation
import PushModel
import PushStore

extension QueueConformance {
    private static func response(_ text: String, at: WallTime) -> IdempotencyRecord {
        IdempotencyRecord(fingerprint: Data(repeating: 7, count: 32), body: Data(text.utf8), at: at)
    }

    private static func key(_ byte: UInt8) -> IdempotencyKey {
        IdempotencyKey(digest: Data(repeating: byte, count: 32))
    }

    static let counting: [Clause] = [
        Clause("pushes settled by dispatch or by the store are counted once, by app, verdict, code and reason") {
            harness in
            let now = try await harness.now
            let sent = Samples.batch(4, at: now)
            let lease = try await harness.appendClaimed(sent)
            let rejected = Outcome(
                index: 2, verdict: .rejected, code: .badDeviceToken, status: 400, attempts: 1,
                reason: .known(.badDeviceToken)
            )
            _ = try await harness.settle(lease, Samples.delivered([0, 1]) + [rejected])
            // Neither a repeated outcome nor one under a stale lease counts.
            _ = try await harness.settle(lease, [rejected])
            _ = try await harness.settle(Lease(batch: sent.id, epoch: lease.epoch + 1), Samples.delivered([3]))
            let cancelled = Samples.batch(3, at: now, app: AppID("other"))
            try await harness.append(cancelled)
            _ = try await harness.queue.cancel(.app(AppID("other")), at: now)
            try await harness.append(Samples.batch(2, at: now, collapseID: "score"))
            try await harness.append(Samples.batch(1, at: now + .milliseconds(1), collapseID: "score"))
            var expected = OutcomeCounts()
            expected.add(2, to: .init(app: Samples.app, verdict: .delivered, code: .none))
            expected.add(
                1, to: .init(app: Samples.app, verdict: .rejected, code: .badDeviceToken, reason: .badDeviceToken)
            )
            expected.add(3, to: .init(app: AppID("other"), verdict: .cancelled, code: .cancelled))
            expected.add(1, to: .init(app: Samples.app, verdict: .suppressed, code: .superseded))
            try expect(harness.queue.settled(), is: expected, "the counts")
        }
    ]

    static let idempotency: [Clause] = [
        Clause("a response is stored with the pushes for 24 hours, even across a crash") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            let stored = response("größe", at: now)
            let leases = try await harness.queue.append(
                [NewBatch(batch: batch, claim: .seconds(20))], storing: [key(1): stored]
            )
            try expect(leases.first??.batch, is: batch.id, "the lease")
            let usage = IdempotencyUsage(records: 1, bytes: stored.body.count)
            try expect(harness.queue.idempotencyUsage(), is: usage, "the usage")
            try await harness.crash()
            try expect(harness.queue.idempotencyUsage(), is: usage, "the usage after a crash")
            try expect(try await harness.queue.idempotencyRecord(for: key(1), now: now), is: stored, "the response")
            let last = now + IdempotencyKey.lifetime + .milliseconds(-1)
            try expect(
                try await harness.queue.idempotencyRecord(for: key(1), now: last), is: stored, "just before it expires")
            let expired = now + IdempotencyKey.lifetime
            try expect(try await harness.queue.idempotencyRecord(for: key(1), now: expired), is: nil, "it has expired")
            try expect(try await harness.queue.idempotencyRecord(for: key(2), now: now), is: nil, "another key")
            try expect(try await harness.claimOne().batch == batch, "the batch")
        },
        Clause("an append under a key with a stored response stores nothing") { harness in
            let now = try await harness.now
            let first = response("first", at: now)
            _ = try await harness.queue.append([], storing: [key(1): first])
            let batch = Samples.batch(at: now)
            do {
                _ = try await harness.queue.append(
                    [NewBatch(batch: batch)], storing: [key(1): response("second", at: now), key(2): first]
                )
                throw BrokenClause(description: "a key with a stored response was accepted")
            } catch is QueueError {}
            try expect(
                try await harness.queue.idempotencyRecord(for: key(1), now: now), is: first, "the first response")
            try expect(try await harness.queue.idempotencyRecord(for: key(2), now: now), is: nil, "the other key")
            try expect(try await harness.queue.find([batch.id.push(0)]), is: [nil], "the push is unknown")
            let later = response("third", at: now + IdempotencyKey.lifetime)
            _ = try await harness.queue.append([NewBatch(batch: batch)], storing: [key(1): later])
            try expect(
                try await harness.queue.idempotencyRecord(for: key(1), now: later.at), is: later,
                "the key is free after 24 hours")
            try expect(
                harness.queue.idempotencyUsage(), is: IdempotencyUsage(records: 1, bytes: later.body.count),
                "a refused write and an expired response do not count")
        },
    ]

    static let maintenance: [Clause] = [
        Clause("pruning deletes old finished batches in steps, and nothing else") { harness in
            let now = try await harness.now
            let old = (0..<7).map { _ in Samples.batch(2, at: now) }
            for batch in old {
                _ = try await harness.settle(
                    harness.appendClaimed(batch), Samples.delivered([0]) + Samples.givenUp([1]))
            }
            let waiting = Samples.batch(2, at: now)
            try await harness.append(waiting)
            let recent = Samples.batch(2, at: now)
            let lease = try await harness.appendClaimed(recent)
            try await harness.advance(by: .seconds(5))
            _ = try await harness.settle(lease, Samples.givenUp([0, 1]))
            _ = try await harness.queue.append([], storing: [key(1): response("old", at: now)])
            let cutoff = now + .seconds(1)
            var steps = 0
            while try await harness.queue.prune(endedBefore: cutoff, batchesMax: 3, now: harness.now) {
                steps += 1
                try expect(steps < 10, "pruning ends")
            }
            try expect(steps >= 2, "it works in steps")
            for batch in old { try expect(try await harness.states(batch), is: [nil, nil], "old and finished") }
            try expect(try await harness.states(waiting), is: [.queued, .queued], "old and waiting")
            try expect(try await harness.states(recent).compactMap { $0 }.count, is: 2, "recent")
            let letters = try await harness.queue.deadLetters(of: nil, after: nil, limit: 99)
            try expect(letters.map(\.id), is: [recent.id.push(0), recent.id.push(1)], "dead letters")
            try expect(try await harness.queue.idempotencyRecord(for: key(1), now: now) != nil, "a response of today")
            let tomorrow = now + IdempotencyKey.lifetime
            _ = try await harness.queue.prune(endedBefore: cutoff, batchesMax: 100, now: tomorrow)
            try expect(
                try await harness.queue.idempotencyRecord(for: key(1), now: now), is: nil, "a response of yesterday")
            try expect(harness.queue.idempotencyUsage(), is: IdempotencyUsage(), "a pruned response does not count")
            try await harness.advance(by: .seconds(10))
            try expect(
                Set(try await harness.deliverAll()), is: Set((0..<2).map(waiting.id.push)), "waiting pushes are sent")
            _ = try await harness.queue.prune(endedBefore: now + .seconds(60), batchesMax: 100, now: harness.now)
            try expect(try await harness.states(waiting), is: [nil, nil], "it is finished now")
        },
        Clause("retention counts from the end of a batch, not from its acceptance") {
            harness in
            let accepted = try await harness.now
            let batch = Samples.batch(3, at: accepted, notBefore: accepted + .seconds(100))
            try await harness.append(batch)
            try await harness.advance(by: .seconds(100))
            let lease = try await harness.claimOne().lease
            _ = try await harness.settle(lease, Samples.givenUp([0]) + Samples.delivered([1]))
            try await harness.advance(by: .seconds(50))
            _ = try await harness.settle(lease, Samples.delivered([2]))
            try await harness.crash()
            let last = accepted + .seconds(150)
            _ = try await harness.queue.prune(endedBefore: last, batchesMax: 9, now: last)
            try expect(
                try await harness.states(batch), is: [.givenUp, .delivered, .delivered].map { .settled($0) },
                "their outcomes"
            )
            let letter = batch.id.push(0)
            try expect(try await harness.queue.deadLetter(letter)?.letter.id, is: letter, "the dead letter")
            let later = last + .milliseconds(1)
            _ = try await harness.queue.prune(endedBefore: later, batchesMax: 9, now: later)
            try expect(try await harness.states(batch), is: [nil, nil, nil], "their retention is over")
            try expect(try await harness.queue.deadLetter(letter) == nil, "and that of the dead letter")
        },
        Clause("retention of a replayed push counts from its second end") { harness in
            let now = try await harness.now
            let batch = Samples.batch(at: now)
            _ = try await harness.settle(harness.appendClaimed(batch), Samples.givenUp([0]))
            try await harness.advance(by: .seconds(50))
            _ = try await harness.queue.replay(.app(nil), at: harness.now)
            _ = try await harness.deliverAll()
            _ = try await harness.queue.prune(endedBefore: now + .seconds(50), batchesMax: 9, now: harness.now)
            try expect(try await harness.states(batch), is: [.settled(.delivered)], "its outcome")
        },
        Clause("a replayed push that waits is not pruned") { harness in
            let now = try await harness.now
            let batch = Samples.batch(at: now)
            _ = try await harness.settle(harness.appendClaimed(batch), Samples.givenUp([0]))
            _ = try await harness.queue.replay(.app(nil), at: now)
            _ = try await harness.queue.prune(endedBefore: now + .seconds(1), batchesMax: 9, now: now)
            try expect(try await harness.deliverAll(), is: [batch.id.push(0)], "it is sent")
        },
        Clause("the store reports its disk usage") { harness in
            try await harness.append(Samples.batch(1000, at: try await harness.now))
            guard let usage = await harness.queue.usage() else { return }
            try expect(usage.bytesUsed > 40_000 && usage.bytesFree >= 0, "\(usage)")
        },
    ]
}

extension QueueConformance {
    static let expiry: [Clause] = [
        Clause("a push that no claim asks for expires at its deadline, also while its app is paused") { harness in
            let now = try await harness.now
            let (soon, later) = (now.seconds + 10, now.seconds + 20)
            let paused = Samples.batch(3, at: now, app: AppID("paused"), expirations: [soon, later, -1])
            let other = Samples.batch(1, at: now, expirations: [soon])
            try await harness.append(paused, other)
            try await harness.queue.setPaused(true, app: AppID("paused"), at: now)
            try expect(try await harness.queue.expire(batchesMax: 10), is: false, "nothing has expired")
            try await harness.advance(by: .seconds(9))
            _ = try await harness.queue.expire(batchesMax: 10)
            try expect(try await harness.queue.depth().pushes, is: 4, "one second before the first deadline")
            try await harness.advance(by: .seconds(1))
            try expect(try await harness.queue.expire(batchesMax: 10), is: false, "there are no more")
            try expect(
                try await harness.states(paused), is: [.settled(.expired), .queued, .queued], "the first has expired")
            try expect(try await harness.states(other), is: [.settled(.expired)], "so has the other batch")
            try expect(try await harness.status(paused, 0).code, is: .expired, "its code")
            try await harness.advance(by: .seconds(10))
            _ = try await harness.queue.expire(batchesMax: 10)
            try await harness.crash()
            try expect(
                try await harness.states(paused), is: [.settled(.expired), .settled(.expired), .queued],
                "the second has expired")
            try await harness.queue.setPaused(false, app: AppID("paused"), at: try await harness.now)
            try expect(try await harness.claimOne().pending?.map(\.index), is: [2], "the push that is left")
        },
        Clause("an expired push has the code of its last failed attempt, whenever the next one was due") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now, expirations: [now.seconds + 10, now.seconds + 10])
            let retry = Samples.retry(0, attempts: 2, due: now + .seconds(60))
            _ = try await harness.settle(harness.appendClaimed(batch), retries: [retry], release: .release)
            try await harness.advance(by: .seconds(10))
            _ = try await harness.queue.expire(batchesMax: 10)
            let (first, second) = (try await harness.status(batch, 0), try await harness.status(batch, 1))
            try expect(first.state, is: .settled(.expired), "the one that was tried")
            try expect(first.code, is: .apnsUnavailable, "its code")
            try expect(first.attempts, is: 2, "its attempts")
            try expect(second.code, is: .expired, "the one that was not tried")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
            try expect(
                harness.queue.settled().counts.filter { $0.key.verdict == .expired }.values.reduce(0, +), is: 2,
                "they are counted")
        },
        Clause("the pushes of a claimed batch expire by its holder, or after the lease") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now, expirations: [now.seconds + 10, now.seconds + 10])
            let lease = try await harness.appendClaimed(batch)
            try await harness.advance(by: .seconds(15))
            _ = try await harness.queue.expire(batchesMax: 10)
            try expect(try await harness.states(batch), is: [.sending, .sending], "the holder may be sending them")
            let stale = try await harness.settle(lease, Samples.delivered([0]), release: .release)
            try expect(stale, is: [], "the lease is valid")
            _ = try await harness.queue.expire(batchesMax: 10)
            try expect(
                try await harness.states(batch), is: [.settled(.delivered), .settled(.expired)], "the other waited")
        },
        Clause("a push without an expiration expires after its lifetime, which a replay restarts") { harness in
            let now = try await harness.now
            let urgent = Samples.batch(1, at: now, lane: .urgent)
            let immediate = Samples.batch(1, at: now, expirations: [0])
            let scheduled = Samples.batch(1, at: now, notBefore: now + .seconds(100), expirations: [0])
            let dead = Samples.batch(1, at: now, lane: .urgent)
            try await harness.append(urgent, immediate, scheduled)
            _ = try await harness.settle(harness.appendClaimed(dead), Samples.givenUp([0]))
            func states(after seconds: Int64, _ expected: [PushStatus.State]) async throws {
                let target = now + .seconds(seconds)
                let current = try await harness.now
                try await harness.advance(by: .milliseconds(target.milliseconds - current.milliseconds))
                for _ in 0..<2 { _ = try await harness.queue.expire(batchesMax: 10) }
                var found: [PushStatus.State] = []
                for batch in [urgent, immediate, scheduled, dead] {
                    found.append(try await harness.status(batch).state)
                }
                try expect(found, is: expected, "after \(seconds) s")
            }
            let (expired, givenUp) = (PushStatus.State.settled(.expired), PushStatus.State.settled(.givenUp))
            try await states(after: 29, [.queued, .queued, .scheduled, givenUp])
            try await states(after: 30, [.queued, expired, .scheduled, givenUp])
            try await states(after: 129, [.queued, expired, .queued, givenUp])
            try await states(after: 130, [.queued, expired, expired, givenUp])
            try await states(after: 1800, [.queued, expired, expired, givenUp])
            let count = try await harness.queue.replay(.ids([dead.id.push(0)]), at: try await harness.now)
            try expect(count.replayed, is: 1, "the replay")
            try await states(after: 3600, [expired, expired, expired, .queued])
            try await states(after: 1800 + 3599, [expired, expired, expired, .queued])
            try await states(after: 1800 + 3600, [expired, expired, expired, expired])
        },
        Clause("an expiry looks at a bounded number of batches, and a damaged one does not delay the others") {
            harness in
            let now = try await harness.now
            let batches = (0..<5).map { _ in Samples.batch(2, at: now, expirations: [now.seconds + 10, -1]) }
            for batch in batches { try await harness.append(batch) }
            let isDamaged = try await harness.damage(batches[0].id, .body)
            try await harness.advance(by: .seconds(10))
            for left in [8, 6] {
                try expect(try await harness.queue.expire(batchesMax: 2), is: true, "there may be more")
                try expect(try await harness.queue.depth().pushes, is: left + (isDamaged ? 1 : 0), "two batches")
            }
            try expect(try await harness.queue.expire(batchesMax: 2), is: false, "there are no more")
            try expect(try await harness.queue.depth().pushes, is: 5 + (isDamaged ? 1 : 0), "all batches")
            try expect(try await harness.queue.expire(batchesMax: 2), is: false, "nothing is due")
            let claims = try await harness.claim()
            try expect(claims.count, is: isDamaged ? 4 : 5, "what is left can be claimed")
            try expect(try await harness.queue.depth().pushes, is: isDamaged ? 4 : 5, "the damaged batch is given up")
        },
    ]
}
