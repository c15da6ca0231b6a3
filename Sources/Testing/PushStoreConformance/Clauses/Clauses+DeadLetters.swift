import APNSWire
import PushModel
import PushStore

extension QueueConformance {
    static let deadLetters: [Clause] = [
        Clause("only a push that is given up becomes a dead letter") { harness in
            let now = try await harness.now
            let batch = Samples.batch(3, at: now, lane: .urgent, payloadBytes: 200, collapseID: "größe")
            let lease = try await harness.appendClaimed(batch)
            let expired = Outcome(index: 0, verdict: .expired, code: .expired, attempts: 1)
            try await harness.advance(by: .seconds(1))
            let at = try await harness.now
            _ = try await harness.settle(lease, [expired] + Samples.delivered([1]) + Samples.givenUp([2]))
            let expected = DeadLetter(
                id: batch.id.push(2), app: batch.app, lane: .urgent, code: .apnsUnavailable, status: 503,
                reason: .known(.serviceUnavailable), attempts: 50, acceptedAt: now, givenUpAt: at
            )
            try await harness.crash()
            try expect(try await harness.queue.deadLetters(of: nil, after: nil, limit: 9), is: [expected], "the list")
            let found = try require(try await harness.queue.deadLetter(expected.id), "it is found by its id")
            try expect(found.letter, is: expected, "the letter")
            let push = DeadLetterContent(
                topic: "org.example.sample", pushType: "alert", tokenBytes: 32,
                payloadBytes: batch.notifications.payload(at: 2).count, expiration: nil, collapseID: "größe"
            )
            try expect(found.push, is: push, "the push")
            let other = try await harness.queue.deadLetter(batch.id.push(1))
            try expect(other == nil, "a delivered push is no dead letter")
            try expect(try await harness.status(batch, 2).state, is: .settled(.givenUp), "its status")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
        },
        Clause("dead letters are listed by id, page by page, of one app or of all") { harness in
            let now = try await harness.now
            var ids: [String: [PushID]] = [:]
            for (number, app) in ["a", "b", "a"].enumerated() {
                let batch = Samples.batch(4, at: now + .milliseconds(Int64(number)), app: AppID(app))
                _ = try await harness.settle(harness.appendClaimed(batch), Samples.givenUp(0..<4))
                ids[app, default: []] += (0..<4).map(batch.id.push)
            }
            for (app, expected) in [("a", ids["a"]!), ("b", ids["b"]!), (nil, (ids["a"]! + ids["b"]!).sorted())] {
                var found: [PushID] = []
                while case let page = try await harness.queue.deadLetters(
                    of: app.map { AppID($0) }, after: found.last, limit: 3
                ), !page.isEmpty {
                    try expect(page.count <= 3, "a page has at most `limit` letters")
                    found += page.map(\.id)
                }
                try expect(found, is: expected, "of \(app ?? "all")")
            }
        },
        Clause("purging deletes a dead letter and keeps its outcome") { harness in
            let now = try await harness.now
            let batch = Samples.batch(3, at: now)
            let other = Samples.batch(2, at: now, app: AppID("other"))
            _ = try await harness.settle(harness.appendClaimed(batch), Samples.givenUp(0..<3))
            _ = try await harness.settle(harness.appendClaimed(other), Samples.givenUp(0..<2))
            let unknown = BatchID.random(at: now).push(0)
            try expect(try await harness.queue.purge(.ids([batch.id.push(1), unknown])), is: 1, "by id")
            try expect(try await harness.queue.deadLetter(batch.id.push(1)) == nil, "it is gone")
            try expect(try await harness.queue.deadLetter(batch.id.push(2)) != nil, "its neighbour is not")
            try expect(try await harness.queue.purge(.app(batch.app)), is: 2, "by app")
            try expect(try await harness.queue.purge(.app(nil)), is: 2, "all")
            try expect(try await harness.queue.deadLetters(of: nil, after: nil, limit: 9).isEmpty, "none is left")
            try expect(try await harness.status(batch, 1).state, is: .settled(.givenUp), "the outcome")
            try expect(
                try await harness.queue.replay(.ids([batch.id.push(1)]), at: now), is: ReplayCount(),
                "nothing to replay")
        },
    ]

    static let replays: [Clause] = [
        Clause("a replayed push waits under its old id, without attempts, and with a new lifetime") { harness in
            let batch = Samples.batch(3, at: try await harness.now, requestID: "r")
            let lease = try await harness.appendClaimed(batch)
            _ = try await harness.settle(lease, Samples.delivered([0, 2]) + Samples.givenUp([1]))
            try await harness.crash()
            try await harness.advance(by: .seconds(60))
            let replayedAt = try await harness.now
            try expect(
                try await harness.queue.replay(.ids([batch.id.push(1)]), at: replayedAt), is: ReplayCount(replayed: 1),
                "replayed")
            let queued = PushStatus(
                id: batch.id.push(1), app: batch.app, lane: batch.lane, state: .queued, acceptedAt: batch.acceptedAt,
                updatedAt: replayedAt
            )
            try expect(try await harness.status(batch, 1), is: queued, "its status")
            try expect(try await harness.queue.depth().pushes, is: 1, "it waits")
            try expect(try await harness.queue.deadLetters(of: nil, after: nil, limit: 9).isEmpty, "no dead letter")
            try await harness.crash()
            let claimed = try await harness.claimOne()
            try expect(claimed.lease.epoch > lease.epoch, "the epoch has risen")
            try expect(claimed.batch.id, is: batch.id, "the same batch")
            try expect(claimed.batch.notifications == batch.notifications, "the same pushes")
            try expect(claimed.batch.due(of: 1), is: replayedAt, "its lifetime counts from the replay")
            let pending = PendingPush(index: 1, attempts: 0, due: replayedAt)
            try expect(claimed.pending, is: [pending], "only the replayed push")
            try expect(try await harness.settle(lease, Samples.delivered([1])), is: [lease], "the old lease is stale")
            _ = try await harness.settle(claimed.lease, Samples.delivered([1]))
            try expect(try await harness.states(batch).allSatisfy { $0 == .settled(.delivered) }, "delivered")
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
        },
        Clause("a push that may not return stays a dead letter") { harness in
            let batch = Samples.batch(3, at: try await harness.now)
            let lease = try await harness.appendClaimed(batch)
            _ = try await harness.settle(lease, Samples.givenUp([0, 1, 2]))
            let now = try await harness.now
            let some = try await harness.queue.replay(.app(nil), at: now) { pushes, index in
                pushes.count == 3 && index == 1
            }
            try expect(some, is: ReplayCount(replayed: 1, refused: 2), "replayed")
            let left = try await harness.queue.deadLetters(of: nil, after: nil, limit: 9)
            try expect(left.map(\.id.index), is: [0, 2], "dead letters")
            try expect(try await harness.queue.depth().pushes, is: 1, "one waits")
        },
        Clause("a push can be given up and replayed repeatedly") { harness in
            let batch = Samples.batch(2, at: try await harness.now)
            var lease = try await harness.appendClaimed(batch)
            for _ in 0..<3 {
                _ = try await harness.settle(lease, Samples.givenUp([0, 1]))
                try expect(
                    try await harness.queue.deadLetters(of: nil, after: nil, limit: 9).count, is: 2, "dead letters")
                try expect(
                    try await harness.queue.replay(.app(nil), at: harness.now), is: ReplayCount(replayed: 2), "replayed"
                )
                let next = try await harness.claimOne().lease
                try expect(next.epoch > lease.epoch, "the epoch has risen")
                lease = next
            }
        },
        Clause("a push is replayed while its neighbours are still claimed") { harness in
            let batch = Samples.batch(3, at: try await harness.now)
            let lease = try await harness.appendClaimed(batch)
            _ = try await harness.settle(lease, Samples.givenUp([0]))
            try expect(
                try await harness.queue.replay(.app(batch.app), at: harness.now), is: ReplayCount(replayed: 1),
                "replayed")
            try expect(try await harness.claim().isEmpty, "the batch is still claimed")
            try expect(
                try await harness.settle(lease, Samples.delivered([1, 2]), release: .release), is: [], "settled")
            try expect(try await harness.claimOne().pending?.map(\.index), is: [0], "the replayed push")
        },
        Clause("a push is replayed while its neighbours wait for their retry") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now)
            let lease = try await harness.appendClaimed(batch)
            let retry = Samples.retry(1, attempts: 2, due: now + .seconds(60))
            _ = try await harness.settle(lease, Samples.givenUp([0]), retries: [retry], release: .release)
            try expect(try await harness.queue.replay(.app(nil), at: now), is: ReplayCount(replayed: 1), "replayed")
            try expect(try await harness.claimOne().pending?.map(\.index), is: [0], "the replayed push")
        },
    ]
}
