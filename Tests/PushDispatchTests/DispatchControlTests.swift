import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

@Suite struct `Control of dispatch` {
    /// One batch in flight, and `waiting` behind it.
    private func busy(_ waiting: [Batch], seed: UInt64 = 1) -> DispatchHarness {
        let bench = DispatchHarness(apps: ["a", "b"])
        bench.answer = { _ in nil }
        bench.add(8, of: 500)
        bench.claim()
        for batch in waiting { bench.append(batch) }
        bench.claim()
        return bench
    }

    private func batch(_ count: Int, request: String? = nil, app: String = "a") -> Batch {
        let made = claimed(count, app: app).batch
        return Batch(
            id: made.id, app: made.app, lane: made.lane, acceptedAt: made.acceptedAt,
            notifications: made.notifications, requestID: request
        )
    }

    @Test func `what waits for its window is cancelled, what is in flight is not`() throws {
        let waiting = [batch(10, request: "r1"), batch(20, request: "r1"), batch(30, request: "r2")]
        let bench = busy(waiting)
        let inFlight = bench.inFlight.reduce(0) { $0 + $1.count }
        var cancelled = bench.tell { core, now, _ in core.cancel(.request("r1"), now: now) }
        #expect(cancelled.reduce(0) { $0 + $1.outcomes.count } == 30)
        #expect(cancelled.allSatisfy { $0.outcomes.allSatisfy { $0.verdict == .cancelled && $0.code == .cancelled } })
        for settlement in cancelled { bench.settle(settlement) }

        let ids = [3, 7].map { waiting[2].id.push($0) } + [bench.batches[0].id.push(0)]
        cancelled = bench.tell { core, now, _ in core.cancel(.ids(ids), now: now) }
        #expect(cancelled.map { $0.outcomes.map(\.index) } == [[3, 7]] && cancelled[0].release == .keep)
        for settlement in cancelled { bench.settle(settlement) }

        bench.answer = { _ in .accepted }
        bench.run(.seconds(2))
        #expect(bench.sent() == 4_000 + 28 && inFlight < 4_000)
        #expect(bench.pushes == 0 && bench.core.isEmpty)
        #expect(bench.verdicts.count { $0 == .cancelled } == 32)
    }

    @Test func `cancelling an app leaves the others alone`() {
        let bench = busy([batch(10), batch(5, app: "b")])
        let cancelled = bench.tell { core, now, _ in core.cancel(.app(AppID("a")), now: now) }
        for settlement in cancelled { bench.settle(settlement) }
        bench.answer = { _ in .accepted }
        bench.run(.seconds(2))
        #expect(bench.sent("b") == 5)
        #expect(bench.pushes == 0 && bench.core.isEmpty && bench.core.pushesInMemory == 0)
        #expect(bench.verdicts.count == 4_015)
    }

    @Test func `a paused app sends nothing and holds nothing, and goes on where it was`() {
        let bench = busy([batch(10)])
        let before = bench.sent()
        bench.tell { core, now, effects in core.setPaused(true, app: AppID("a"), now: now, &effects) }
        #expect(bench.core.pushesInMemory == before, "only what is in flight")
        #expect(!bench.reserve("a") && bench.delays[AppID("a")]?.reason == .paused)
        bench.answer = { _ in .accepted }
        bench.run(.seconds(30))
        #expect(bench.sent() == before && bench.core.isEmpty && bench.attemptsMax == 0)
        bench.tell { core, now, effects in core.setPaused(false, app: AppID("a"), now: now, &effects) }
        bench.run(.seconds(5))
        #expect(bench.pushes == 0 && bench.delays.isEmpty && bench.reserve("a"))
    }

    @Test func `draining gives back what was not sent, also what comes late, and counts no attempt`() throws {
        let bench = busy([])
        let hot = batch(3)
        let capacity = try #require(
            bench.tell { core, now, _ in core.reserve(pushes: 3, for: AppID("b"), lane: .normal, now: now) }
        )
        let plan = try #require(bench.tell { core, now, _ in core.claimPlan(now: now) })
        let before = bench.sent()
        bench.tell { core, now, effects in core.drain(now: now, &effects) }
        #expect(bench.core.pushesInMemory == before + 3)

        bench.append(hot)
        bench.append(batch(4, app: "b"))
        let late = bench.claim(by: plan)
        #expect(!late.isEmpty)
        let mayHoldMore = bench.tell { core, now, effects in
            core.claimed(late, plan: plan, askedAt: now.monotonic, now: now, &effects)
        }
        #expect(!mayHoldMore)
        let made = claimed(3, app: "b")
        bench.tell { core, now, effects in core.handedOver(made, to: capacity, now: now, &effects) }
        #expect(bench.sent() == before && bench.attemptsMax == 0)
        #expect(bench.leasedBatches == bench.inFlight.count)
        #expect(bench.core.hasUnanswered)
        bench.answer = { _ in .accepted }
        bench.answerAll()
        #expect(bench.core.isEmpty && !bench.core.hasUnanswered)
    }

    @Test func `a process that stood still while a batch was written does not send it under a lease that is over`()
        throws
    {
        let bench = DispatchHarness(apps: ["a"])
        bench.claim()
        let capacity = try #require(
            bench.tell { core, now, _ in core.reserve(pushes: 3, for: AppID("a"), lane: .normal, now: now) }
        )
        // Twenty seconds of lease less ten for an answer.
        bench.now.monotonic += .seconds(10)
        bench.tell { core, now, effects in core.handedOver(claimed(3), to: capacity, now: now, &effects) }
        #expect(bench.sent() == 0 && bench.core.pushesInMemory == 0)
    }

    @Test func `nothing is sent after its expiration, and expired pushes take no place of others`() {
        let bench = DispatchHarness()
        bench.append(claimed(5, expiration: 1_002).batch)
        bench.answer = { _ in APNSAnswer(outcome: .answered, status: 503, reason: .serviceUnavailable, retryAfter: 1) }
        bench.run(.milliseconds(500))
        #expect(bench.sent() == 5 && bench.attemptsMax == 1)
        bench.run(.seconds(3))
        #expect(bench.pushes == 0 && bench.verdicts.allSatisfy { $0 == .expired })
        #expect(bench.sent() <= 10)
    }
}
