import PushModel
import Testing

@Suite struct `Rate limiter` {
    private static let limit = RateLimit(perSecond: 50, burst: 100)

    @Test func `a burst passes at once, and then one in each interval`() {
        var limiter = RateLimiter(limit: Self.limit, keysMax: 100)
        for number in 1...100 {
            let whole = Duration.milliseconds(20 * number)
            let decision = limiter.take(7, now: .seconds(5))
            #expect(decision == .pass(remaining: 100 - number, whole: whole))
        }
        var refused = limiter.take(7, now: .seconds(5))
        #expect(refused == .refuse(retryAfter: .milliseconds(20)))
        refused = limiter.take(7, now: .seconds(5) + .milliseconds(19))
        #expect(refused == .refuse(retryAfter: .milliseconds(1)))
        let passed = limiter.take(7, now: .seconds(5) + .milliseconds(20))
        #expect(passed == .pass(remaining: 0, whole: .seconds(2)))
    }

    /// The rate over a long time is the rate of the limit, however hard it is asked for.
    @Test(arguments: [(50.0, 100), (0.5, 1), (200, 10), (10.0 / 60, 10)])
    func `over time the rate is kept`(perSecond: Double, burst: Int) {
        var limiter = RateLimiter(limit: RateLimit(perSecond: perSecond, burst: burst), keysMax: 8)
        var passed = 0
        let seconds = 240
        for step in 0..<seconds * 500 {
            if case .pass = limiter.take(1, now: .milliseconds(step * 2)) { passed += 1 }
        }
        let expected = Double(burst) + perSecond * Double(seconds)
        #expect(abs(Double(passed) - expected) <= 1 + expected * 0.001, "\(passed)")
    }

    @Test func `keys do not share`() {
        var limiter = RateLimiter(limit: RateLimit(perSecond: 1, burst: 1), keysMax: 8)
        for key: UInt64 in 0..<8 {
            #expect(limiter.take(key << 32, now: .zero) == .pass(remaining: 0, whole: .seconds(1)))
        }
        for key: UInt64 in 0..<8 {
            #expect(limiter.take(key << 32, now: .zero) == .refuse(retryAfter: .seconds(1)))
        }
    }

    @Test func `what was given back can be taken again, and nothing more`() {
        var limiter = RateLimiter(limit: RateLimit(perSecond: 1, burst: 2), keysMax: 8)
        _ = limiter.take(3, now: .zero)
        _ = limiter.take(3, now: .zero)
        limiter.giveBack(3)
        limiter.giveBack(4)
        var decision = limiter.take(3, now: .zero)
        #expect(decision == .pass(remaining: 0, whole: .seconds(2)))
        decision = limiter.take(3, now: .zero)
        #expect(decision == .refuse(retryAfter: .seconds(1)))
    }

    @Test func `the table stays as it is, and forgets whoever has the most left`() {
        var limiter = RateLimiter(limit: RateLimit(perSecond: 1, burst: 10), keysMax: 8)
        let bytes = limiter.bytes
        // All in one group: the first one took once, the others twice.
        for key: UInt64 in 1...8 {
            _ = limiter.take(key << 16, now: .zero)
            if key > 1 { _ = limiter.take(key << 16, now: .zero) }
        }
        var decision = limiter.take(9 << 16, now: .zero)
        #expect(decision == .pass(remaining: 9, whole: .seconds(1)))
        decision = limiter.take(2 << 16, now: .zero)
        #expect(decision == .pass(remaining: 7, whole: .seconds(3)))
        decision = limiter.take(1 << 16, now: .zero)
        #expect(decision == .pass(remaining: 9, whole: .seconds(1)), "it was forgotten")
        for key: UInt64 in 0..<100_000 { _ = limiter.take(key &* 0x9E37_79B9_7F4A_7C15, now: .zero) }
        #expect(limiter.bytes == bytes)
    }

    @Test func `a million devices cost at most 24 bytes each`() {
        let limiter = RateLimiter(limit: RateLimit(10, in: .seconds(60)), keysMax: 1_000_000)
        #expect(limiter.bytes <= 24_000_000)
        #expect(limiter.limit.window == .seconds(60))
    }

    @Test func `limits that let nothing pass are told apart`() {
        #expect(RateLimit(perSecond: 1, burst: 1).isSound)
        for bad in [
            RateLimit(perSecond: 0, burst: 1), RateLimit(perSecond: 1, burst: 0), RateLimit(perSecond: .nan, burst: 1),
            RateLimit(perSecond: 1e-12, burst: 1), RateLimit(perSecond: .infinity, burst: 1),
        ] { #expect(!bad.isSound, "\(bad)") }
    }
}
