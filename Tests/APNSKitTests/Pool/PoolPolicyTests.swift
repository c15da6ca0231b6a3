import APNSKit
import NIOCore
import Testing

/// A simulated pool under a load that the test defines, sampled twenty times a second.
private struct SimulatedPool {
    var policy: PoolPolicy
    var seconds = 0.0
    var ready = 1
    var answered = 0.0
    /// Answers a second, by the number of connections.
    var capacity: (Int) -> Double = { Double($0) * 1000 }
    /// Pushes a second to send.
    var demand = 1_000_000.0
    var isLoopBusy = false
    var answerTime = TimeAmount.milliseconds(50)
    /// Seconds to open a connection.
    var connectTime = 0.15
    private var opening: (count: Int, at: Double)?

    init(max: Int) {
        policy = PoolPolicy(max: max)
    }

    mutating func run(seconds duration: Double) {
        let end = seconds + duration
        while seconds < end {
            let rate = min(demand, capacity(ready))
            seconds += 0.05
            answered += rate * 0.05
            policy.update(
                PoolPolicy.Load(
                    now: .uptimeNanoseconds(UInt64(seconds * 1e9)), ready: ready,
                    isSaturated: demand > capacity(ready), answered: UInt64(answered), answerTime: answerTime,
                    isLoopBusy: isLoopBusy, used: Double(ready) * rate / capacity(ready)
                )
            )
            if policy.target < ready { ready = policy.target }
            if policy.target > ready, opening == nil { opening = (policy.target, seconds + connectTime) }
            if let due = opening, due.at <= seconds {
                ready = min(due.count, policy.target)
                opening = nil
            }
        }
    }
}

@Suite struct `Pool policy` {
    @Test func `a short burst opens no connection`() {
        var pool = SimulatedPool(max: 64)
        pool.run(seconds: 0.15)
        pool.demand = 10
        pool.run(seconds: 5)
        #expect(pool.policy.target == 1)
    }

    @Test func `it grows until there are enough connections`() {
        var pool = SimulatedPool(max: 64)
        pool.demand = 20_000
        pool.run(seconds: 30)
        #expect(pool.ready >= 20)
        #expect(pool.ready <= 32)
        let grown = pool.ready
        pool.run(seconds: 30)
        #expect(pool.ready == grown)
    }

    @Test func `it never exceeds the maximum`() {
        var pool = SimulatedPool(max: 7)
        pool.run(seconds: 120)
        #expect(pool.ready == 7)
    }

    @Test func `growth without effect is reverted, and tried again at growing intervals`() {
        var pool = SimulatedPool(max: 64)
        // The server is the bottleneck: the rate does not depend on the number of connections.
        pool.capacity = { _ in 5000 }
        var trials = 0
        var last = 1
        for _ in 0..<6000 {
            pool.run(seconds: 0.1)
            if pool.policy.target > last { trials += 1 }
            last = pool.policy.target
        }
        #expect(pool.ready <= 2)
        // In ten minutes, at 0, 10, 30, 70, 150, 310 s and so on.
        #expect((3...8).contains(trials))
    }

    @Test func `it keeps useful connections when more have no effect`() {
        var pool = SimulatedPool(max: 64)
        pool.capacity = { Double(min($0, 4)) * 1000 }
        pool.run(seconds: 60)
        #expect((4...6).contains(pool.ready))
    }

    @Test func `it does not grow while the processor is the bottleneck`() {
        var pool = SimulatedPool(max: 64)
        pool.isLoopBusy = true
        pool.run(seconds: 60)
        #expect(pool.policy.target == 1)
    }

    @Test func `it shrinks slowly when fewer are enough, finally to one`() {
        var pool = SimulatedPool(max: 64)
        pool.demand = 20_000
        pool.run(seconds: 30)
        let grown = pool.ready
        pool.demand = 100
        pool.run(seconds: 30)
        #expect(pool.ready == grown)
        pool.run(seconds: 100)
        #expect(pool.ready < grown)
        #expect(pool.ready > 1)
        pool.run(seconds: 1800)
        #expect(pool.ready == 1)
    }

    @Test func `connections that do not become ready end the growth`() {
        var pool = SimulatedPool(max: 64)
        pool.connectTime = 1e9
        pool.run(seconds: 9)
        #expect(pool.policy.target == 2)
        pool.run(seconds: 3)
        #expect(pool.policy.target == 1)
    }

    @Test func `after all connections were lost it restarts with half of them`() {
        var pool = SimulatedPool(max: 8)
        pool.run(seconds: 60)
        #expect(pool.policy.target == 8)
        pool.policy.lostAll()
        #expect(pool.policy.target == 4)
        for _ in 0..<10 { pool.policy.lostAll() }
        #expect(pool.policy.target == 1)
    }
}
