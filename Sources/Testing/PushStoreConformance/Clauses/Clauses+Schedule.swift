import APNSWire
import PushModel
import PushStore

extension QueueConformance {
    static let schedules: [Clause] = [
        Clause("a batch is claimable when its first push is due, and lists those within the lookahead") { harness in
            let now = try await harness.now
            let times = [30, nil, 90, 60].map { $0.map { now + .seconds($0) } }
            let batch = Samples.batch(4, at: now, dueTimes: PushColumn(times))
            try await harness.append(batch)
            let claimed = try await harness.claimOne(lookahead: .seconds(60))
            try expect(claimed.batch == batch, "the batch is as it was appended")
            let expected = [(0, 30), (1, 0), (3, 60)].map {
                PendingPush(index: UInt16($0), attempts: 0, due: now + .seconds($1))
            }
            try expect(claimed.pending, is: expected, "those within the lookahead")
            _ = try await harness.settle(claimed.lease, Samples.delivered([0, 1, 3]), release: .release)
            try await harness.advance(by: .seconds(89))
            try expect(try await harness.claim(lookahead: .seconds(60)).isEmpty, "the last is not due")
            try await harness.advance(by: .seconds(1))
            let last = PendingPush(index: 2, attempts: 0, due: now + .seconds(90))
            try expect(try await harness.claimOne().pending, is: [last], "it is due")
        },
        Clause("without a lookahead a claim lists the pushes that are due") { harness in
            let now = try await harness.now
            let times = [0, 10, 10, 20].map { now + .seconds($0) }
            let batch = Samples.batch(4, at: now, dueTimes: PushColumn(times))
            try await harness.append(batch)
            try await harness.crash()
            for indexes in [[0], [1, 2], [3]] {
                let claimed = try await harness.claimOne()
                try expect(claimed.pending?.map { Int($0.index) }, is: indexes, "those that are due")
                _ = try await harness.settle(claimed.lease, Samples.delivered(indexes), release: .release)
                try expect(try await harness.claim().isEmpty, "no other is due")
                try await harness.advance(by: .seconds(10))
            }
            try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
        },
        Clause("an append does not claim a batch with a push that is not due") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now, dueTimes: PushColumn([nil, now + .seconds(9)]))
            let leases = try await harness.queue.append([NewBatch(batch: batch, claim: .seconds(20))])
            try expect(leases, is: [nil], "no lease")
            try expect(try await harness.claimOne().pending?.map(\.index), is: [0], "the first is due")
        },
        Clause("a retry within the lookahead is listed with its due time") { harness in
            let now = try await harness.now
            let lease = try await harness.appendClaimed(Samples.batch(2, at: now))
            let retry = Samples.retry(1, attempts: 3, due: now + .seconds(20))
            _ = try await harness.settle(lease, retries: [retry], release: .release)
            let expected = [
                PendingPush(index: 0, attempts: 0, due: now),
                PendingPush(index: 1, attempts: 3, due: retry.due, code: retry.code),
            ]
            let claimed = try await harness.claimOne(lookahead: .seconds(30))
            try expect(claimed.pending, is: expected, "both")
            _ = try await harness.settle(claimed.lease, Samples.delivered([0]), release: .release)
            try expect(try await harness.claim(lookahead: .seconds(30)).isEmpty, "none is due")
        },
        Clause("pushes of a batch with collapse ids stay in the store until they are due") { harness in
            let now = try await harness.now
            let times = PushColumn([nil, now + .seconds(20)])
            let older = Samples.batch(2, at: now, dueTimes: times, collapseID: "score")
            try await harness.append(older)
            let claimed = try await harness.claimOne(lookahead: .seconds(60))
            try expect(claimed.pending?.map(\.index), is: [0], "the one that is due")
            _ = try await harness.settle(claimed.lease, Samples.delivered([0]), release: .release)
            try await harness.append(Samples.batch(2, at: now, dueTimes: times, collapseID: "score"))
            try expect(
                try await harness.states(older), is: [.settled(.delivered), .settled(.suppressed)],
                "the newer push is due no later"
            )
        },
        Clause("each push of a batch is scheduled until it is due, also while others are sent") { harness in
            let now = try await harness.now
            let batch = Samples.batch(3, at: now, dueTimes: PushColumn([nil, now + .seconds(30), now + .seconds(60)]))
            try await harness.append(batch)
            try expect(try await harness.states(batch), is: [.queued, .scheduled, .scheduled], "before")
            try expect(try await harness.status(batch, 1).nextAttemptAt, is: now + .seconds(30), "its due time")
            _ = try await harness.claimOne(lookahead: .seconds(60))
            try expect(try await harness.states(batch), is: [.sending, .scheduled, .scheduled], "claimed")
            try await harness.advance(by: .seconds(31))
            try expect(try await harness.states(batch).last, is: .scheduled, "the last")
        },
        Clause("a replay does not bring forward the other pushes of its batch") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now, dueTimes: PushColumn([nil, now + .seconds(60)]))
            try await harness.append(batch)
            let claimed = try await harness.claimOne()
            _ = try await harness.settle(claimed.lease, Samples.givenUp([0]), release: .release)
            try await harness.advance(by: .seconds(5))
            let replayedAt = try await harness.now
            _ = try await harness.queue.replay(.app(nil), at: replayedAt)
            let again = try await harness.claimOne()
            try expect(again.pending?.map(\.index), is: [0], "the replayed push")
            try expect(again.batch.due(of: 0), is: replayedAt, "its lifetime counts from the replay")
            try expect(again.batch.due(of: 1), is: now + .seconds(60), "the due time of the other one")
        },
        Clause("a claim returns at most the requested number of pushes, of whole batches") { harness in
            let now = try await harness.now
            for count in [300, 300, 500, 200] { try await harness.append(Samples.batch(count, at: now)) }
            let first = try await harness.claim(pushesMax: 1000)
            try expect(first.map(\.batch.count), is: [300, 300], "the third does not fit, and none overtakes it")
            try expect(try await harness.claim(pushesMax: 499).isEmpty, "it does not fit")
            try expect(try await harness.claim(pushesMax: 700).map(\.batch.count), is: [500, 200], "both fit")
            try await harness.append(Samples.batch(at: now))
            try expect(try await harness.claim(pushesMax: 0).isEmpty, "none is wanted")
        },
        Clause("a claim leaves the batches of an app of which it has enough pushes") { harness in
            let now = try await harness.now
            for count in [30, 30, 30] { try await harness.append(Samples.batch(count, at: now)) }
            try await harness.append(Samples.batch(5, at: now, app: AppID("other")))
            var request = ClaimRequest(
                batchesMax: 99, lease: .seconds(20), enough: [AppEnvironment(Samples.app): 31])
            let first = try await harness.claim(request).map(\.batch.count).sorted()
            try expect(first, is: [5, 30, 30], "as many batches as reach the number, and all of the other app")
            request.enough = [AppEnvironment(Samples.app): 1]
            try expect(try await harness.claim(request).map(\.batch.count), is: [30], "a whole batch")
        },
        Clause("a batch with very many updates keeps the state of each push") { harness in
            let now = try await harness.now
            let batch = Samples.batch(4, at: now, ambiguity: .drop)
            var lease = try await harness.appendClaimed(batch, lease: .seconds(600))
            for round in 1...200 {
                let due = now + .seconds(Int64(round))
                _ = try await harness.queue.settle([
                    Settlement(
                        lease: lease, retries: [Samples.retry(0, attempts: UInt16(round), due: due)], sends: [1],
                        at: now + .milliseconds(Int64(round))
                    )
                ])
            }
            let retry = Samples.retry(1, attempts: 7, due: now)
            _ = try await harness.settle(lease, Samples.delivered([3]), retries: [retry])
            for _ in 0..<3 {
                _ = try await harness.queue.settle([Settlement(lease: lease, sends: [1, 2], at: now)])
            }
            try await harness.crash()
            try await harness.advance(by: .seconds(300))
            let claimed = try await harness.claimOne()
            let expected = [
                PendingPush(index: 0, attempts: 200, due: now + .seconds(200), code: .apnsUnavailable),
                PendingPush(index: 1, attempts: 7, due: now, isUnanswered: true, code: .apnsUnavailable),
                PendingPush(index: 2, attempts: 0, due: now, isUnanswered: true),
            ]
            try expect(claimed.pending, is: expected, "the waiting pushes")
            try expect(try await harness.status(batch, 0).attempts, is: 200, "the attempts")
            try expect(try await harness.status(batch, 3).state, is: .settled(.delivered), "the delivered push")
            // Across a replay, too.
            lease = claimed.lease
            _ = try await harness.settle(lease, Samples.givenUp([0, 1, 2]))
            let replayedAt = try await harness.now
            _ = try await harness.queue.replay(.ids([batch.id.push(1)]), at: replayedAt)
            lease = try await harness.claimOne().lease
            for round in 1...70 {
                _ = try await harness.settle(lease, retries: [Samples.retry(1, attempts: UInt16(round), due: now)])
            }
            try await harness.crash()
            let last = try await harness.claimOne()
            try expect(
                last.pending, is: [PendingPush(index: 1, attempts: 70, due: now, code: .apnsUnavailable)],
                "the replayed push")
            try expect(last.batch.due(of: 1), is: replayedAt, "its lifetime counts from the replay")
            let states: [PushStatus.State] = [.settled(.givenUp), .sending, .settled(.givenUp), .settled(.delivered)]
            try expect(try await harness.states(batch), is: states, "all")
        },
    ]

    static let environments: [Clause] = [
        Clause("a batch keeps its environment, and so does the status of its pushes") { harness in
            let now = try await harness.now
            let batch = Samples.batch(2, at: now, environment: .sandbox)
            try await harness.append(batch)
            try await harness.crash()
            try expect(try await harness.status(batch).environment, is: .sandbox, "while it waits")
            let claimed = try await harness.claimOne()
            try expect(claimed.batch == batch, "the batch is as it was appended")
            _ = try await harness.settle(claimed.lease, Samples.delivered([0, 1]))
            try expect(try await harness.status(batch).environment, is: .sandbox, "at the end")
        },
        Clause("an excluded environment of an app is not claimed, the app's other one is") { harness in
            let now = try await harness.now
            let sandbox = Samples.batch(at: now, environment: .sandbox)
            let production = Samples.batch(at: now)
            try await harness.append(sandbox, production)
            var request = ClaimRequest(
                batchesMax: 9, lease: .seconds(20), excludedApps: [AppEnvironment(Samples.app, .sandbox)]
            )
            try expect(try await harness.queue.claim(request).map(\.batch.id), is: [production.id], "production")
            request.excludedApps = [AppEnvironment(Samples.app, .production)]
            request.excludedLanes = [AppLane(AppEnvironment(Samples.app, .sandbox), lane: .urgent)]
            try expect(try await harness.queue.claim(request).map(\.batch.id), is: [sandbox.id], "sandbox")
        },
        Clause("a flood in one environment of an app does not hold up the app's other one") { harness in
            let now = try await harness.now
            for _ in 0..<20 { try await harness.append(Samples.batch(1000, at: now, environment: .sandbox)) }
            try await harness.append(Samples.batch(at: now + .milliseconds(9)))
            try await harness.advance(by: .milliseconds(10))
            let environments = try await harness.claim(4).map(\.batch.environment)
            try expect(environments.contains(.production), "claimed with the first of the flood")
            let depth = QueueDepth.Row(app: Samples.app, lane: .normal, batches: 21, pushes: 20_001)
            try expect(try await harness.queue.depth().rows, is: [depth], "one row for the app")
        },
        Clause("pushes of different environments do not supersede each other") { harness in
            let now = try await harness.now
            let sandbox = Samples.batch(at: now, environment: .sandbox, collapseID: "score")
            try await harness.append(sandbox, Samples.batch(at: now, collapseID: "score"))
            try expect(try await harness.states(sandbox), is: [.queued], "it waits")
            try await harness.append(Samples.batch(at: now, environment: .sandbox, collapseID: "score"))
            try expect(try await harness.states(sandbox), is: [.settled(.suppressed)], "superseded")
        },
    ]

    static let damage: [Clause] = [
        Clause("pushes whose stored bytes are damaged are given up and never sent") { harness in
            for part in StoredPart.allCases {
                let now = try await harness.now
                let batch = Samples.batch(3, at: now)
                let lease = try await harness.appendClaimed(batch)
                let retry = Samples.retry(1, due: now)
                _ = try await harness.settle(lease, Samples.delivered([0]), retries: [retry], release: .release)
                guard try await harness.damage(batch.id, part) else { return }
                try expect(try await harness.claim().isEmpty, "it is not returned")
                let found = try await harness.queue.find((0..<3).map(batch.id.push))
                let isProgress = part == .progress
                let expected: [PushStatus.State?] = [
                    .settled(isProgress ? .givenUp : .delivered), .settled(.givenUp), .settled(.givenUp),
                ]
                try expect(found.map { $0?.state }, is: expected, "their states")
                try expect(found.dropFirst().allSatisfy { $0?.code == .storedDataDamaged }, "their code")
                try expect(try await harness.queue.depth(), is: QueueDepth(), "the queue is empty")
                let letters = try await harness.queue.deadLetters(of: nil, after: batch.id.push(0), limit: 9)
                try expect(letters.map(\.id), is: [batch.id.push(1), batch.id.push(2)], "the dead letters")
                let none = ReplayCount(unreadable: letters.count)
                try expect(
                    try await harness.queue.replay(.ids(letters.map(\.id)), at: now), is: none, "none can be replayed"
                )
                _ = try await harness.queue.purge(.app(nil))
            }
        }
    ]
}
