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

    static let searches: [Clause] = [
        Clause("a search by token finds waiting, sending, retrying and settled pushes, the newest first") { harness in
            var batches: [Batch] = []
            for _ in 0..<4 {
                batches.append(Samples.batch(3, at: try await harness.now))
                try await harness.advance(by: .milliseconds(10))
            }
            let settled = try await harness.appendClaimed(batches[0])
            _ = try await harness.settle(settled, Samples.delivered(0..<3))
            let retrying = try await harness.appendClaimed(batches[1])
            let due = try await harness.now + .seconds(30)
            _ = try await harness.settle(retrying, retries: [Samples.retry(1, due: due)])
            _ = try await harness.appendClaimed(batches[2])
            try await harness.append(batches[3])
            let found = try await harness.search(MessageQuery(token: Samples.token(1))).messages
            try expect(found.map(\.status.id), is: batches.reversed().map { $0.id.push(1) }, "the pushes")
            try expect(
                found.map(\.status.state), is: [.queued, .sending, .retrying, .settled(.delivered)], "their states"
            )
            try expect(found.map(\.tokenMatch), is: [.exact, .exact, .exact, .hash], "how they match")
            let statuses = try await harness.queue.find(found.map(\.status.id))
            try expect(found.map(\.status), is: statuses.compactMap { $0 }, "as a look-up returns them")
            try expect(try await harness.search(MessageQuery(token: [1, 2, 3])).messages, is: [], "an unknown token")
            try expect(
                try await harness.search(MessageQuery(token: Array(Samples.token(1).dropLast()))).messages, is: [],
                "the beginning of a token"
            )
        },
        Clause("a search finds settled pushes after a crash") { harness in
            let batch = Samples.batch(2, at: try await harness.now, requestID: "campaign")
            try await harness.append(batch)
            _ = try await harness.settle(harness.claimOne().lease, Samples.delivered(0..<2))
            try await harness.crash()
            let query = MessageQuery(token: Samples.token(1), requestID: "campaign")
            let found = try await harness.search(query).messages
            try expect(found.map(\.status.id), is: [batch.id.push(1)], "the push")
        },
        Clause("a search by app finds only pushes of the app") { harness in
            let now = try await harness.now
            let batches = ["a", "b", "a"].map { Samples.batch(at: now, app: AppID($0)) }
            for batch in batches { try await harness.append(batch) }
            let found = try await harness.search(MessageQuery(app: AppID("a"))).messages
            try expect(
                Set(found.map(\.status.id)), is: [batches[0].id.push(0), batches[2].id.push(0)], "those of app a"
            )
            try expect(found.map(\.tokenMatch), is: [nil, nil], "without a token")
            let both = MessageQuery(token: Samples.token(0), app: AppID("b"))
            try expect(
                try await harness.search(both).messages.map(\.status.id), is: [batches[1].id.push(0)], "all conditions"
            )
        },
        Clause("a search by state or code finds waiting and settled pushes") { harness in
            let now = try await harness.now
            let mixed = Samples.batch(4, at: now)
            let lease = try await harness.appendClaimed(mixed)
            let rejected = Outcome(index: 1, verdict: .rejected, code: .badDeviceToken, status: 400, attempts: 1)
            let retry = Samples.retry(3, due: now + .seconds(30))
            _ = try await harness.settle(
                lease, Samples.delivered([0]) + [rejected], retries: [retry], release: .release
            )
            let settled = Samples.batch(2, at: now)
            let other = Outcome(index: 0, verdict: .rejected, code: .badDeviceToken, status: 400, attempts: 1)
            _ = try await harness.settle(
                try await harness.appendClaimed(settled), Samples.delivered([1]) + [other]
            )
            func found(_ states: Set<PushStatus.State>, _ codes: Set<ErrorCode> = []) async throws -> Set<PushID> {
                Set(try await harness.search(MessageQuery(states: states, codes: codes)).messages.map(\.status.id))
            }
            try expect(try await found([.queued]), is: [mixed.id.push(2)], "queued")
            try expect(try await found([.retrying]), is: [mixed.id.push(3)], "retrying")
            try expect(
                try await found([.settled(.delivered)]), is: [mixed.id.push(0), settled.id.push(1)], "delivered"
            )
            let both: Set = [mixed.id.push(1), settled.id.push(0)]
            try expect(try await found([.settled(.rejected)]), is: both, "rejected")
            try expect(try await found([], [.badDeviceToken]), is: both, "by code")
            try expect(
                try await found([], [.badDeviceToken, .apnsUnavailable]), is: both.union([mixed.id.push(3)]),
                "by the code of an outcome and of a retry"
            )
            try expect(try await found([.settled(.delivered)], [.badDeviceToken]), is: [], "both conditions")
            try expect(try await found([.settled(.expired)]), is: [], "a state that no push has")
        },
        Clause("a search since a time finds pushes that were accepted then or later") { harness in
            let old = Samples.batch(at: try await harness.now)
            try await harness.append(old)
            try await harness.advance(by: .seconds(3600))
            let since = try await harness.now
            let new = Samples.batch(at: since)
            try await harness.append(new)
            let found = try await harness.search(MessageQuery(since: since)).messages
            try expect(found.map(\.status.id), is: [new.id.push(0)], "those since then")
            let later = MessageQuery(since: since + .milliseconds(1))
            try expect(try await harness.search(later).messages, is: [], "none later")
        },
        Clause("a search by request finds its waiting and settled pushes") { harness in
            let now = try await harness.now
            let waiting = Samples.batch(2, at: now, requestID: "campaign")
            let settled = Samples.batch(2, at: now, requestID: "campaign")
            let other = Samples.batch(2, at: now, requestID: "other")
            try await harness.append(waiting, Samples.batch(2, at: now), other)
            _ = try await harness.settle(try await harness.appendClaimed(settled), Samples.delivered(0..<2))
            let found = try await harness.search(MessageQuery(requestID: "campaign")).messages
            try expect(
                Set(found.map(\.status.id)),
                is: Set([waiting, settled].flatMap { [$0.id.push(0), $0.id.push(1)] }), "its pushes"
            )
            let one = MessageQuery(token: Samples.token(0), requestID: "other")
            try expect(
                try await harness.search(one).messages.map(\.status.id), is: [other.id.push(0)], "with a token"
            )
        },
        Clause("a search finds pushes that were settled without a claim, and dead letters until they are purged") {
            harness in
            let now = try await harness.now
            let cancelled = Samples.batch(2, at: now)
            try await harness.append(cancelled)
            _ = try await harness.queue.cancel([cancelled.id.push(0), cancelled.id.push(1)], at: now)
            try await harness.advance(by: .milliseconds(10))
            let dead = Samples.batch(2, at: try await harness.now)
            _ = try await harness.settle(
                try await harness.appendClaimed(dead), Samples.delivered([0]) + Samples.givenUp([1])
            )
            func states() async throws -> [PushStatus.State] {
                try await harness.search(MessageQuery(token: Samples.token(1))).messages.map(\.status.state)
            }
            try expect(try await states(), is: [.settled(.givenUp), .settled(.cancelled)], "given up and cancelled")
            let match = try await harness.search(MessageQuery(token: Samples.token(1))).messages.map(\.tokenMatch)
            try expect(match, is: [.exact, .hash], "a dead letter has its token")
            _ = try await harness.queue.replay(.app(nil), at: now)
            try expect(try await states(), is: [.queued, .settled(.cancelled)], "replayed")
            _ = try await harness.settle(try await harness.claimOne().lease, Samples.givenUp([1]))
            _ = try await harness.queue.purge(.app(nil))
            try expect(try await states(), is: [.settled(.givenUp), .settled(.cancelled)], "purged")
        },
        Clause("the pages of a search have every push once, while pushes are accepted and pruned") { harness in
            var batches: [Batch] = []
            for index in 0..<6 {
                batches.append(Samples.batch(3, at: try await harness.now))
                let lease = try await harness.appendClaimed(batches[index], lease: .seconds(600))
                if index < 3 { _ = try await harness.settle(lease, Samples.delivered(0..<3)) }
                try await harness.advance(by: .seconds(1))
            }
            let all = batches.reversed().flatMap { batch in [2, 1, 0].map(batch.id.push) }
            var found: [PushID] = []
            var next: PushID?
            repeat {
                let page = try await harness.search(
                    MessageQuery(), after: next, limits: SearchLimits(messagesMax: 2)
                )
                try expect(page.messages.count <= 2, "a page is not longer than its limit")
                found += page.messages.map(\.status.id)
                next = page.next
                try await harness.append(Samples.batch(at: try await harness.now))
                // Prunes the oldest batch, which the search has not reached, and nothing else.
                if found.count == 4 {
                    let end = batches[1].acceptedAt
                    _ = try await harness.queue.prune(endedBefore: end, batchesMax: 9, now: try await harness.now)
                }
            } while next != nil
            try expect(found, is: all.dropLast(3), "the pushes that existed all the time")
        },
        Clause("a page of a search ends at its limit of records or of time, with a cursor that continues") { harness in
            let first = Samples.batch(3, at: try await harness.now)
            try await harness.append(first)
            for _ in 0..<4 {
                try await harness.advance(by: .milliseconds(10))
                try await harness.append(Samples.batch(1, at: try await harness.now))
            }
            for limits in [SearchLimits(recordsMax: 1), SearchLimits(time: .zero)] {
                var pages: [Int] = []
                var next: PushID?
                repeat {
                    let page = try await harness.search(
                        MessageQuery(token: Samples.token(2)), after: next, limits: limits
                    )
                    pages.append(page.messages.count)
                    next = page.next
                    try expect(pages.count <= 6, "each page makes progress")
                } while next != nil
                try expect(pages.prefix(5), is: [0, 0, 0, 0, 1], "one record a page")
            }
            let whole = try await harness.search(MessageQuery(token: Samples.token(2)))
            try expect(whole.next, is: nil, "a page within its limits is the last one")
            try expect(whole.searchedTo, is: first.acceptedAt, "it reached the oldest batch")
        },
    ]
}

extension QueueHarness {
    fileprivate func search(
        _ query: MessageQuery, after: PushID? = nil, limits: SearchLimits = SearchLimits()
    ) async throws -> MessagePage {
        try await queue.search(query, after: after, limits: limits)
    }
}
