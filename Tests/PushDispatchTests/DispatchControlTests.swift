import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

@Suite struct `Dispatch control` {
    /// A harness whose window is full, with `waiting` behind it.
    private func busy(_ waiting: [Batch], seed: UInt64 = 1) -> DispatchHarness {
        let harness = DispatchHarness(apps: ["a", "b"])
        harness.answer = { _ in nil }
        harness.add(8, of: 500)
        harness.claim()
        for batch in waiting { harness.append(batch) }
        harness.claim()
        return harness
    }

    private func batch(_ count: Int, request: String? = nil, app: String = "a") -> Batch {
        let made = claimed(count, app: app).batch
        return Batch(
            id: made.id, app: made.app, lane: made.lane, acceptedAt: made.acceptedAt,
            notifications: made.notifications, requestIDs: PushColumn(shared: request)
        )
    }

    @Test func `waiting pushes are cancelled and pushes in flight are not`() throws {
        let waiting = [batch(10, request: "r1"), batch(20, request: "r1"), batch(30, request: "r2")]
        let harness = busy(waiting)
        let inFlight = harness.inFlight.reduce(0) { $0 + $1.count }
        var cancelled = harness.cancel(.request("r1"))
        #expect(cancelled.reduce(0) { $0 + $1.outcomes.count } == 30)
        #expect(cancelled.allSatisfy { $0.outcomes.allSatisfy { $0.verdict == .cancelled && $0.code == .cancelled } })

        let ids = [3, 7].map { waiting[2].id.push($0) } + [harness.batches[0].id.push(0)]
        cancelled = harness.cancel(.ids(ids))
        #expect(cancelled.map { $0.outcomes.map(\.index) } == [[3, 7]] && cancelled[0].release == .keep)

        harness.answer = { _ in .accepted }
        harness.run(.seconds(2))
        #expect(harness.sent() == 4_000 + 28 && inFlight < 4_000)
        #expect(harness.pushes == 0 && harness.stateMachine.isEmpty)
        #expect(harness.verdicts.count { $0 == .cancelled } == 32)
    }

    @Test func `cancelling an app does not affect other apps`() {
        let harness = busy([batch(10), batch(5, app: "b")])
        _ = harness.cancel(.app(AppID("a")))
        harness.answer = { _ in .accepted }
        harness.run(.seconds(2))
        #expect(harness.sent("b") == 5)
        #expect(harness.pushes == 0 && harness.stateMachine.isEmpty && harness.stateMachine.pushesInMemory == 0)
        #expect(harness.verdicts.count == 4_015)
    }

    @Test func `a paused app sends nothing and occupies no memory, and continues when it is resumed`() {
        let harness = busy([batch(10)])
        let before = harness.sent()
        harness.apply { $0.setPaused(true, app: AppID("a"), now: $1, &$2) }
        #expect(harness.stateMachine.pushesInMemory == before, "only pushes in flight")
        #expect(!harness.reserve("a") && harness.delay()?.reason == .paused)
        harness.answer = { _ in .accepted }
        harness.run(.seconds(30))
        #expect(harness.sent() == before && harness.stateMachine.isEmpty && harness.attemptsMax == 0)
        harness.apply { $0.setPaused(false, app: AppID("a"), now: $1, &$2) }
        harness.run(.seconds(5))
        #expect(harness.pushes == 0 && harness.delay() == nil && harness.reserve("a"))
    }

    @Test func `a drain returns unsent batches, including later claims and hand-offs, and counts no attempt`() throws {
        let harness = busy([])
        let handedOff = batch(3)
        let reservation = try #require(
            harness.stateMachine.reserve(
                pushes: 3, for: AppEnvironment(AppID("b")), lane: .normal, now: harness.now
            )
        )
        let plan = try #require(harness.stateMachine.claimPlan(now: harness.now))
        let before = harness.sent()
        harness.apply { $0.drain(now: $1, &$2) }
        #expect(harness.stateMachine.pushesInMemory == before + 3)

        harness.append(handedOff)
        harness.append(batch(4, app: "b"))
        let late = harness.claim(by: plan)
        #expect(!late.isEmpty)
        let mayHaveMore = harness.apply {
            $0.claimed(late, plan: plan, requestedAt: $1.monotonic, now: $1, &$2)
        }
        #expect(!mayHaveMore)
        let made = claimed(3, app: "b")
        harness.apply { $0.handoffDelivered(made, to: reservation, now: $1, &$2) }
        #expect(harness.sent() == before && harness.attemptsMax == 0)
        #expect(harness.leasedBatches == harness.inFlight.count)
        #expect(harness.stateMachine.hasUnanswered)
        harness.answer = { _ in .accepted }
        harness.answerAll()
        #expect(harness.stateMachine.isEmpty && !harness.stateMachine.hasUnanswered)
    }

    @Test func `pushes are written only while their lease leaves all the time for the answer`() throws {
        let harness = DispatchHarness(apps: ["a"])
        harness.claim()
        harness.answer = { _ in nil }
        for pause in [2, 6] {
            let reservation = try #require(
                harness.stateMachine.reserve(
                    pushes: 3, for: AppEnvironment(AppID("a")), lane: .normal, now: harness.now
                )
            )
            let leaseUntil = harness.now.monotonic + .seconds(20)
            harness.now.monotonic += .seconds(pause)
            harness.apply { $0.handoffDelivered(claimed(3), to: reservation, now: $1, &$2) }
            let timeouts = try #require(harness.inFlight.last?.timeouts)
            #expect(timeouts.answer == .seconds(10))
            #expect(harness.now.monotonic + timeouts.wait + timeouts.answer <= leaseUntil)
        }
    }

    @Test func `a batch whose lease is nearly over after a process pause is not sent`() throws {
        let harness = DispatchHarness(apps: ["a"])
        harness.claim()
        let reservation = try #require(
            harness.stateMachine.reserve(
                pushes: 3, for: AppEnvironment(AppID("a")), lane: .normal, now: harness.now
            )
        )
        // 20 s of lease minus 10 s for the answer.
        harness.now.monotonic += .seconds(10)
        harness.apply { $0.handoffDelivered(claimed(3), to: reservation, now: $1, &$2) }
        #expect(harness.sent() == 0 && harness.stateMachine.pushesInMemory == 0)
    }

    @Test func `pushes are not sent after their expiration`() {
        let harness = DispatchHarness()
        harness.append(claimed(5, expiration: 1_002).batch)
        harness.answer = { _ in
            APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable, retryAfterSeconds: 1)
        }
        harness.run(.milliseconds(500))
        #expect(harness.sent() == 5 && harness.attemptsMax == 1)
        harness.run(.seconds(3))
        #expect(harness.pushes == 0 && harness.verdicts.allSatisfy { $0 == .expired })
        #expect(harness.sent() <= 10)
    }
}
