import PushModel
import Testing

/// A breaker with its own clock and chance, because `#expect` cannot call what mutates.
private final class Bench {
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
    func open() { breaker.open(now: now, draw: generator.draw()) }
    @discardableResult func advance(_ duration: Duration = .zero) -> Breaker.Change {
        now += duration
        return breaker.advance(now: now, draw: generator.draw())
    }
    /// Lets it become half open.
    func half() {
        open()
        advance(breaker.opensFor(now: now)!)
    }
    func answered(_ ticket: UInt64, good: Int = 0, bad: Int = 0, isShared: Bool = false) -> Breaker.Change {
        breaker.answered(ticket, good: good, bad: bad, isShared: isShared, now: now, draw: generator.draw())
    }
}

@Suite struct `The circuit breaker` {
    @Test func `half of fifty calls failing or slow is a failure, less or fewer is none`() {
        for (calls, failed, slow, isFailing) in [
            (50, 25, 0, true), (50, 24, 0, false), (49, 49, 0, false), (50, 0, 25, true), (50, 0, 24, false),
            (50, 20, 20, false), (1_000, 500, 0, true), (1_000, 499, 0, false),
        ] {
            let bench = Bench()
            bench.record(calls, failed: failed, slow: slow)
            #expect(bench.isFailing == isFailing, "\(calls) \(failed) \(slow)")
        }
    }

    @Test func `only the calls of the last ten seconds count`() {
        let bench = Bench()
        bench.record(50, failed: 50)
        bench.now += .milliseconds(8_999)
        #expect(bench.isFailing)
        bench.now += .milliseconds(1_001)
        #expect(!bench.isFailing)
    }

    @Test func `it stays open for half of its time at least, twice as long each time, a minute at most`() {
        let bench = Bench()
        var longest: Duration = .seconds(5)
        for _ in 0..<8 {
            bench.open()
            let time = bench.breaker.opensFor(now: bench.now)!
            #expect(time >= longest / 2 && time <= longest)
            #expect(bench.advance(time - .milliseconds(1)) == .none)
            #expect(bench.advance(.milliseconds(1)) == .halfOpened)
            bench.breaker.probe(1, count: 3, now: bench.now)
            #expect(bench.answered(1, bad: 3) == .opened)
            longest = min(.seconds(60), longest * 2)
            // `open` above opens once more.
            longest = min(.seconds(60), longest * 2)
        }
    }

    @Test func `who was closed for a while begins with the first pause again`() {
        let bench = Bench()
        for _ in 0..<5 { bench.open() }
        bench.advance(.seconds(60))
        bench.breaker.probe(1, count: 8, now: bench.now)
        #expect(bench.answered(1, good: 8) == .closed)
        bench.advance(.seconds(10))
        bench.open()
        #expect(bench.breaker.opensFor(now: bench.now)! <= .seconds(5))
    }

    @Test func `eight good probes of ten close it, seven do not`() {
        for good in 0...10 {
            let bench = Bench()
            bench.half()
            #expect(bench.breaker.probesLeft() == 10)
            bench.breaker.probe(1, count: 10, now: bench.now)
            #expect(bench.breaker.probesLeft() == 0)
            #expect(bench.answered(1, good: good, bad: 10 - good) == (good >= 8 ? .closed : .opened))
        }
    }

    @Test func `a probe without an answer has failed after its five seconds`() {
        let bench = Bench()
        bench.half()
        bench.breaker.probe(1, count: 10, now: bench.now)
        #expect(bench.answered(1, good: 7) == .none)
        #expect(bench.advance(.milliseconds(4_999)) == .none)
        #expect(bench.advance(.milliseconds(1)) == .opened)
        #expect(bench.answered(1, good: 3) == .none, "too late")
        #expect(bench.breaker.state == .open)
    }

    @Test func `stragglers prove nothing`() {
        let bench = Bench()
        bench.open()
        bench.record(1_000)
        bench.half()
        #expect(bench.answered(99, good: 100) == .none)
        #expect(bench.breaker.state == .halfOpen)
    }

    @Test func `of many, one group all of whose probes are good closes it, whatever the others do`() {
        let bench = Bench()
        bench.half()
        #expect(bench.breaker.probesLeft(for: 0, isShared: true) == 5)
        bench.breaker.probe(1, count: 5, group: 0, now: bench.now)
        bench.breaker.probe(2, count: 5, group: 1, now: bench.now)
        #expect(bench.answered(1, bad: 5, isShared: true) == .none, "the others may know better")
        #expect(bench.answered(2, good: 4, isShared: true) == .closed)
    }

    @Test func `half open ends, whatever happens`() {
        for seed in UInt64(0)..<300 {
            let bench = Bench(seed: seed)
            bench.half()
            var tickets: [(ticket: UInt64, open: Int)] = []
            var next: UInt64 = 1
            var steps = 0
            while bench.breaker.state == .halfOpen {
                steps += 1
                guard steps < 1_000 else {
                    Issue.record("seed \(seed) is still half open")
                    break
                }
                let group = Int.random(in: 0..<3, using: &bench.generator)
                let left = bench.breaker.probesLeft(for: group, isShared: true)
                if left > 0 {
                    let count = Int.random(in: 1...left, using: &bench.generator)
                    bench.breaker.probe(next, count: count, group: group, now: bench.now)
                    tickets.append((next, count))
                    next += 1
                }
                // Some are answered in pieces, some not at all.
                if let ticket = tickets.indices.randomElement(using: &bench.generator), tickets[ticket].open > 0,
                    tickets[ticket].ticket % 3 != 0,
                    Bool.random(using: &bench.generator)
                {
                    let good = Int.random(in: 0...tickets[ticket].open, using: &bench.generator)
                    tickets[ticket].open -= good
                    _ = bench.breaker.answered(
                        tickets[ticket].ticket, good: good, bad: 0, isShared: true, now: bench.now,
                        draw: bench.generator.draw()
                    )
                }
                bench.advance(.milliseconds(Int64.random(in: 0...2_000, using: &bench.generator)))
            }
        }
    }
}

@Suite struct `The gate of a credential` {
    @Test func `one refusal closes it, and one probe at a time tries again`() {
        var gate = CredentialBreaker(probeEvery: .seconds(30), probeTimeout: .seconds(5))
        var generator = SeededGenerator(seed: 7)
        var now: Duration = .seconds(10)
        var isStateChange = gate.refused(1, now: now, draw: generator.draw())
        #expect(isStateChange && gate.isRefused)
        isStateChange = gate.refused(2, now: now + .seconds(1), draw: generator.draw())
        #expect(!isStateChange, "it was under way already")
        for ticket in UInt64(10)..<20 {
            let pause = gate.probesIn(now: now)!
            #expect(pause >= .seconds(15) && pause <= .seconds(30))
            #expect(!gate.wantsProbe(now: now + pause - .milliseconds(1)))
            now += pause
            #expect(gate.wantsProbe(now: now))
            gate.probe(ticket, now: now)
            #expect(!gate.wantsProbe(now: now))
            if ticket % 2 == 0 {
                isStateChange = gate.refused(ticket, now: now, draw: generator.draw())
                #expect(!isStateChange)
            } else {
                gate.advance(now: now + .seconds(5), draw: generator.draw())
                now += .seconds(5)
            }
            #expect(gate.isRefused && !gate.isProbing)
        }
        now += .seconds(30)
        gate.probe(30, now: now)
        var isGood = gate.answered(1, isClassified: true, now: now, draw: 0)
        #expect(!isGood, "sent before the refusal")
        isGood = gate.answered(30, isClassified: true, now: now, draw: 0)
        #expect(isGood && !gate.isRefused)
    }
}
