import APNSKit
import NIOCore
import Testing

@Suite struct `Connect rate` {
    @Test func `after a burst, four permits a second are available`() {
        var rate = ConnectRate(burst: 3)
        var now = NIODeadline.uptimeNanoseconds(1)
        for _ in 0..<3 { #expect(rate.acquire(now: now) == nil) }
        let wait = rate.acquire(now: now)
        #expect(wait == .nanoseconds(250_000_001))
        now = now + .milliseconds(249)
        #expect(rate.acquire(now: now) != nil)
        now = now + .milliseconds(2)
        #expect(rate.acquire(now: now) == nil)
        #expect(rate.acquire(now: now) != nil)
        // A pause accumulates no more than a burst.
        now = now + .hours(1)
        for _ in 0..<3 { #expect(rate.acquire(now: now) == nil) }
        #expect(rate.acquire(now: now) != nil)
    }

    @Test func `a refunded permit can be acquired, up to the burst`() {
        var rate = ConnectRate(burst: 1)
        let now = NIODeadline.uptimeNanoseconds(1)
        #expect(rate.acquire(now: now) == nil)
        rate.refund()
        #expect(rate.acquire(now: now) == nil)
        for _ in 0..<3 { rate.refund() }
        #expect(rate.acquire(now: now) == nil)
        #expect(rate.acquire(now: now) != nil)
    }
}
