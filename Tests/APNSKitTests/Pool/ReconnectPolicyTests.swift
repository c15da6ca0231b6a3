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

    @Test func `delays double up to 1.5 seconds, and have full jitter`() {
        var policy = ReconnectPolicy()
        var ceilings: [Duration] = []
        for _ in 0..<7 {
            policy.failed()
            #expect(policy.delay(random: 0) == .zero)
            ceilings.append(policy.delay(random: 1))
        }
        #expect(ceilings == [100, 200, 400, 800, 1500, 1500, 1500].map { .milliseconds($0) })
        while policy.failures < 40 { policy.failed() }
        #expect(policy.delay(random: 1) == .milliseconds(1500))
        // After about half a minute of failures, the cap is higher.
        policy.failed()
        #expect(policy.delay(random: 1) == .seconds(10))
        for _ in 0..<10_000 { policy.failed() }
        #expect(policy.delay(random: 1) == .seconds(10))
    }

    @Test func `a failure that only an operator can fix has the highest cap, until a push is answered`() {
        var policy = ReconnectPolicy()
        policy.needsOperator = true
        #expect(policy.delay(random: 1) == .zero)
        for _ in 0..<20 { policy.failed() }
        #expect(policy.delay(random: 1) == .seconds(30))
        policy.succeeded()
        for _ in 0..<20 { policy.failed() }
        #expect(policy.delay(random: 1) == .milliseconds(1500))
    }
}
