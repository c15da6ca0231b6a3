import APNSWire
import PushDispatch
import PushModel
import PushStore
import Synchronization
import Testing

private let unavailable = APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable)

@Suite struct `Sending a batch in parts` {
    private func harness(_ configuration: DispatchConfiguration = DispatchConfiguration()) -> DispatchHarness {
        let harness = DispatchHarness(configuration)
        harness.claim()
        return harness
    }

    @Test func `pushes that are due later are held and sent when they are due, under one lease`() throws {
        let harness = harness()
        let dueIn: [Duration] = [.zero, .milliseconds(1_010), .seconds(30), .seconds(40), .seconds(90)]
        let start = harness.now.monotonic
        var sentAfter: [UInt16: Duration] = [:]
        harness.answer = { [unowned harness] send in
            for index in send.indexes ?? [] { sentAfter[index] = harness.now.monotonic - start }
            return .accepted
        }
        harness.handOver(claimed(5).batch, dueIn: dueIn)
        harness.answerAll()
        harness.run(.seconds(92), claims: false)
        #expect(sentAfter.count == 5)
        for (index, due) in dueIn.enumerated() {
            let late = try #require(sentAfter[UInt16(index)]) - due
            #expect(late >= .zero && late <= .milliseconds(300), "push \(index): \(late)")
        }
        #expect(harness.pushes == 0 && harness.stateMachine.isEmpty && harness.stateMachine.pushesInMemory == 0)
        #expect(Set(harness.settlements.map(\.lease)).count == 1)
        #expect(harness.settlements.map(\.release) == [.keep, .keep, .keep, .keep, .release])
    }

    @Test func `a batch whose next push is due in more than a minute returns to the store`() {
        let harness = harness()
        harness.handOver(claimed(3).batch, dueIn: [.zero, .seconds(61), .seconds(70)])
        #expect(harness.stateMachine.pushesInMemory == 1, "the others need no capacity")
        harness.answerAll()
        #expect(harness.settlements.map(\.release) == [.release] && harness.pushes == 2)
        harness.handOver(claimed(3).batch, dueIn: [.zero, .seconds(50), .seconds(120)])
        harness.answerAll()
        harness.run(.seconds(49), claims: false)
        #expect(harness.stateMachine.pushesInMemory == 3)
        harness.run(.seconds(2), claims: false)
        #expect(harness.sent() == 3 && harness.stateMachine.isEmpty, "the wait for the third began with the second")
    }

    @Test func `held pushes occupy a quarter of the capacity of an app at most`() {
        let harness = harness()
        let dueIn = [.zero] + Array(repeating: Duration.seconds(30), count: 999)
        for _ in 0..<6 { harness.handOver(claimed(1_000).batch, dueIn: dueIn) }
        harness.answerAll()
        #expect(harness.stateMachine.pushesInMemory == 5_000 && harness.leasedBatches == 5)
        harness.run(.seconds(31), claims: false)
        #expect(harness.sent() == 5_001)
    }

    @Test func `the first push of a claim is due, whatever the local clock shows`() {
        let harness = harness()
        harness.handOver(claimed(2).batch, dueIn: [.seconds(3_600), .seconds(3_605)])
        #expect(harness.sent() == 1)
        harness.run(.seconds(6), claims: false)
        #expect(harness.sent() == 2 && harness.pushes == 0)
    }

    @Test func `held pushes can be cancelled, and earlier outcomes do not lose their lease`() throws {
        let harness = harness()
        let batch = claimed(3).batch
        harness.handOver(batch, dueIn: [.zero, .seconds(20), .seconds(20)])
        harness.answerAll()
        let first = harness.cancel(.ids([batch.id.push(1)]))
        #expect(first.map { $0.outcomes.map(\.index) } == [[1]])
        let second = harness.cancel(.app(AppID("a")))
        #expect(second.map { $0.outcomes.map(\.index) } == [[2]])
        // The outcome of push 0 may not be written yet.
        #expect((first + second).allSatisfy { $0.release == .keep })
        #expect(harness.settlements.last?.release == .release)
        #expect(harness.stateMachine.isEmpty && harness.pushes == 0 && harness.events.isEmpty)
        #expect(harness.verdicts == [.delivered, .cancelled, .cancelled])
    }

    @Test func `held pushes expire`() {
        let harness = harness()
        harness.handOver(claimed(2, expiration: 1_005).batch, dueIn: [.zero, .seconds(5)])
        harness.run(.seconds(6), claims: false)
        #expect(harness.sent() == 1 && harness.verdicts == [.delivered, .expired])
    }

    @Test func `a pause returns held pushes`() {
        let harness = harness()
        harness.handOver(claimed(2).batch, dueIn: [.zero, .seconds(5)])
        harness.answerAll()
        #expect(harness.stateMachine.pushesInMemory == 2)
        harness.apply { $0.setPaused(true, app: AppID("a"), now: $1, &$2) }
        #expect(harness.stateMachine.isEmpty && harness.pushes == 1 && harness.attemptsMax == 0)
    }

    @Test func `a retry does not wait for the held pushes of its batch`() {
        let harness = harness()
        harness.handOver(claimed(2).batch, dueIn: [.zero, .seconds(30)])
        harness.answer = { _ in unavailable }
        harness.answerAll()
        #expect(harness.attempts == 1, "the retry is recorded")
        harness.answer = { _ in .accepted }
        harness.run(.seconds(5), claims: false)
        #expect(harness.sent() == 2 && harness.settled.map(\.attempts) == [2])
        harness.run(.seconds(26), claims: false)
        #expect(harness.sent() == 3 && harness.verdicts == [.delivered, .delivered])
        #expect(Set(harness.settlements.map(\.lease)).count == 1)
    }

    @Test func `a refused at-most-once push is announced again only under a new lease`() {
        let harness = harness()
        harness.handOver(claimed(2, ambiguity: .drop).batch, dueIn: [.zero, .seconds(10)])
        harness.answer = { _ in .failed(.goAway, .refused) }
        harness.answerAll()
        harness.answer = { _ in .accepted }
        harness.run(.seconds(9), claims: false)
        #expect(harness.sent() == 1)
        harness.run(.seconds(5))
        #expect(harness.sent() == 3 && harness.verdicts == [.delivered, .delivered])
        #expect(harness.settlements.filter { $0.sends == [0] }.map(\.lease.epoch) == [1, 2])
    }

    @Test func `a batch above the rate is sent in parts under one lease`() {
        var configuration = DispatchConfiguration()
        let app = AppEnvironment(AppID("a"))
        configuration.apps[app] = AppSettings(id: app.app, pushesPerSecond: 100)
        let harness = harness(configuration)
        harness.add(1, of: 1_000)
        harness.run(.seconds(12))
        #expect(harness.pushes == 0 && Set(harness.settlements.map(\.lease)).count == 1)
    }

    @Test func `a batch above the retry budget is sent in parts under one lease`() {
        let harness = harness()
        harness.handOver(claimed(200).batch, dueIn: Array(repeating: .zero, count: 200), attempts: 1)
        #expect(harness.sent() == 100 && harness.events == [.retryBudgetExhausted(pushes: 100)])
        // Nothing shows that APNs is well.
        harness.answer = { _ in APNSAnswer(disposition: .answered, status: 429, reason: .tooManyRequests) }
        harness.answerAll()
        harness.run(.seconds(5), claims: false)
        #expect((130...160).contains(harness.sent()))
        harness.answer = { _ in .accepted }
        harness.run(.seconds(40), claims: false)
        #expect(harness.pushes == 0 && Set(harness.settlements.map(\.lease)).count == 1)
    }

    @Test func `the wait for a connection leaves enough of the lease for the answer`() throws {
        let app = AppEnvironment(AppID("a"))
        for (pause, wait) in [(Duration.zero, Duration.seconds(10)), (.seconds(6), .seconds(4))] {
            let harness = harness()
            let reservation = try #require(
                harness.stateMachine.reserve(pushes: 3, for: app, lane: .normal, now: harness.now))
            harness.now.monotonic += pause
            harness.apply { $0.handoffDelivered(claimed(3), to: reservation, now: $1, &$2) }
            #expect(harness.inFlight.map(\.timeouts) == [.init(wait: wait, answer: .seconds(10))])
        }
    }

    @Test func `only the first send of a batch begins it, and tickets are unique among apps`() {
        let harness = DispatchHarness(apps: ["a", "b"])
        harness.claim()
        harness.answer = { _ in nil }
        harness.handOver(claimed(2).batch, dueIn: [.zero, .seconds(1)])
        harness.handOver(claimed(2, app: "b").batch, dueIn: [.zero, .seconds(1)])
        harness.run(.seconds(2), claims: false)
        #expect(harness.inFlight.map(\.isFirst) == [true, true, false, false])
        #expect(Set(harness.inFlight.map(\.ticket)).count == 4)
    }
}

/// A state machine in several threads. Its clock advances with each event.
private final class ConcurrentHarness: Sendable {
    /// The sends that wait for an answer, and the leases that are to be confirmed.
    private struct Pending: Sendable {
        var sends: [DispatchActions.Send] = []
        var ended: [Lease] = []
    }

    let stateMachine: DispatchStateMachine
    private let pending = Mutex(Pending())
    private let milliseconds = Atomic<Int64>(1_000)

    init(_ stateMachine: DispatchStateMachine) {
        self.stateMachine = stateMachine
    }

    var now: Moment {
        let milliseconds = milliseconds.add(1, ordering: .relaxed).newValue
        return Moment(wall: WallTime(milliseconds: 1_000_000 + milliseconds), monotonic: .milliseconds(milliseconds))
    }
    var isIdle: Bool { pending.withLock { $0.sends.isEmpty && $0.ended.isEmpty } }

    func apply(_ event: (DispatchStateMachine, Moment, inout DispatchActions) -> Void) {
        var actions = DispatchActions()
        event(stateMachine, now, &actions)
        let (sends, ended) = (
            actions.sends, actions.settlements.map(\.settlement).filter(\.release.endsLease).map(\.lease)
        )
        pending.withLock {
            $0.sends += sends
            $0.ended += ended
        }
    }

    func handOver(_ batch: ClaimedBatch) {
        let app = batch.batch.appEnvironment
        guard
            let reservation = stateMachine.reserve(
                pushes: batch.batch.count, for: app, lane: batch.batch.lane, now: now)
        else { return }
        apply { $0.handoffDelivered(batch, to: reservation, now: $1, &$2) }
    }

    /// Confirms the settlements and answers the sends so far.
    func answerAll(_ answer: APNSAnswer) {
        let pending = pending.withLock { pending in
            defer { pending = Pending() }
            return pending
        }
        apply { $0.settled(pending.ended, now: $1, &$2) }
        for send in pending.sends {
            var answers = APNSAnswers(ticket: send.ticket)
            for index in send.indexes ?? Array(0..<UInt16(send.batch.count)) {
                answers.append(answer, of: index, latency: 1)
            }
            apply { $0.answered(answers, of: send.app, now: $1, &$2) }
        }
    }
}

@Suite struct `Concurrent apps` {
    @Test func `events of many apps in several threads keep the counts`() async throws {
        let names = (0..<8).map { "app\($0)" }
        var configuration = DispatchConfiguration()
        for name in names {
            let app = AppEnvironment(AppID(name))
            // Two endpoints, so that the apps of one affect each other's permits.
            configuration.apps[app] = AppSettings(id: app.app, endpoint: name < "app4" ? "x" : "y")
        }
        let harness = ConcurrentHarness(
            DispatchStateMachine(
                configuration: configuration, apps: names.map { AppEnvironment(AppID($0)) }, seed: 1
            )
        )
        let plan = try #require(harness.stateMachine.claimPlan(now: harness.now))
        harness.apply { _ = $0.claimed([], plan: plan, requestedAt: .zero, now: $1, &$2) }
        await withTaskGroup(of: Void.self) { group in
            for (number, name) in names.enumerated() {
                group.addTask {
                    for round in 0..<300 {
                        harness.handOver(claimed(10, app: name))
                        harness.answerAll((round / 50 + number) % 3 == 0 ? unavailable : .accepted)
                        if round % 20 == 0 { harness.apply { $0.tick(now: $1, &$2) } }
                        if round % 20 == 10 {
                            harness.apply { $0.setPaused(round % 40 == 10, app: AppID(name), now: $1, &$2) }
                        }
                    }
                }
            }
        }
        harness.apply { $0.drain(now: $1, &$2) }
        while !harness.isIdle { harness.answerAll(.accepted) }
        let stateMachine = harness.stateMachine
        #expect(stateMachine.isEmpty && stateMachine.pushesInMemory == 0 && stateMachine.pushesInFlight == 0)
        #expect(stateMachine.renewal().leases.isEmpty)
    }
}
