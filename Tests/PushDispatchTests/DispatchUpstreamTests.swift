import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

private let unavailable = APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable)
private let unreachable = APNSAnswer.failed(.connectRefused, .neverWritten)
private let badToken = APNSAnswer(disposition: .answered, status: 403, reason: .invalidProviderToken)

@Suite struct `Dispatch upstreams` {
    @Test func `an APNs outage costs no attempts, and all pushes are delivered afterwards`() {
        let harness = DispatchHarness()
        harness.add(100, of: 500)
        harness.answer = { _ in unreachable }
        harness.run(.seconds(300))
        #expect(harness.pushes == 50_000 && harness.attemptsMax == 0)
        // Some windows before the breaker opens, because the client reports that there is no connection immediately.
        #expect(harness.sent() < 6 * 4_000 + 200)
        #expect(harness.stateMachine.pushesInMemory <= 16_000 && harness.state() != .closed)
        #expect(harness.delay("a")?.reason == .apnsUnreachable)
        #expect(!harness.reserve("a"), "new batches wait in the store as well")
        harness.answer = { _ in .accepted }
        harness.run(.seconds(75))
        #expect(harness.pushes == 0 && harness.verdicts.allSatisfy { $0 == .delivered })
        #expect(harness.state() == .closed && harness.stateMachine.isEmpty)
        harness.run(.seconds(5))
        #expect(harness.delay() == nil && harness.reserve("a"))
    }

    @Test func `an APNs that never answers costs two windows of attempts, and probes that do not count`() {
        let harness = DispatchHarness()
        harness.add(100, of: 500)
        var since: [UInt64: Duration] = [:]
        // Written, and unanswered until the deadline.
        harness.answer = { [unowned harness] send in
            let start = since[send.ticket, default: harness.now.monotonic]
            since[send.ticket] = start
            #expect(send.timeouts.answer == .seconds(10), "a probe has the same time as any push")
            return harness.now.monotonic - start >= send.timeouts.answer ? .failed(.deadlineExceeded, .ambiguous) : nil
        }
        harness.run(.seconds(300))
        #expect(harness.pushes == 50_000 && harness.state() != .closed)
        #expect(harness.attempts <= 4_200 && harness.attemptsMax <= 2, "the second window opens the breaker")
        #expect(harness.sent() < 2 * 4_000 + 60 + 60)
    }

    @Test func `an unanswered trial defers further trials of its app`() {
        let harness = DispatchHarness(apps: ["a", "b"])
        harness.add(2, of: 1, app: "a")
        func plan() -> ClaimPlan? {
            harness.stateMachine.claimPlan(now: harness.now)
        }
        func tryQuarantined() {
            harness.claimQuarantined()
            #expect(harness.inFlight.map(\.timeouts.answer) == [.seconds(5)], "trials have a short deadline")
            harness.answerAll()
        }
        harness.answer = { _ in .failed(.deadlineExceeded, .ambiguous) }
        tryQuarantined()
        #expect(plan()?.excludedQuarantined == [AppEnvironment(AppID("a"))])
        harness.now.monotonic += .seconds(29)
        #expect(plan()?.excludedQuarantined == [AppEnvironment(AppID("a"))])
        harness.now.monotonic += .seconds(1)
        #expect(plan()?.excludedQuarantined == [])
        tryQuarantined()
        #expect(plan()?.excludedQuarantined == [AppEnvironment(AppID("a"))])
        harness.answer = { _ in .accepted }
        harness.add(1, of: 1, app: "a")
        harness.claim()
        harness.answerAll()
        #expect(plan()?.excludedQuarantined == [], "APNs answers the app again")
    }

    @Test func `an app that fails alone does not stop other apps`() {
        let harness = DispatchHarness(apps: ["a", "b"])
        harness.answer = { $0.app.app == AppID("a") ? unavailable : .accepted }
        harness.add(1, of: 2, app: "b")
        harness.run(.seconds(1))
        harness.add(20, of: 100, app: "a")
        for _ in 0..<120 {
            harness.add(1, of: 2, app: "b")
            harness.run(.milliseconds(500))
            #expect(harness.state("b") == .closed)
        }
        #expect(harness.sent("b") == 242 && harness.state("a") != .closed)
        #expect(harness.events.allSatisfy { if case .endpointBreakerChanged = $0 { false } else { true } })
        harness.answer = { _ in .accepted }
        harness.run(.seconds(180))
        #expect(harness.pushes == 0 && harness.state("a") == .closed)
    }

    @Test func `if only the failing app sends, the endpoint opens until another app's push succeeds`() {
        let harness = DispatchHarness(apps: ["a", "b"])
        harness.answer = { $0.app.app == AppID("a") ? unavailable : .accepted }
        harness.add(20, of: 100, app: "a")
        harness.run(.seconds(3))
        #expect(harness.state("b") != .closed, "nothing shows that the endpoint is healthy")
        harness.addNew(10, app: "b")
        harness.run(.milliseconds(500))
        #expect(harness.state("b") == .closed, "only one app has failed, so its push was a probe immediately")
        harness.run(.seconds(1))
        #expect(harness.sent("b") == 10)
        for _ in 0..<120 {
            harness.addNew(2, app: "b")
            harness.run(.milliseconds(500))
            #expect(harness.state("b") == .closed)
        }
        #expect(harness.state("a") != .closed)
    }

    @Test func `if all sending apps fail, the breaker of their endpoint opens for all of its apps`() {
        var configuration = DispatchConfiguration()
        for (app, endpoint) in [("a", "x"), ("b", "x"), ("quiet", "x"), ("far", "y")] {
            configuration.apps[AppEnvironment(AppID(app))] = AppSettings(id: AppID(app), endpoint: endpoint)
        }
        let harness = DispatchHarness(configuration, apps: ["a", "b", "quiet", "far"])
        harness.claim()
        #expect(harness.reserve("quiet") && harness.reserve("far"))
        harness.answer = { _ in unavailable }
        harness.add(1, of: 100, app: "a")
        harness.add(1, of: 100, app: "b")
        harness.run(.seconds(3))
        let changes = harness.events.filter { if case .endpointBreakerChanged = $0 { true } else { false } }
        #expect(
            changes == [.open, .halfOpen].map { .endpointBreakerChanged("x", $0, cause: .apnsUnavailable) })
        #expect(!harness.reserve("quiet") && harness.reserve("far"))
        #expect(harness.state("quiet") != .closed && harness.state("far") == .closed)
    }

    @Test func `rejections of pushes open no breaker`() {
        let answers = [
            APNSAnswer(disposition: .answered, status: 400, reason: .badDeviceToken),
            APNSAnswer(disposition: .answered, status: 410, reason: .unregistered),
            APNSAnswer(disposition: .answered, status: 413, reason: .payloadTooLarge),
            APNSAnswer(disposition: .answered, status: 429, reason: .tooManyRequests),
        ]
        for answer in answers {
            let harness = DispatchHarness()
            harness.add(10, of: 100)
            harness.answer = { _ in answer }
            harness.run(.seconds(20))
            #expect(harness.state() == .closed, "\(answer)")
        }
    }

    @Test func `unanswered pushes are retried within the budget, which grows as retries succeed`() {
        let harness = DispatchHarness()
        // Some fail, but too few to open the breaker.
        harness.answer = { $0.batch.count == 49 ? .failed(.connectionReset, .ambiguous) : .accepted }
        for _ in 0..<50 {
            harness.add(1, of: 49)
            // Good calls at any time: it is no outage.
            for _ in 0..<4 {
                harness.add(1, of: 75)
                harness.run(.milliseconds(500))
            }
        }
        let firstAttempts = 50 * 349
        let retries = harness.sent() - firstAttempts
        #expect(retries > 1_000 && Double(retries) <= 100 + 10 * 100 + 0.1 * Double(firstAttempts))
        #expect(
            harness.state() == .closed && harness.pushes == 50 * 49,
            "pushes over budget wait and are not given up")
        harness.answer = { _ in .accepted }
        harness.run(.seconds(70))
        #expect(harness.pushes == 0)
    }

    @Test func `an app that uses up its retry budget does not affect the retries of another`() {
        let harness = DispatchHarness(apps: ["a", "b"])
        var isFirst = true
        harness.answer = { send in
            if send.app.app == AppID("b") {
                defer { isFirst = false }
                return isFirst ? .failed(.connectionReset, .ambiguous) : .accepted
            }
            return send.batch.count == 49 ? .failed(.connectionReset, .ambiguous) : .accepted
        }
        for _ in 0..<50 {
            harness.add(1, of: 49)
            // Good calls at any time: it is no outage.
            for _ in 0..<4 {
                harness.add(1, of: 75)
                harness.run(.milliseconds(500))
            }
        }
        #expect(
            harness.events.contains { if case .retryBudgetExhausted = $0 { true } else { false } },
            "app a has used up its part")
        harness.add(1, of: 60, app: "b")
        harness.run(.seconds(20))
        #expect(harness.sent("b") == 120)
    }

    @Test func `at-most-once pushes are sent after the store has recorded it, and never by the next owner`() throws {
        let harness = DispatchHarness()
        let batch = claimed(3, ambiguity: .drop).batch
        harness.append(batch)
        harness.holdsAnnouncements = true
        harness.claim()
        #expect(harness.sent() == 0 && harness.stateMachine.pushesInFlight == 3)
        #expect(harness.settlements.map(\.sends) == [[0, 1, 2]])
        let lease = try #require(harness.settlements.first?.lease)
        harness.apply { $0.announced([lease], now: $1, &$2) }
        #expect(harness.sent() == 3)

        // The process crashes, and the next one finds the announcement in the store.
        harness.crash()
        let successor = DispatchHarness(successorOf: harness)
        successor.claim()
        #expect(successor.sent() == 0 && successor.pushes == 0)
        let settled = successor.settled
        #expect(settled.count == 3)
        #expect(settled.allSatisfy { $0.code == .droppedUnanswered && $0.attempts == 1 })
        #expect(successor.verdicts.allSatisfy { $0 == .givenUp })
    }

    @Test(arguments: [APNSAnswer.accepted, APNSAnswer(disposition: .answered, status: 410, reason: .unregistered)])
    func `few at-most-once pushes are announced until an answer shows that APNs responds`(
        _ answer: APNSAnswer
    ) {
        let harness = DispatchHarness()
        harness.answer = { _ in nil }
        for _ in 0..<3 { harness.append(claimed(400, ambiguity: .drop).batch) }
        harness.claim()
        #expect(harness.sent() == 10)
        harness.answer = { _ in answer }
        harness.answerAll()
        harness.claim()
        harness.answer = { _ in nil }
        harness.answerAll()
        #expect(harness.sent() == 510, "after an answer, 500 are announced")
        #expect(harness.stateMachine.pushesInFlight == 500)
        harness.answer = { _ in answer }
        harness.run(.seconds(3))
        #expect(harness.sent() == 1_200 && harness.pushes == 0)
        harness.now.monotonic += .seconds(2)
        harness.answer = { _ in nil }
        harness.append(claimed(400, ambiguity: .drop).batch)
        harness.claim()
        #expect(harness.stateMachine.pushesInFlight == 10, "the answer is too old")
    }

    @Test func `quarantined batches that cannot be sent immediately return to the store`() throws {
        var configuration = DispatchConfiguration()
        configuration.apps[AppEnvironment(AppID("a"))] = AppSettings(id: AppID("a"), pushesPerSecond: 1)
        let harness = DispatchHarness(configuration, apps: ["a", "b"])
        harness.add(10, of: 1)
        harness.claim()
        harness.add(1, of: 1, lane: .bulk)
        harness.claimQuarantined()
        #expect(harness.stateMachine.quarantined.count == 1, "it waits behind more urgent batches")
        harness.apply { $0.tick(now: $1, &$2) }
        let next = try #require(harness.stateMachine.claimPlan(now: harness.now))
        #expect(
            harness.stateMachine.quarantined.isEmpty && next.quarantinedMax == 2
                && next.excludedQuarantined == [AppEnvironment(AppID("a"))])
        harness.now.monotonic += .seconds(5)
        let later = try #require(harness.stateMachine.claimPlan(now: harness.now))
        #expect(later.excludedQuarantined == [])
    }

    @Test func `pushes whose announcement took too long for the lease return unsent`() throws {
        let harness = DispatchHarness()
        harness.append(claimed(3, ambiguity: .drop).batch)
        harness.holdsAnnouncements = true
        harness.claim()
        let lease = try #require(harness.settlements.first?.lease)
        harness.now.monotonic += .seconds(19)
        harness.apply { $0.announced([lease], now: $1, &$2) }
        #expect(harness.sent() == 0 && harness.stateMachine.isEmpty)
        harness.holdsAnnouncements = false
        harness.claim()
        #expect(harness.sent() == 3)
    }

    @Test func `a drain reverts announced sends that were not performed`() throws {
        let harness = DispatchHarness()
        harness.append(claimed(3, ambiguity: .drop).batch)
        harness.holdsAnnouncements = true
        harness.claim()
        harness.apply { $0.drain(now: $1, &$2) }
        let lease = try #require(harness.settlements.first?.lease)
        harness.apply { $0.announced([lease], now: $1, &$2) }
        #expect(harness.sent() == 0 && harness.stateMachine.isEmpty)
        let successor = DispatchHarness(successorOf: harness)
        successor.claim()
        #expect(successor.sent() == 3)
    }

    @Test func `a batch over budget that cannot be held is postponed without a change to its pushes`() throws {
        var configuration = DispatchConfiguration()
        configuration.limits.heldShare = 0
        let harness = DispatchHarness(configuration)
        harness.answer = { $0.batch.count == 49 ? .failed(.connectionReset, .ambiguous) : .accepted }
        for _ in 0..<50 {
            harness.add(1, of: 49)
            // Good calls at any time: it is no outage.
            for _ in 0..<4 {
                harness.add(1, of: 75)
                harness.run(.milliseconds(500))
            }
        }
        var settlements = harness.settlements.filter { !$0.retries.isEmpty }
        #expect(settlements.allSatisfy { $0.retries.allSatisfy { $0.code != .none } })
        settlements = harness.settlements.filter { if case .postpone = $0.release { true } else { false } }
        #expect(!settlements.isEmpty && settlements.allSatisfy { $0.retries.isEmpty && $0.outcomes.isEmpty })
    }

    @Test func `an app keeps to its rate and does not delay other apps`() {
        var configuration = DispatchConfiguration()
        configuration.apps[AppEnvironment(AppID("a"))] = AppSettings(id: AppID("a"), pushesPerSecond: 100)
        let harness = DispatchHarness(configuration, apps: ["a", "b"])
        harness.add(400, of: 10, app: "a")
        harness.add(20, of: 500, app: "b")
        harness.claim()
        #expect(harness.stateMachine.pushesInMemory <= 2_000 + harness.sent("a") + 10_000, "before the first tick")
        harness.run(.seconds(10))
        #expect((1_000...1_100).contains(harness.sent("a")))
        #expect(harness.sent("b") == 10_000)
        #expect(harness.delay("a")?.reason == .rateLimited && harness.delay("b") == nil)
        #expect(harness.stateMachine.pushesInMemory <= 2_000, "long waits happen in the store")
        harness.run(.seconds(35))
        #expect(harness.pushes == 0)
    }

    @Test func `an urgent push does not wait for a bulk batch that exceeds the rate`() {
        var configuration = DispatchConfiguration()
        configuration.apps[AppEnvironment(AppID("a"))] = AppSettings(id: AppID("a"), pushesPerSecond: 10)
        let harness = DispatchHarness(configuration, apps: ["a"])
        harness.add(1, of: 1_000, app: "a", lane: .bulk)
        harness.run(.seconds(3))
        let before = harness.sent("a")
        #expect(before <= 40)
        harness.add(1, of: 1, app: "a", lane: .urgent)
        harness.run(.seconds(2))
        #expect(!harness.depth.rows.contains { $0.lane == .urgent })
        #expect(harness.pushes > 900, "the bulk pushes still wait")
    }

    @Test func `an app that sends without a delivery is reported once per minute`() {
        let harness = DispatchHarness()
        harness.answer = { _ in APNSAnswer(disposition: .answered, status: 410, reason: .unregistered) }
        for _ in 0..<300 {
            harness.add(1, of: 1)
            harness.run(.seconds(1))
        }
        let reports = harness.events.filter { if case .nothingDelivered = $0 { true } else { false } }
        #expect(reports.count == 4)
        harness.answer = { _ in .accepted }
        harness.add(1, of: 1)
        harness.run(.seconds(1))
        harness.events = []
        for _ in 0..<130 {
            harness.add(1, of: 1)
            harness.run(.seconds(1))
        }
        #expect(harness.events.isEmpty)
    }

    @Test func `the same seed and the same events lead to the same actions`() {
        func trace(_ seed: UInt64) -> [String] {
            let harness = DispatchHarness(apps: ["a", "b"], seed: seed)
            var generator = SeededGenerator(seed: 5)
            harness.answer = { _ in [unavailable, .accepted, badToken, unreachable].randomElement(using: &generator) }
            harness.add(5, of: 100, app: "a")
            harness.add(5, of: 100, app: "b")
            harness.run(.seconds(60))
            return harness.trace.map { $0 }
        }
        #expect(trace(1) == trace(1))
        #expect(trace(1) != trace(2))
    }
}
