import APNSKit
import Testing

@Suite struct `Reconnect policy` {
    @Test func `the first attempt, and the one after a proven connection, have no delay`() {
        var policy = ReconnectPolicy()
        #expect(policy.delay(random: 0.99) == .zero)
        policy.failed()
        #expect(policy.delay(random: 0.5) == .milliseconds(50))
        policy.succeeded()
        #expect(policy.delay(random: 0.99) == .zero)
    }

    @Test func `delays double up to a second, and have full jitter`() {
        var policy = ReconnectPolicy()
        var ceilings: [Duration] = []
        for _ in 0..<6 {
            policy.failed()
            #expect(policy.delay(random: 0) == .zero)
            ceilings.append(policy.delay(random: 1))
        }
        #expect(ceilings == [100, 200, 400, 800, 1000, 1000].map { .milliseconds($0) })
        while policy.failures < 90 { policy.failed() }
        #expect(policy.delay(random: 1) == .seconds(1) && policy.interval == .seconds(1))
        // After about a minute and a half of failures, attempts are rarer.
        policy.failed()
        #expect(policy.delay(random: 1) == .seconds(5) && policy.interval == .seconds(5))
        for _ in 0..<10_000 { policy.failed() }
        #expect(policy.delay(random: 1) == .seconds(5))
    }

    @Test func `a failure that only an operator can fix has the highest cap, until a push is answered`() {
        var policy = ReconnectPolicy()
        policy.needsOperator = true
        #expect(policy.delay(random: 1) == .zero)
        for _ in 0..<20 { policy.failed() }
        #expect(policy.delay(random: 1) == .seconds(10))
        policy.succeeded()
        for _ in 0..<20 { policy.failed() }
        #expect(policy.delay(random: 1) == .seconds(1))
    }
}
