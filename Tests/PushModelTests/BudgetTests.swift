import PushModel
import Testing

@Suite struct `The retry budget` {
    @Test func `retries never exceed what time, first sends and successes allow`() {
        for seed in UInt64(0)..<200 {
            var generator = SeededGenerator(seed: seed)
            var budget = RetryBudget()
            var now: Duration = .seconds(1_000)
            // The bucket is full at the start, at any time of the clock.
            _ = budget.available(now: now)
            let start = now
            var (again, firsts, successes) = (0, 0, 0)
            for _ in 0..<400 {
                now += .milliseconds(Int64.random(in: 0...200, using: &generator))
                switch Int.random(in: 0..<4, using: &generator) {
                case 0:
                    let count = Int.random(in: 0...500, using: &generator)
                    budget.sentFirst(count, now: now)
                    firsts += count
                case 1 where again > successes:
                    let count = Int.random(in: 0...min(50, again - successes), using: &generator)
                    budget.succeeded(count, now: now)
                    successes += count
                default:
                    let available = budget.available(now: now)
                    let count = Int.random(in: 0...max(0, available), using: &generator)
                    budget.sentAgain(count)
                    again += count
                }
                let seconds = Double((now - start).milliseconds) / 1000
                let bound = 100 + 10 * seconds + 0.1 * Double(firsts) + 2 * Double(successes)
                #expect(Double(again) <= bound + 0.001, "seed \(seed)")
            }
        }
    }

    @Test func `without successes ten retries a second are allowed, after a burst of a hundred`() {
        var budget = RetryBudget()
        var again = 0
        for tenths in 0...600 {
            let count = budget.available(now: .milliseconds(tenths * 100))
            budget.sentAgain(count)
            again += count
        }
        #expect((690...700).contains(again))
    }

    @Test func `tokens that accrue with time are divided among the sharers, with a minimum for each`() {
        for (sharers, expected) in [(1, 690...700), (2, 345...350), (100, 69...70)] {
            var budget = RetryBudget()
            budget.share(among: sharers, now: .zero)
            var again = 0
            for tenths in 0...600 {
                let count = budget.available(now: .milliseconds(tenths * 100))
                budget.sentAgain(count)
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

    @Test func `a tenth of the first sends may be retried, within ten seconds`() {
        var budget = RetryBudget()
        budget.sentAgain(budget.available(now: .zero))
        budget.sentFirst(5_000, now: .zero)
        var available = budget.available(now: .zero)
        #expect(available == 500)
        available = budget.available(now: .seconds(11))
        #expect(available == 100)
    }

    @Test func `a backlog of forty thousand retries drains in seconds after APNs recovers`() {
        var budget = RetryBudget()
        var (left, rounds) = (40_000, 0)
        // Ten round trips a second, and every push succeeds.
        while left > 0 {
            let now = Duration.milliseconds(rounds * 100)
            let count = min(left, budget.available(now: now))
            budget.sentAgain(count)
            left -= count
            budget.succeeded(count, now: now)
            rounds += 1
        }
        #expect(rounds < 200)
    }

    @Test func `tokens earned by successes expire`() {
        var budget = RetryBudget()
        budget.succeeded(10_000, now: .zero)
        var available = budget.available(now: .seconds(9))
        #expect(available == 4_000)
        available = budget.available(now: .seconds(11))
        #expect(available == 100)
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
