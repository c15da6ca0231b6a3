import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

private let unavailable = APNSAnswer(outcome: .answered, status: 503, reason: .serviceUnavailable)
private let unreachable = APNSAnswer.failed(.connectRefused, .neverWritten)
private let badToken = APNSAnswer(outcome: .answered, status: 403, reason: .invalidProviderToken)

@Suite struct `The gates of dispatch` {
    @Test func `with APNs down nothing is burnt, and all is delivered once it is back`() {
        let bench = DispatchHarness()
        bench.add(100, of: 500)
        bench.answer = { _ in unreachable }
        bench.run(.seconds(300))
        #expect(bench.pushes == 50_000 && bench.attemptsMax == 0)
        #expect(bench.sent() < 4_000 + 200, "a window, and some probes")
        #expect(bench.core.pushesInMemory <= 16_000 && bench.state() != .closed)
        #expect(bench.delays[AppID("a")]?.reason == .apnsUnreachable)
        #expect(!bench.reserve("a"), "what comes now waits in the store, too")
        bench.answer = { _ in .accepted }
        bench.run(.seconds(75))
        #expect(bench.pushes == 0 && bench.verdicts.allSatisfy { $0 == .delivered })
        #expect(bench.state() == .closed && bench.core.isEmpty)
        bench.run(.seconds(5))
        #expect(bench.delays.isEmpty && bench.reserve("a"))
    }

    @Test func `an APNs that answers nothing costs a window of attempts and a few probes`() {
        let bench = DispatchHarness()
        bench.add(100, of: 500)
        var since: [UInt64: Duration] = [:]
        // Written, and unanswered until the deadline.
        bench.answer = { [unowned bench] send in
            let start = since[send.ticket, default: bench.now.monotonic]
            since[send.ticket] = start
            return bench.now.monotonic - start >= send.deadline ? .failed(.deadlineExceeded, .ambiguous) : nil
        }
        bench.run(.seconds(300))
        #expect(bench.pushes == 50_000 && bench.state() != .closed)
        #expect(bench.attempts < 4_000 + 200)
        #expect(bench.attempts == bench.sent() - bench.inFlight.reduce(0) { $0 + $1.count })
    }

    @Test func `an app whose quarantined are not answered lets those of others go first`() {
        let bench = DispatchHarness(apps: ["a", "b"])
        bench.add(2, of: 1, app: "a")
        func plan() -> DispatchBuffer.ClaimPlan? { bench.tell { core, now, _ in core.claimPlan(now: now) } }
        func tryQuarantined() {
            bench.claimQuarantined()
            #expect(bench.inFlight.map(\.deadline) == [.seconds(5)], "nobody holds up the line for long")
            bench.answerAll()
        }
        bench.answer = { _ in .failed(.deadlineExceeded, .ambiguous) }
        tryQuarantined()
        #expect(plan()?.excludedQuarantined == [AppID("a")])
        bench.now.monotonic += .seconds(29)
        #expect(plan()?.excludedQuarantined == [AppID("a")])
        bench.now.monotonic += .seconds(1)
        #expect(plan()?.excludedQuarantined == [])
        tryQuarantined()
        #expect(plan()?.excludedQuarantined == [AppID("a")])
        bench.answer = { _ in .accepted }
        bench.add(1, of: 1, app: "a")
        bench.claim()
        bench.answerAll()
        #expect(plan()?.excludedQuarantined == [], "APNs answers it again")
    }

    @Test func `slow answers open it as failures do`() {
        let bench = DispatchHarness()
        bench.add(4, of: 500)
        bench.run(.seconds(1), latency: 5_001)
        #expect(bench.state() == .open)
        let quick = DispatchHarness()
        quick.add(4, of: 500)
        quick.run(.seconds(1), latency: 4_999)
        #expect(quick.state() == .closed)
    }

    @Test func `an app that fails alone stops nobody else`() {
        let bench = DispatchHarness(apps: ["a", "b"])
        bench.answer = { $0.app == AppID("a") ? unavailable : .accepted }
        bench.add(1, of: 2, app: "b")
        bench.run(.seconds(1))
        bench.add(20, of: 100, app: "a")
        for _ in 0..<120 {
            bench.add(1, of: 2, app: "b")
            bench.run(.milliseconds(500))
            #expect(bench.state("b") == .closed)
        }
        #expect(bench.sent("b") == 242 && bench.state("a") != .closed)
        #expect(bench.events.allSatisfy { if case .environment = $0 { false } else { true } })
        bench.answer = { _ in .accepted }
        bench.run(.seconds(180))
        #expect(bench.pushes == 0 && bench.state("a") == .closed)
    }

    @Test func `where only the failing app had anything to send, the first push of another sets it right`() {
        let bench = DispatchHarness(apps: ["a", "b"])
        bench.answer = { $0.app == AppID("a") ? unavailable : .accepted }
        bench.add(20, of: 100, app: "a")
        bench.run(.seconds(1))
        #expect(bench.state("b") == .open, "for all one can tell it is APNs")
        bench.add(10, of: 1, app: "b")
        bench.run(.seconds(6))
        #expect(bench.sent("b") == 10 && bench.state("b") == .closed)
        for _ in 0..<120 {
            bench.add(1, of: 2, app: "b")
            bench.run(.milliseconds(500))
            #expect(bench.state("b") == .closed)
        }
        #expect(bench.state("a") != .closed)
    }

    @Test func `when all that send fail, the environment is down for all of its apps and for no others`() {
        var configuration = DispatchConfiguration()
        for (app, environment) in [("a", "x"), ("b", "x"), ("quiet", "x"), ("far", "y")] {
            configuration.apps[AppID(app)] = DispatchApp(environment: environment)
        }
        let bench = DispatchHarness(configuration, apps: ["a", "b", "quiet", "far"])
        bench.claim()
        #expect(bench.reserve("quiet") && bench.reserve("far"))
        bench.answer = { _ in unavailable }
        bench.add(1, of: 100, app: "a")
        bench.add(1, of: 100, app: "b")
        bench.run(.seconds(1))
        #expect(bench.events.contains(.environment("x", .open)))
        #expect(!bench.reserve("quiet") && bench.reserve("far"))
        #expect(bench.state("quiet") == .open && bench.state("far") == .closed)
    }

    @Test func `what is wrong with the pushes opens nothing`() {
        let answers = [
            APNSAnswer(outcome: .answered, status: 400, reason: .badDeviceToken),
            APNSAnswer(outcome: .answered, status: 410, reason: .unregistered),
            APNSAnswer(outcome: .answered, status: 413, reason: .payloadTooLarge),
            APNSAnswer(outcome: .answered, status: 429, reason: .tooManyRequests),
        ]
        for answer in answers {
            let bench = DispatchHarness()
            bench.add(10, of: 100)
            bench.answer = { _ in answer }
            bench.run(.seconds(20))
            #expect(bench.state() == .closed, "\(answer)")
        }
    }

    @Test func `a refused credential stops its app at once, and a push in half a minute tries it again`() {
        let bench = DispatchHarness(apps: ["a", "b"])
        bench.answer = { $0.app == AppID("a") ? badToken : .accepted }
        bench.add(1, of: 3, app: "a")
        bench.run(.milliseconds(250))
        #expect(bench.state("a") == .open && bench.events.contains(.credentialRefused(AppID("a"))))
        bench.add(40, of: 500, app: "a")
        bench.add(4, of: 500, app: "b")
        let before = bench.sent("a")
        bench.run(.seconds(300))
        #expect((10...20).contains(bench.sent("a") - before))
        #expect(bench.sent("b") == 2_000 && bench.attemptsMax == 0)
        #expect(bench.delays[AppID("a")]?.reason == .credentialRefused)
        bench.answer = { _ in .accepted }
        bench.run(.seconds(61))
        #expect(bench.pushes == 0 && bench.events.contains(.credentialAccepted(AppID("a"))))
    }

    @Test func `what an outage left unanswered is sent again within the budget, and quickly once that goes well`() {
        let bench = DispatchHarness()
        // Some fail, but too few to open the breaker.
        bench.answer = { $0.batch.count == 49 ? .failed(.connectionReset, .ambiguous) : .accepted }
        for _ in 0..<50 {
            bench.add(1, of: 49)
            bench.add(1, of: 300)
            bench.run(.seconds(2))
        }
        let firsts = 50 * 349
        let again = bench.sent() - firsts
        #expect(again > 1_000 && Double(again) <= 100 + 10 * 100 + 0.1 * Double(firsts))
        #expect(bench.state() == .closed && bench.pushes == 50 * 49, "over budget they wait, and do not die")
        bench.answer = { _ in .accepted }
        bench.run(.seconds(70))
        #expect(bench.pushes == 0)
    }

    @Test func `an app that fails now and then takes nothing from the retries of another`() {
        let bench = DispatchHarness(apps: ["a", "b"])
        var isFirst = true
        bench.answer = { send in
            if send.app == AppID("b") {
                defer { isFirst = false }
                return isFirst ? .failed(.connectionReset, .ambiguous) : .accepted
            }
            return send.batch.count == 49 ? .failed(.connectionReset, .ambiguous) : .accepted
        }
        for _ in 0..<50 {
            bench.add(1, of: 49)
            bench.add(1, of: 300)
            bench.run(.seconds(2))
        }
        #expect(bench.events.contains { if case .overBudget = $0 { true } else { false } }, "a has used up its part")
        bench.add(1, of: 60, app: "b")
        bench.run(.seconds(20))
        #expect(bench.sent("b") == 120)
    }

    @Test func `what must not be sent twice is sent once the store knows of it, and never by a successor`() throws {
        let bench = DispatchHarness()
        let batch = claimed(3, ambiguity: .drop).batch
        bench.append(batch)
        bench.holdsAnnouncements = true
        bench.claim()
        #expect(bench.sent() == 0 && bench.core.pushesInFlight == 3)
        #expect(bench.settlements.map(\.sends) == [[0, 1, 2]])
        let lease = try #require(bench.settlements.first?.lease)
        bench.tell { core, now, effects in core.announced([lease], now: now, &effects) }
        #expect(bench.sent() == 3)

        // Its process dies, and the next one finds what the store was told.
        bench.crash()
        let successor = DispatchHarness(successorOf: bench)
        successor.claim()
        #expect(successor.sent() == 0 && successor.pushes == 0)
        let settled = successor.settled
        #expect(settled.count == 3)
        #expect(settled.allSatisfy { $0.code == .droppedUnanswered && $0.attempts == 1 })
        #expect(successor.verdicts.allSatisfy { $0 == .givenUp })
    }

    @Test(arguments: [APNSAnswer.accepted, APNSAnswer(outcome: .answered, status: 410, reason: .unregistered)])
    func `of what must not be sent twice little is announced while nothing shows that APNs is well`(
        _ answer: APNSAnswer
    ) {
        let bench = DispatchHarness()
        bench.answer = { _ in nil }
        for _ in 0..<3 { bench.append(claimed(400, ambiguity: .drop).batch) }
        bench.claim()
        #expect(bench.sent() == 10)
        bench.answer = { _ in answer }
        bench.answerAll()
        bench.claim()
        bench.answer = { _ in nil }
        bench.answerAll()
        #expect(bench.sent() == 510, "an answer shows it: 500 at once")
        #expect(bench.core.pushesInFlight == 500)
        bench.answer = { _ in answer }
        bench.run(.seconds(3))
        #expect(bench.sent() == 1_200 && bench.pushes == 0)
        bench.now.monotonic += .seconds(2)
        bench.answer = { _ in nil }
        bench.append(claimed(400, ambiguity: .drop).batch)
        bench.claim()
        #expect(bench.core.pushesInFlight == 10, "that was some time ago")
    }

    @Test func `suspects that cannot be sent at once give their turn to others`() throws {
        var configuration = DispatchConfiguration()
        configuration.apps[AppID("a")] = DispatchApp(pushesPerSecond: 1)
        let bench = DispatchHarness(configuration, apps: ["a", "b"])
        bench.add(10, of: 1)
        bench.claim()
        bench.add(1, of: 1, lane: .bulk)
        bench.claimQuarantined()
        #expect(bench.core.quarantined.count == 1, "it waits behind what is more urgent")
        bench.tell { core, now, effects in core.tick(now: now, &effects) }
        let next = try #require(bench.tell { core, now, _ in core.claimPlan(now: now) })
        #expect(bench.core.quarantined.isEmpty && next.quarantinedMax == 2 && next.excludedQuarantined == [AppID("a")])
        bench.now.monotonic += .seconds(5)
        let later = try #require(bench.tell { core, now, _ in core.claimPlan(now: now) })
        #expect(later.excludedQuarantined == [])
    }

    @Test func `what was announced too slowly for its lease goes back unsent`() throws {
        let bench = DispatchHarness()
        bench.append(claimed(3, ambiguity: .drop).batch)
        bench.holdsAnnouncements = true
        bench.claim()
        let lease = try #require(bench.settlements.first?.lease)
        bench.now.monotonic += .seconds(19)
        bench.tell { core, now, effects in core.announced([lease], now: now, &effects) }
        #expect(bench.sent() == 0 && bench.core.isEmpty)
        bench.holdsAnnouncements = false
        bench.claim()
        #expect(bench.sent() == 3)
    }

    @Test func `what was announced and not sent is taken back by a drain`() throws {
        let bench = DispatchHarness()
        bench.append(claimed(3, ambiguity: .drop).batch)
        bench.holdsAnnouncements = true
        bench.claim()
        bench.tell { core, now, effects in core.drain(now: now, &effects) }
        let lease = try #require(bench.settlements.first?.lease)
        bench.tell { core, now, effects in core.announced([lease], now: now, &effects) }
        #expect(bench.sent() == 0 && bench.core.isEmpty)
        let successor = DispatchHarness(successorOf: bench)
        successor.claim()
        #expect(successor.sent() == 3)
    }

    @Test func `over budget a batch waits as it is, without anything being written of its pushes`() throws {
        let bench = DispatchHarness()
        bench.answer = { $0.batch.count == 49 ? .failed(.connectionReset, .ambiguous) : .accepted }
        for _ in 0..<50 {
            bench.add(1, of: 49)
            bench.add(1, of: 300)
            bench.run(.seconds(2))
        }
        var settlements = bench.settlements.filter { !$0.retries.isEmpty }
        #expect(settlements.allSatisfy { $0.retries.allSatisfy { $0.code != .none } })
        settlements = bench.settlements.filter { if case .postpone = $0.release { true } else { false } }
        #expect(!settlements.isEmpty && settlements.allSatisfy { $0.retries.isEmpty && $0.outcomes.isEmpty })
    }

    @Test func `an app with a rate keeps to it, and delays nobody else`() {
        var configuration = DispatchConfiguration()
        configuration.apps[AppID("a")] = DispatchApp(pushesPerSecond: 100)
        let bench = DispatchHarness(configuration, apps: ["a", "b"])
        bench.add(400, of: 10, app: "a")
        bench.add(20, of: 500, app: "b")
        bench.run(.seconds(10))
        #expect((1_000...1_100).contains(bench.sent("a")))
        #expect(bench.sent("b") == 10_000)
        #expect(bench.delays[AppID("a")]?.reason == .rateLimited && bench.delays[AppID("b")] == nil)
        #expect(bench.core.pushesInMemory <= 2_000, "what has to wait for long waits in the store")
        bench.run(.seconds(35))
        #expect(bench.pushes == 0)
    }

    @Test func `an urgent push does not wait until a bulk batch over the rate is paid for`() {
        var configuration = DispatchConfiguration()
        configuration.apps[AppID("a")] = DispatchApp(pushesPerSecond: 10)
        let bench = DispatchHarness(configuration, apps: ["a"])
        bench.add(1, of: 1_000, app: "a", lane: .bulk)
        bench.run(.seconds(3))
        let before = bench.sent("a")
        #expect(before <= 40)
        bench.add(1, of: 1, app: "a", lane: .urgent)
        bench.run(.seconds(2))
        #expect(!bench.depth.rows.contains { $0.lane == .urgent })
        #expect(bench.pushes > 900, "the bulk pushes still wait")
    }

    @Test func `an app that sends and delivers nothing is told of once a minute`() {
        let bench = DispatchHarness()
        bench.answer = { _ in APNSAnswer(outcome: .answered, status: 410, reason: .unregistered) }
        for _ in 0..<300 {
            bench.add(1, of: 1)
            bench.run(.seconds(1))
        }
        let alarms = bench.events.filter { if case .nothingDelivered = $0 { true } else { false } }
        #expect(alarms.count == 4)
        bench.answer = { _ in .accepted }
        bench.add(1, of: 1)
        bench.run(.seconds(1))
        bench.events = []
        for _ in 0..<130 {
            bench.add(1, of: 1)
            bench.run(.seconds(1))
        }
        #expect(bench.events.isEmpty)
    }

    @Test func `the same seed and the same events lead to the same effects`() {
        func trace(_ seed: UInt64) -> [String] {
            let bench = DispatchHarness(apps: ["a", "b"], seed: seed)
            var generator = SeededGenerator(seed: 5)
            bench.answer = { _ in [unavailable, .accepted, badToken, unreachable].randomElement(using: &generator) }
            bench.add(5, of: 100, app: "a")
            bench.add(5, of: 100, app: "b")
            bench.run(.seconds(60))
            return bench.trace.map { $0 }
        }
        #expect(trace(1) == trace(1))
        #expect(trace(1) != trace(2))
    }
}
