import PushModel
import Testing

/// A breaker with its own clock and random numbers. A class, because `#expect` cannot call mutating methods.
private final class CircuitHarness {
    var breaker: CircuitBreaker
    var now: Duration = .seconds(1_000)
    private var generator: SeededGenerator
    private var ticket: UInt64 = 0

    init(_ scope: CircuitBreaker.Scope = .endpoint, seed: UInt64 = 1) {
        breaker = CircuitBreaker(scope: scope)
        generator = SeededGenerator(seed: seed)
    }

    func good(_ count: Int = 1) { breaker.record(.good(count), now: now) }

    /// Pushes to different tokens that fail.
    func fail(_ count: Int = 1, token: UInt64? = nil, app: Int = 0, isLost: Bool = false) {
        var report = CallReport()
        for _ in 0..<count {
            let token = token ?? UInt64.random(in: 0 ... .max, using: &generator)
            report.addFailure(.apnsUnavailable, token: token, isConnectionLost: isLost)
        }
        breaker.record(report, app: app, now: now)
    }

    var isFailing: Bool { breaker.isFailing(now: now) }
    func open() { breaker.open(now: now, jitter: generator.nextUnit()) }

    /// Opens the breaker as its owner does, by failures to several tokens.
    func openByFailures(_ count: Int = 3) {
        for _ in 0..<count {
            fail()
            now += .milliseconds(500)
        }
        #expect(isFailing)
        open()
    }

    func isProbeDue(token: UInt64 = 1, app: Int = 0) -> Bool {
        breaker.isProbeDue(token: token, app: app, now: now)
    }

    @discardableResult
    func probe(token: UInt64 = 1, app: Int = 0) -> (id: UInt64, change: CircuitBreaker.Change?) {
        ticket += 1
        return (ticket, breaker.probe(ticket, token: token, app: app, now: now, jitter: generator.nextUnit()))
    }

    @discardableResult
    func answer(_ id: UInt64, _ result: ProbeResult) -> CircuitBreaker.Change? {
        breaker.probeAnswered(id, result, now: now)
    }

    func advance(_ duration: Duration) {
        now += duration
        breaker.advance(now: now)
    }
}

@Suite struct `The circuit breaker of an upstream` {
    @Test func `at least fifty calls of which half fail are a failure`() {
        for (calls, failed, isFailing) in [
            (50, 25, true), (50, 24, false), (49, 25, false), (1_000, 500, true), (1_000, 499, false),
        ] {
            let harness = CircuitHarness()
            harness.fail(failed)
            harness.good(calls - failed)
            #expect(harness.isFailing == isFailing, "\(calls) \(failed)")
        }
    }

    @Test func `three calls without a good one open it, however slow they are`() {
        for gap in [Duration.milliseconds(500), .seconds(12), .seconds(3_600)] {
            let harness = CircuitHarness()
            harness.good(1_000)
            for count in 1...3 {
                #expect(!harness.isFailing, "after \(count - 1) failures")
                harness.now += gap
                // The same push each time: a quiet app has no other.
                harness.fail(token: 7)
            }
            #expect(harness.isFailing)
        }
    }

    @Test func `failures within a second do not open it, and one good call ends the run`() {
        let harness = CircuitHarness()
        harness.good(1_000)
        harness.fail(200)
        harness.now += .milliseconds(999)
        harness.fail(200)
        #expect(!harness.isFailing)
        // Time alone adds no failure.
        harness.now += .seconds(60)
        #expect(!harness.isFailing)
        harness.good()
        harness.now += .seconds(1)
        harness.fail(2)
        #expect(!harness.isFailing)
    }

    @Test func `a partial outage of a third does not open it`() {
        var generator = SeededGenerator(seed: 3)
        for perSecond in [10, 100] {
            let harness = CircuitHarness()
            for _ in 0..<60 * perSecond {
                if Double.random(in: 0..<1, using: &generator) < 0.3 { harness.fail() } else { harness.good() }
                #expect(!harness.isFailing)
                harness.now += .seconds(1) / perSecond
            }
        }
    }

    @Test func `a lost connection is one failed call, however many pushes it carried`() {
        let harness = CircuitHarness()
        // The first burst: the client reports the pushes of the connection batch by batch.
        for _ in 0..<120 {
            harness.fail(isLost: true)
            harness.now += .milliseconds(1)
        }
        #expect(!harness.isFailing)
        harness.now += .milliseconds(200)
        harness.fail(60, isLost: true)
        #expect(!harness.isFailing, "two connections")
        harness.now += .seconds(1)
        harness.fail(isLost: true)
        #expect(harness.isFailing, "three connections in more than a second, and no good call")
    }

    @Test func `the breaker of an app does not open because of one token`() {
        let harness = CircuitHarness(.app)
        for _ in 0..<20 {
            harness.fail(token: 1)
            harness.fail(token: 2)
            harness.now += .seconds(1)
        }
        #expect(!harness.isFailing)
        harness.fail(token: 3)
        #expect(harness.isFailing)
    }

    @Test func `it probes every second for 90 seconds and then every five seconds`() {
        let harness = CircuitHarness()
        harness.openByFailures()
        var gaps: [Duration] = []
        var last = harness.now
        let start = harness.now
        while harness.now - start < .seconds(180) {
            harness.advance(.milliseconds(50))
            guard harness.isProbeDue() else { continue }
            gaps.append(harness.now - last)
            last = harness.now
            // Probes overlap: some are answered, and some are not.
            let id = harness.probe().id
            if gaps.count.isMultiple(of: 2) { harness.answer(id, .failed(.apnsUnavailable)) }
        }
        let (quick, slow) = (gaps.prefix(85), gaps.suffix(15))
        #expect(quick.allSatisfy { $0 >= .milliseconds(800) && $0 <= .milliseconds(1_050) }, "\(quick)")
        #expect(slow.allSatisfy { $0 >= .seconds(4) && $0 <= .milliseconds(5_050) }, "\(slow)")
        #expect(harness.breaker.state != .closed)
    }

    @Test func `a good probe closes it, even if it is late and later ones failed`() {
        let harness = CircuitHarness()
        harness.openByFailures()
        harness.advance(.seconds(1))
        let (first, change) = harness.probe()
        #expect(change == .halfOpened && harness.breaker.state == .halfOpen)
        harness.advance(.seconds(3))
        #expect(harness.breaker.state == .open, "undecided for 3 s")
        let (second, again) = harness.probe()
        #expect(again == nil && harness.breaker.state == .halfOpen, "reported once per outage")
        #expect(harness.answer(second, .failed(.unanswered)) == nil && harness.breaker.state == .open)
        harness.advance(.seconds(6))
        #expect(harness.answer(first, .good) == .closed && harness.breaker.state == .closed)
        #expect(!harness.isProbeDue(), "a closed breaker needs no probes")
    }

    @Test func `only the answers of its probes count while it is open`() {
        let harness = CircuitHarness()
        harness.openByFailures()
        harness.good(1_000)
        #expect(harness.answer(77, .good) == nil)
        harness.advance(.seconds(1))
        let id = harness.probe().id
        #expect(harness.answer(id, .void) == nil && harness.breaker.state == .open)
        #expect(harness.answer(id, .good) == nil, "it was answered before")
    }

    @Test func `a push to another token is a probe immediately while one token is the only cause`() {
        let harness = CircuitHarness()
        for _ in 0..<3 {
            harness.fail(token: 7)
            harness.now += .seconds(1)
        }
        harness.open()
        #expect(!harness.isProbeDue(token: 7) && harness.isProbeDue(token: 8))
        let id = harness.probe(token: 8).id
        #expect(!harness.isProbeDue(token: 9), "one is enough")
        harness.answer(id, .failed(.apnsUnavailable))
        #expect(!harness.isProbeDue(token: 9), "two tokens have failed")
        // Another app may still do well.
        #expect(harness.isProbeDue(token: 10, app: 1))
        let other = harness.probe(token: 10, app: 1).id
        harness.answer(other, .failed(.apnsUnavailable))
        #expect(!harness.isProbeDue(token: 11, app: 2))
    }

    @Test func `a breaker that opens by the share of failures probes no earlier`() {
        let harness = CircuitHarness()
        harness.fail(60)
        harness.good(40)
        #expect(harness.isFailing)
        harness.open()
        #expect(!harness.isProbeDue(token: 1) && !harness.isProbeDue(token: 2, app: 1))
    }

    @Test func `a breaker that opens again soon is in the same outage`() {
        let harness = CircuitHarness()
        harness.openByFailures()
        for _ in 0..<10 {
            harness.advance(.seconds(5))
            harness.answer(harness.probe().id, .good)
            harness.advance(.seconds(5))
            harness.openByFailures()
        }
        #expect(harness.breaker.timeUntilProbe(now: harness.now)! > .seconds(1), "flapping for over 90 seconds")
        harness.advance(.seconds(5))
        harness.answer(harness.probe().id, .good)
        harness.advance(.seconds(10))
        harness.openByFailures()
        #expect(harness.breaker.timeUntilProbe(now: harness.now)! <= .seconds(1), "a new outage")
    }

    @Test func `it knows the tokens of its last 64 probes`() {
        let harness = CircuitHarness()
        harness.openByFailures()
        for token in UInt64(0)..<65 {
            harness.advance(.seconds(5))
            harness.answer(harness.probe(token: token).id, .failed(.unanswered))
        }
        #expect((UInt64(0)..<66).filter { harness.breaker.wasProbed(token: $0) } == Array(1..<65))
    }

    @Test func `an unanswered probe is dropped in the end`() {
        let harness = CircuitHarness()
        harness.openByFailures()
        harness.advance(.seconds(1))
        let id = harness.probe().id
        harness.advance(.seconds(29))
        #expect(harness.breaker.isProbing(id))
        harness.advance(.seconds(1))
        #expect(!harness.breaker.isProbing(id) && harness.answer(id, .good) == nil)
    }

    @Test func `its health is that of its calls`() {
        let harness = CircuitHarness()
        var health: UpstreamHealth { harness.breaker.health(now: harness.now) }
        #expect(health == .unknown && !harness.breaker.isHealthy(now: harness.now))
        harness.good()
        #expect(health == .succeeding && harness.breaker.isHealthy(now: harness.now))
        harness.fail()
        #expect(health == .succeeding && !harness.breaker.isHealthy(now: harness.now))
        harness.good()
        harness.now += .seconds(10)
        #expect(health == .succeeding && !harness.breaker.isHealthy(now: harness.now), "not recent")
        harness.now += .seconds(50)
        #expect(health == .unknown)
        harness.openByFailures()
        #expect(health == .failing && harness.breaker.cause == .apnsUnavailable)
        harness.breaker.reset()
        #expect(health == .unknown && !harness.isFailing && harness.breaker.state == .closed)
    }
}

/// An owner that sends what the breaker allows, every 50 ms, to an APNs that is away for some time.
private struct OutageModel {
    var breaker = CircuitBreaker()
    private var generator = SeededGenerator(seed: 9)
    private var now: Duration = .zero
    private(set) var waiting = 0
    /// Pushes that failed before the breaker opened, and are due later.
    private var failed = 0
    /// The number of deliveries at each time.
    private(set) var deliveries: [(at: Duration, count: Int)] = []
    private(set) var sendsInOutage = 0

    mutating func run(_ perSecond: Int, outage: ClosedRange<Duration>, until end: Duration) {
        var owed = 0.0
        while now < end {
            now += .milliseconds(50)
            owed += Double(perSecond) / 20
            waiting += Int(owed)
            owed -= owed.rounded(.down)
            breaker.advance(now: now)
            let isAway = outage.contains(now)
            if breaker.state == .closed {
                send(breaker.capacity(for: waiting, now: now), isAway: isAway)
            } else if waiting > 0, breaker.isProbeDue(token: generator.next(), now: now) {
                probe(isAway: isAway)
            }
        }
    }

    private mutating func send(_ count: Int, isAway: Bool) {
        guard count > 0 else { return }
        breaker.sent(count)
        waiting -= count
        guard isAway else {
            breaker.record(.good(count), now: now)
            return deliveries.append((now, count))
        }
        sendsInOutage += count
        failed += count
        var report = CallReport()
        for _ in 0..<count { report.addFailure(.apnsUnavailable, token: generator.next(), isConnectionLost: false) }
        breaker.record(report, now: now)
        guard breaker.isFailing(now: now) else { return }
        breaker.open(now: now, jitter: generator.nextUnit())
        waiting += failed
        failed = 0
    }

    private mutating func probe(isAway: Bool) {
        let ticket = generator.next()
        _ = breaker.probe(ticket, token: generator.next(), now: now, jitter: generator.nextUnit())
        if isAway {
            sendsInOutage += 1
        } else {
            waiting -= 1
            deliveries.append((now, 1))
        }
        _ = breaker.probeAnswered(ticket, isAway ? .failed(.apnsUnavailable) : .good, now: now)
    }

    /// Deliveries in each second from `start`.
    func perSecond(from start: Duration, seconds: Int) -> [Int] {
        var counts = Array(repeating: 0, count: seconds)
        for delivery in deliveries where delivery.at > start {
            let second = Int(((delivery.at - start).milliseconds - 1) / 1000)
            if second < seconds { counts[second] += delivery.count }
        }
        return counts
    }
}

@Suite struct `The recovery after an outage` {
    @Test(arguments: [8, 20, 30, 60, 300], [3, 50, 500])
    func `is quick, at no less than the rate before, and without a spike`(_ seconds: Int, _ rate: Int) {
        var model = OutageModel()
        let end = Duration.seconds(20 + seconds)
        model.run(rate, outage: .seconds(20)...end, until: end + .seconds(seconds * 4 + 30))
        let first = model.deliveries.first { $0.at > end }!.at
        #expect(first - end <= (seconds <= 60 ? .seconds(2) : .seconds(15)))
        let rates = model.perSecond(from: first, seconds: min(seconds * 3, 170))
        // A small rate has a floor.
        #expect(rates.max()! <= max(21, rate * 3 / 2), "\(rates)")
        #expect(rates.dropFirst().allSatisfy { $0 >= rate - 1 }, "\(rates)")
        #expect(model.waiting <= rate / 10 && !model.breaker.isRamping)
        #expect(model.sendsInOutage <= rate * 2 + 70 + seconds / 4)
    }

    @Test func `without a known rate the ramp starts at 1,000/s and grows quickly`() {
        let ramp = SendRamp(rateBefore: nil, outage: .seconds(5), now: .seconds(7))
        #expect(ramp.rate(now: .seconds(7)) == 1_000 && ramp.rate(now: .seconds(11)) == 16_000)
        #expect(ramp.isOver(now: .seconds(20)))
    }

    @Test func `the rate grows after three times the outage`() {
        let ramp = SendRamp(rateBefore: 100, outage: .seconds(30), now: .zero)
        #expect(ramp.rate(now: .seconds(90)) == ramp.rate(now: .zero))
        #expect(ramp.rate(now: .seconds(98)) > 2 * ramp.rate(now: .zero))
        // An outage of hours does not limit the recovery for hours.
        let long = SendRamp(rateBefore: 100, outage: .seconds(7_200), now: .zero)
        #expect(long.rate(now: .seconds(930)) > 10 * long.rate(now: .zero))
    }

    @Test func `a breaker that opens again and again does not lower the rate`() {
        var breaker = CircuitBreaker()
        var now: Duration = .seconds(100)
        for _ in 0..<100 {
            breaker.record(.good(10), now: now)
            now += .milliseconds(100)
        }
        for ticket in UInt64(0)..<20 {
            breaker.open(now: now, jitter: 0)
            now += .seconds(1)
            _ = breaker.probe(ticket, token: 1, now: now, jitter: 0)
            _ = breaker.probeAnswered(ticket, .good, now: now)
            now += .seconds(1)
            #expect(breaker.capacity(for: 1_000, now: now) >= 30, "a quarter of a second of 1.4 × 100/s")
            breaker.record(.good(1), now: now)
        }
    }

    @Test func `a ramp that limits no send for five seconds ends`() {
        var ramp = SendRamp(rateBefore: 100, outage: .seconds(60), now: .zero)
        var now: Duration = .zero
        while now < .seconds(4) {
            now += .milliseconds(100)
            ramp.sent(ramp.capacity(for: 1_000, now: now))
            #expect(!ramp.isOver(now: now))
        }
        while now < .milliseconds(8_900) {
            now += .milliseconds(100)
            ramp.sent(ramp.capacity(for: 5, now: now))
            #expect(!ramp.isOver(now: now))
        }
        #expect(ramp.isOver(now: now + .milliseconds(100)))
    }
}

@Suite struct `The limit after an outage` {
    @Test(arguments: [1, 5, 7, 16, 100]) func `is used in full by batches of any size`(batch: Int) {
        var ramp = SendRamp(rateBefore: 50, outage: .seconds(60), now: .zero)
        var now = Duration.zero
        var sent = 0
        for second in 1...60 {
            let before = sent
            for _ in 0..<4 {
                now += .milliseconds(250)
                var left = batch
                while true {
                    let count = ramp.capacity(for: left, now: now)
                    guard count > 0 else { break }
                    ramp.sent(count)
                    sent += count
                    left = left == count ? batch : left - count
                }
            }
            #expect(sent - before <= 75 + (second == 1 ? 10 : 0), "1.5 times the rate before")
        }
        #expect((68 * 60...71 * 60).contains(sent), "1.4 times the rate before: \(sent)")
    }
}
