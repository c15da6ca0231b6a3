import PushModel
import Testing

/// An endpoint that fails a part of the calls, and a sender that retries failed pushes as the budget permits.
private struct PartialOutage {
    var budget = RetryBudget()
    var generator: SeededGenerator
    /// Failed pushes.
    private(set) var waiting = 0
    /// First sends and retries by step of 100 ms.
    private(set) var firsts: [Int] = []
    private(set) var retries: [Int] = []

    init(seed: UInt64, waiting: Int = 0) {
        generator = SeededGenerator(seed: seed)
        self.waiting = waiting
    }

    private mutating func failures(among count: Int, share: Double) -> Int {
        (0..<count).count { _ in generator.nextUnit() < share }
    }

    /// - Parameters:
    ///   - perStep: first sends each 100 ms.
    ///   - share: the part of the calls that fail.
    mutating func run(steps: Int, perStep: Int, share: Double) {
        for _ in 0..<steps {
            let now = Duration.milliseconds(1_000_000 + firsts.count * 100)
            budget.sentFirst(perStep, now: now)
            let again = min(waiting, budget.available(now: now))
            budget.sentAgain(again, now: now)
            let (failedFirst, failedAgain) = (
                failures(among: perStep, share: share), failures(among: again, share: share)
            )
            budget.answered(
                final: perStep + again - failedFirst - failedAgain, failed: failedFirst + failedAgain,
                recovered: again - failedAgain, now: now + .milliseconds(50)
            )
            waiting += failedFirst + failedAgain - again
            firsts.append(perStep)
            retries.append(again)
        }
    }
}

@Suite struct `The retry budget` {
    @Test(arguments: [0.15, 0.3, 0.6, 1], [1, 5, 50, 500])
    func `in a partial outage a tenth of the first sends and ten per second are retries, over any 30 s`(
        _ share: Double, _ perStep: Int
    ) {
        var outage = PartialOutage(seed: 1)
        outage.run(steps: 1_200, perStep: perStep, share: share)
        for start in 0...900 {
            let firsts = outage.firsts[start..<start + 300].reduce(0, +)
            let retries = outage.retries[start..<start + 300].reduce(0, +)
            #expect(Double(retries) <= 0.1 * Double(firsts) + 300, "\(retries) retries, \(firsts) first sends")
        }
        let retries = outage.retries.reduce(0, +)
        #expect(Double(retries) >= min(0.9 * share * Double(1_200 * perStep), 1_000), "the budget is used")
    }

    @Test func `the backlog of an outage waits while calls fail, and drains in seconds after the recovery`() {
        var outage = PartialOutage(seed: 2, waiting: 40_000)
        outage.run(steps: 300, perStep: 50, share: 0.3)
        let inOutage = outage.retries.reduce(0, +)
        #expect(inOutage <= 1_500 + 300)
        let waiting = outage.waiting
        #expect(waiting > 40_000)
        outage.run(steps: 200, perStep: 50, share: 0.01)
        #expect(outage.waiting < 100, "\(outage.waiting) of \(waiting) wait")
        let before = outage.retries.count
        // APNs fails again while successes have earned tokens.
        outage.run(steps: 600, perStep: 50, share: 0.3)
        let again = outage.retries[(before + 50)...].reduce(0, +)
        #expect(again <= 2_750 + 550 + 600)
    }

    @Test func `without first sends ten retries a second are allowed, with bursts of a hundred`() {
        var budget = RetryBudget()
        var again: [Int] = []
        for tenths in 0...600 {
            let now = Duration.milliseconds(tenths * 100)
            let count = budget.available(now: now)
            budget.sentAgain(count, now: now)
            again.append(count)
        }
        #expect(again[0] == 100 && again.allSatisfy { $0 <= 100 })
        #expect((500...600).contains(again.reduce(0, +)))
    }

    @Test func `tokens that accrue with time are divided among the sharers, with a minimum for each`() {
        for (sharers, expected) in [(1, 500...600), (2, 250...300), (100, 50...60)] {
            var budget = RetryBudget()
            budget.share(among: sharers, now: .zero)
            var again = 0
            for tenths in 0...600 {
                let now = Duration.milliseconds(tenths * 100)
                let count = budget.available(now: now)
                budget.sentAgain(count, now: now)
                again += count
            }
            #expect(expected.contains(again), "\(again) among \(sharers)")
        }
        var budget = RetryBudget()
        budget.share(among: 50, now: .zero)
        budget.sentFirst(5_000, now: .zero)
        let available = budget.available(now: .zero)
        #expect(available == 510, "tokens for first sends are not shared")
    }

    @Test func `a probe does not wait for the budget, and retries wait for its debt`() {
        var budget = RetryBudget()
        budget.sentAgain(budget.available(now: .zero), now: .zero)
        for _ in 0..<20 { budget.sentProbe(now: .zero) }
        var available = budget.available(now: .zero)
        #expect(available == 0)
        available = budget.available(now: .seconds(2))
        #expect(available == 0)
        available = budget.available(now: .seconds(3))
        #expect(available == 10)
        for _ in 0..<100_000 { budget.sentProbe(now: .seconds(3)) }
        available = budget.available(now: .seconds(60))
        #expect(available == 100, "the debt is bounded")
        budget.sentAgain(100, now: .seconds(60))
        for _ in 0..<10 { budget.sentProbe(now: .seconds(60)) }
        budget.answered(final: 100, failed: 0, recovered: 10, now: .seconds(60))
        available = budget.available(now: .seconds(60))
        budget.sentAgain(available, now: .seconds(60))
        #expect(available == 20, "earned tokens pay no debt")
    }

    @Test func `a tenth of the first sends may be retried, within ten seconds`() {
        var budget = RetryBudget()
        budget.sentAgain(budget.available(now: .zero), now: .zero)
        budget.sentFirst(5_000, now: .zero)
        var available = budget.available(now: .zero)
        #expect(available == 500)
        available = budget.available(now: .seconds(11))
        #expect(available == 100)
    }

    @Test func `tokens earned by successes expire`() {
        var budget = RetryBudget()
        budget.answered(final: 10_000, failed: 0, recovered: 10_000, now: .zero)
        var available = budget.available(now: .seconds(2))
        #expect(available == 4_100)
        available = budget.available(now: .seconds(4))
        #expect(available == 100, "no answer of the last three seconds shows that APNs is well")
    }

    @Test func `few successes do not show that APNs is well`() {
        var budget = RetryBudget()
        budget.answered(final: 19, failed: 0, recovered: 19, now: .zero)
        var available = budget.available(now: .zero)
        #expect(available == 100)
        budget.answered(final: 1, failed: 0, recovered: 1, now: .zero)
        available = budget.available(now: .zero)
        #expect(available == 102)
    }
}

@Suite struct `The send rate of an app` {
    @Test func `the rate plus one second's worth is never exceeded`() throws {
        for seed in UInt64(0)..<200 {
            var generator = SeededGenerator(seed: seed)
            let perSecond = Int.random(in: 1...2_000, using: &generator)
            var rate = SendRate(perSecond: Double(perSecond))
            var now: Duration = .seconds(50)
            let start = now
            var sent = 0
            for _ in 0..<300 {
                now += .milliseconds(Int64.random(in: 0...300, using: &generator))
                let count = Int.random(in: 1...1_000, using: &generator)
                let allowed = Double(perSecond) * (1 + Double((now - start).milliseconds) / 1000)
                let capacity = rate.capacity(for: count, now: now)
                #expect(capacity <= count)
                rate.sent(capacity)
                sent += capacity
                try #require(Double(sent) <= allowed + 0.001, "seed \(seed)")
            }
        }
    }

    @Test func `a batch larger than the bucket is sent in parts, and a single push need not wait for them`() {
        var rate = SendRate(perSecond: 100)
        func capacity(_ wanted: Int, at milliseconds: Int64) -> Int {
            let capacity = rate.capacity(for: wanted, now: .milliseconds(milliseconds))
            rate.sent(capacity)
            return capacity
        }
        #expect(capacity(1_000, at: 0) == 100)
        // A part has at least a quarter of a second's worth.
        #expect(capacity(900, at: 240) == 0)
        #expect(capacity(1, at: 240) == 1)
        #expect(capacity(900, at: 270) == 26)
        #expect(capacity(1, at: 290) == 1)
    }
}
