import PushModel
import Testing

@Suite struct `Rate limiter` {
    private static let limit = RateLimit(perSecond: 50, burst: 100)

    @Test func `a burst passes immediately, then one request in each interval`() {
        var limiter = RateLimiter(limit: Self.limit, keysMax: 100)
        for number in 1...100 {
            let resetAfter = Duration.milliseconds(20 * number)
            let decision = limiter.acquire(7, now: .seconds(5))
            #expect(decision == .pass(remaining: 100 - number, resetAfter: resetAfter))
        }
        var refused = limiter.acquire(7, now: .seconds(5))
        #expect(refused == .refuse(retryAfter: .milliseconds(20)))
        refused = limiter.acquire(7, now: .seconds(5) + .milliseconds(19))
        #expect(refused == .refuse(retryAfter: .milliseconds(1)))
        let passed = limiter.acquire(7, now: .seconds(5) + .milliseconds(20))
        #expect(passed == .pass(remaining: 0, resetAfter: .seconds(2)))
    }

    @Test(arguments: [(50.0, 100), (0.5, 1), (200, 10), (10.0 / 60, 10)])
    func `the average rate under constant load is the limit`(perSecond: Double, burst: Int) {
        var limiter = RateLimiter(limit: RateLimit(perSecond: perSecond, burst: burst), keysMax: 8)
        var passed = 0
        let seconds = 240
        for step in 0..<seconds * 500 {
            if case .pass = limiter.acquire(1, now: .milliseconds(step * 2)) { passed += 1 }
        }
        let expected = Double(burst) + perSecond * Double(seconds)
        #expect(abs(Double(passed) - expected) <= 1 + expected * 0.001, "\(passed)")
    }

    @Test func `keys do not share their limit`() {
        var limiter = RateLimiter(limit: RateLimit(perSecond: 1, burst: 1), keysMax: 8)
        for key: UInt64 in 0..<8 {
            #expect(limiter.acquire(key << 32, now: .zero) == .pass(remaining: 0, resetAfter: .seconds(1)))
        }
        for key: UInt64 in 0..<8 {
            #expect(limiter.acquire(key << 32, now: .zero) == .refuse(retryAfter: .seconds(1)))
        }
    }

    @Test func `a released request can be acquired again, once`() {
        var limiter = RateLimiter(limit: RateLimit(perSecond: 1, burst: 2), keysMax: 8)
        _ = limiter.acquire(3, now: .zero)
        _ = limiter.acquire(3, now: .zero)
        limiter.release(3)
        limiter.release(4)
        var decision = limiter.acquire(3, now: .zero)
        #expect(decision == .pass(remaining: 0, resetAfter: .seconds(2)))
        decision = limiter.acquire(3, now: .zero)
        #expect(decision == .refuse(retryAfter: .seconds(1)))
    }

    @Test func `the table has a fixed size and evicts the key closest to recovery`() {
        var limiter = RateLimiter(limit: RateLimit(perSecond: 1, burst: 10), keysMax: 8)
        let bytes = limiter.bytes
        // All in one group: the first key has one request, the others have two.
        for key: UInt64 in 1...8 {
            _ = limiter.acquire(key << 16, now: .zero)
            if key > 1 { _ = limiter.acquire(key << 16, now: .zero) }
        }
        var decision = limiter.acquire(9 << 16, now: .zero)
        #expect(decision == .pass(remaining: 9, resetAfter: .seconds(1)))
        decision = limiter.acquire(2 << 16, now: .zero)
        #expect(decision == .pass(remaining: 7, resetAfter: .seconds(3)))
        decision = limiter.acquire(1 << 16, now: .zero)
        #expect(decision == .pass(remaining: 9, resetAfter: .seconds(1)), "it was evicted")
        for key: UInt64 in 0..<100_000 { _ = limiter.acquire(key &* 0x9E37_79B9_7F4A_7C15, now: .zero) }
        #expect(limiter.bytes == bytes)
    }

    @Test func `a million devices cost at most 24 bytes each`() {
        let limiter = RateLimiter(limit: RateLimit(10, in: .seconds(60)), keysMax: 1_000_000)
        #expect(limiter.bytes <= 24_000_000)
        #expect(limiter.limit.window == .seconds(60))
    }

    @Test func `limits that admit no requests are invalid`() {
        #expect(RateLimit(perSecond: 1, burst: 1).isValid)
        for bad in [
            RateLimit(perSecond: 0, burst: 1), RateLimit(perSecond: 1, burst: 0), RateLimit(perSecond: .nan, burst: 1),
            RateLimit(perSecond: 1e-12, burst: 1), RateLimit(perSecond: .infinity, burst: 1),
        ] { #expect(!bad.isValid, "\(bad)") }
    }
}
