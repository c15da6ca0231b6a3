import PushModel
import Testing

/// A breaker with its own clock and random numbers. A class, because `#expect` cannot call mutating methods.
private final class BreakerHarness {
    var breaker: Breaker
    var now: Duration = .seconds(100)
    var generator: SeededGenerator

    init(_ settings: Breaker.Settings = Breaker.Settings(), seed: UInt64 = 1) {
        breaker = Breaker(settings: settings)
        generator = SeededGenerator(seed: seed)
    }

    func record(_ calls: Int, failed: Int = 0, slow: Int = 0) {
        breaker.record(CallTally(calls: calls, failed: failed, slow: slow), now: now)
    }
    var isFailing: Bool { breaker.isFailing(now: now) }
    func open() { breaker.open(now: now, jitter: generator.nextUnit()) }
    @discardableResult func advance(_ duration: Duration = .zero) -> Breaker.Change {
        now += duration
        return breaker.advance(now: now, jitter: generator.nextUnit())
    }
    func becomeHalfOpen() {
        open()
        advance(breaker.remainingOpenTime(now: now)!)
    }
    func answered(_ ticket: UInt64, good: Int = 0, bad: Int = 0, isShared: Bool = false) -> Breaker.Change {
        breaker.answered(ticket, good: good, bad: bad, isShared: isShared, now: now, jitter: generator.nextUnit())
    }
}

@Suite struct `The circuit breaker` {
    @Test func `at least fifty calls of which half fail or are slow are a failure`() {
        for (calls, failed, slow, isFailing) in [
            (50, 25, 0, true), (50, 24, 0, false), (49, 49, 0, false), (50, 0, 25, true), (50, 0, 24, false),
            (50, 20, 20, false), (1_000, 500, 0, true), (1_000, 499, 0, false),
        ] {
            let harness = BreakerHarness()
            harness.record(calls, failed: failed, slow: slow)
            #expect(harness.isFailing == isFailing, "\(calls) \(failed) \(slow)")
        }
    }

    @Test func `only the calls of the last ten seconds count`() {
        let harness = BreakerHarness()
        harness.record(50, failed: 50)
        harness.now += .milliseconds(8_999)
        #expect(harness.isFailing)
        harness.now += .milliseconds(1_001)
        #expect(!harness.isFailing)
    }

    @Test func `the open period has jitter and doubles each time, up to a minute`() {
        let harness = BreakerHarness()
        var longest: Duration = .seconds(5)
        for _ in 0..<8 {
            harness.open()
            let time = harness.breaker.remainingOpenTime(now: harness.now)!
            #expect(time >= longest / 2 && time <= longest)
            #expect(harness.advance(time - .milliseconds(1)) == .none)
            #expect(harness.advance(.milliseconds(1)) == .halfOpened)
            harness.breaker.probe(1, count: 3, now: harness.now)
            #expect(harness.answered(1, bad: 3) == .opened)
            longest = min(.seconds(60), longest * 2)
            // The next call of `open` doubles again.
            longest = min(.seconds(60), longest * 2)
        }
    }

    @Test func `a breaker that was closed for a window starts with the shortest period again`() {
        let harness = BreakerHarness()
        for _ in 0..<5 { harness.open() }
        harness.advance(.seconds(60))
        harness.breaker.probe(1, count: 8, now: harness.now)
        #expect(harness.answered(1, good: 8) == .closed)
        harness.advance(.seconds(10))
        harness.open()
        #expect(harness.breaker.remainingOpenTime(now: harness.now)! <= .seconds(5))
    }

    @Test func `eight good probes of ten close the breaker, seven do not`() {
        for good in 0...10 {
            let harness = BreakerHarness()
            harness.becomeHalfOpen()
            #expect(harness.breaker.probesLeft() == 10)
            harness.breaker.probe(1, count: 10, now: harness.now)
            #expect(harness.breaker.probesLeft() == 0)
            #expect(harness.answered(1, good: good, bad: 10 - good) == (good >= 8 ? .closed : .opened))
        }
    }

    @Test func `a probe without an answer fails after five seconds`() {
        let harness = BreakerHarness()
        harness.becomeHalfOpen()
        harness.breaker.probe(1, count: 10, now: harness.now)
        #expect(harness.answered(1, good: 7) == .none)
        #expect(harness.advance(.milliseconds(4_999)) == .none)
        #expect(harness.advance(.milliseconds(1)) == .opened)
        #expect(harness.answered(1, good: 3) == .none, "too late")
        #expect(harness.breaker.state == .open)
    }

    @Test func `late answers of earlier calls are ignored`() {
        let harness = BreakerHarness()
        harness.open()
        harness.record(1_000)
        harness.becomeHalfOpen()
        #expect(harness.answered(99, good: 100) == .none)
        #expect(harness.breaker.state == .halfOpen)
    }

    @Test func `one group whose probes are all good closes the breaker, whatever the other groups do`() {
        let harness = BreakerHarness()
        harness.becomeHalfOpen()
        #expect(harness.breaker.probesLeft(for: 0, isShared: true) == 5)
        harness.breaker.probe(1, count: 5, group: 0, now: harness.now)
        harness.breaker.probe(2, count: 5, group: 1, now: harness.now)
        #expect(harness.answered(1, bad: 5, isShared: true) == .none, "the other group is not yet answered")
        #expect(harness.answered(2, good: 4, isShared: true) == .closed)
    }

    @Test func `the half-open state always ends`() {
        for seed in UInt64(0)..<300 {
            let harness = BreakerHarness(seed: seed)
            harness.becomeHalfOpen()
            var tickets: [(ticket: UInt64, open: Int)] = []
            var next: UInt64 = 1
            var steps = 0
            while harness.breaker.state == .halfOpen {
                steps += 1
                guard steps < 1_000 else {
                    Issue.record("seed \(seed) is still half open")
                    break
                }
                let group = Int.random(in: 0..<3, using: &harness.generator)
                let left = harness.breaker.probesLeft(for: group, isShared: true)
                if left > 0 {
                    let count = Int.random(in: 1...left, using: &harness.generator)
                    harness.breaker.probe(next, count: count, group: group, now: harness.now)
                    tickets.append((next, count))
                    next += 1
                }
                // Some tickets are answered in parts, some not at all.
                if let ticket = tickets.indices.randomElement(using: &harness.generator), tickets[ticket].open > 0,
                    tickets[ticket].ticket % 3 != 0,
                    Bool.random(using: &harness.generator)
                {
                    let good = Int.random(in: 0...tickets[ticket].open, using: &harness.generator)
                    tickets[ticket].open -= good
                    _ = harness.breaker.answered(
                        tickets[ticket].ticket, good: good, bad: 0, isShared: true, now: harness.now,
                        jitter: harness.generator.nextUnit()
                    )
                }
                harness.advance(.milliseconds(Int64.random(in: 0...2_000, using: &harness.generator)))
            }
        }
    }
}

@Suite struct `The credential breaker` {
    @Test func `one refusal stops all pushes, and one probe at a time tests the credential`() {
        var breaker = CredentialBreaker(probeEvery: .seconds(30), probeTimeout: .seconds(5))
        var generator = SeededGenerator(seed: 7)
        var now: Duration = .seconds(10)
        var isStateChange = breaker.refused(1, now: now, jitter: generator.nextUnit())
        #expect(isStateChange && breaker.isRefused)
        isStateChange = breaker.refused(2, now: now + .seconds(1), jitter: generator.nextUnit())
        #expect(!isStateChange, "it was already in flight")
        for ticket in UInt64(10)..<20 {
            let pause = breaker.timeUntilProbe(now: now)!
            #expect(pause >= .seconds(15) && pause <= .seconds(30))
            #expect(!breaker.isProbeDue(now: now + pause - .milliseconds(1)))
            now += pause
            #expect(breaker.isProbeDue(now: now))
            breaker.probe(ticket, now: now)
            #expect(!breaker.isProbeDue(now: now))
            if ticket % 2 == 0 {
                isStateChange = breaker.refused(ticket, now: now, jitter: generator.nextUnit())
                #expect(!isStateChange)
            } else {
                breaker.advance(now: now + .seconds(5), jitter: generator.nextUnit())
                now += .seconds(5)
            }
            #expect(breaker.isRefused && !breaker.isProbing)
        }
        now += .seconds(30)
        breaker.probe(30, now: now)
        var isGood = breaker.answered(1, isClassified: true, now: now, jitter: 0)
        #expect(!isGood, "sent before the refusal")
        isGood = breaker.answered(30, isClassified: true, now: now, jitter: 0)
        #expect(isGood && !breaker.isRefused)
    }
}
