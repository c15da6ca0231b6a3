import APNSKit
import NIOCore
import Testing

@Suite struct `Connect rate` {
    private let start = NIODeadline.uptimeNanoseconds(1)

    /// How many permits are available at a moment.
    private func permits(_ rate: inout ConnectRate, useful: Int = 0, at now: NIODeadline) -> Int {
        var count = 0
        while count < 1_000, rate.acquire(useful: useful, now: now) == nil { count += 1 }
        return count
    }

    @Test func `three permits are available immediately, and then one a second`() {
        var rate = ConnectRate()
        #expect(permits(&rate, at: start) == 3)
        #expect(rate.acquire(useful: 0, now: start) == .nanoseconds(1_000_000_001))
        #expect(permits(&rate, at: start + .milliseconds(999)) == 0)
        #expect(permits(&rate, at: start + .milliseconds(1001)) == 1)
        // A pause accumulates no more than a burst.
        #expect(permits(&rate, at: start + .hours(1)) == 3)
    }

    @Test func `a useful connection permits two more, so that a pool can double`() {
        var rate = ConnectRate()
        #expect(permits(&rate, at: start) == 3)
        rate.provedUseful()
        #expect(permits(&rate, useful: 1, at: start) == 2)
        // Nothing accumulates beyond half of the useful connections.
        for _ in 0..<64 { rate.provedUseful() }
        #expect(permits(&rate, useful: 64, at: start) == 32)
        for _ in 0..<64 { rate.provedUseful() }
        #expect(permits(&rate, useful: 0, at: start) == 3, "the useful connections are gone")
    }

    @Test func `a pool of ten connections is permitted within seconds at a round trip of 150 ms`() {
        var rate = ConnectRate()
        var now = start
        var (open, useful) = (0, 0)
        // Each connection takes three round trips to open, and two more to have a hundred pushes accepted.
        while open < 10 {
            let opened = permits(&rate, useful: useful, at: now)
            open += opened
            now = now + .milliseconds(750)
            for _ in 0..<opened { rate.provedUseful() }
            useful += opened
        }
        #expect(now - start <= .seconds(3))
    }
}
