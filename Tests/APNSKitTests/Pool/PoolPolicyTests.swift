import APNSKit
import APNSWire
import NIOCore
import Testing

/// A pool under a load that the test makes up, looked at twenty times a second.
private struct Rehearsal {
    var policy: PoolPolicy
    var seconds = 0.0
    var ready = 1
    var answered = 0.0
    /// Answers a second by so many connections.
    var capacity: (Int) -> Double = { Double($0) * 1000 }
    /// Pushes a second that want to be sent.
    var demand = 1_000_000.0
    var isLoopBusy = false
    var answerTime = TimeAmount.milliseconds(50)
    /// Seconds that a new connection takes.
    var connectTime = 0.15
    private var wanted: (count: Int, at: Double)?

    init(max: Int) {
        policy = PoolPolicy(max: max)
    }

    mutating func run(seconds duration: Double) {
        let end = seconds + duration
        while seconds < end {
            let rate = min(demand, capacity(ready))
            seconds += 0.05
            answered += rate * 0.05
            policy.look(
                PoolPolicy.Load(
                    now: .uptimeNanoseconds(UInt64(seconds * 1e9)), ready: ready,
                    isSaturated: demand > capacity(ready), answered: UInt64(answered), answerTime: answerTime,
                    isLoopBusy: isLoopBusy, used: Double(ready) * rate / capacity(ready)
                )
            )
            if policy.target < ready { ready = policy.target }
            if policy.target > ready, wanted == nil { wanted = (policy.target, seconds + connectTime) }
            if let due = wanted, due.at <= seconds {
                ready = min(due.count, policy.target)
                wanted = nil
            }
        }
    }
}

@Suite struct `Pool policy` {
    @Test func `a short burst opens no connection`() {
        var pool = Rehearsal(max: 64)
        pool.run(seconds: 0.15)
        pool.demand = 10
        pool.run(seconds: 5)
        #expect(pool.policy.target == 1)
    }

    @Test func `it grows until there is enough`() {
        var pool = Rehearsal(max: 64)
        pool.demand = 20_000
        pool.run(seconds: 30)
        #expect(pool.ready >= 20)
        #expect(pool.ready <= 32)
        let settled = pool.ready
        pool.run(seconds: 30)
        #expect(pool.ready == settled)
    }

    @Test func `it never has more than it may`() {
        var pool = Rehearsal(max: 7)
        pool.run(seconds: 120)
        #expect(pool.ready == 7)
    }

    @Test func `growth that is of no use is taken back, and tried again ever more seldom`() {
        var pool = Rehearsal(max: 64)
        // The server is the limit: any number of connections gets the same.
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

    @Test func `it keeps what was of use when more is not`() {
        var pool = Rehearsal(max: 64)
        pool.capacity = { Double(min($0, 4)) * 1000 }
        pool.run(seconds: 60)
        #expect((4...6).contains(pool.ready))
    }

    @Test func `when the processor is the limit it stays as it is`() {
        var pool = Rehearsal(max: 64)
        pool.isLoopBusy = true
        pool.run(seconds: 60)
        #expect(pool.policy.target == 1)
    }

    @Test func `it shrinks slowly when fewer will do, and to one in the end`() {
        var pool = Rehearsal(max: 64)
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

    @Test func `connections that do not come up end the growth`() {
        var pool = Rehearsal(max: 64)
        pool.connectTime = 1e9
        pool.run(seconds: 9)
        #expect(pool.policy.target == 2)
        pool.run(seconds: 3)
        #expect(pool.policy.target == 1)
    }

    @Test func `after all were lost it comes back with half of them`() {
        var pool = Rehearsal(max: 8)
        pool.run(seconds: 60)
        #expect(pool.policy.target == 8)
        pool.policy.lostAll()
        #expect(pool.policy.target == 4)
        for _ in 0..<10 { pool.policy.lostAll() }
        #expect(pool.policy.target == 1)
    }
}

@Suite struct `Connect rate` {
    @Test func `a burst passes, then four a second`() {
        var rate = ConnectRate(burst: 3)
        var now = NIODeadline.uptimeNanoseconds(1)
        for _ in 0..<3 { #expect(rate.take(now: now) == nil) }
        let wait = rate.take(now: now)
        #expect(wait == .nanoseconds(250_000_001))
        now = now + .milliseconds(249)
        #expect(rate.take(now: now) != nil)
        now = now + .milliseconds(2)
        #expect(rate.take(now: now) == nil)
        #expect(rate.take(now: now) != nil)
        // A pause does not save up more than a burst.
        now = now + .hours(1)
        for _ in 0..<3 { #expect(rate.take(now: now) == nil) }
        #expect(rate.take(now: now) != nil)
    }

    @Test func `a place that is given back can be taken, and no more than there are`() {
        var rate = ConnectRate(burst: 1)
        let now = NIODeadline.uptimeNanoseconds(1)
        #expect(rate.take(now: now) == nil)
        rate.giveBack()
        #expect(rate.take(now: now) == nil)
        for _ in 0..<3 { rate.giveBack() }
        #expect(rate.take(now: now) == nil)
        #expect(rate.take(now: now) != nil)
    }
}

@Suite struct `Connection journal` {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func journal() -> ConnectionStatistics { ConnectionStatistics(now: start, ageMax: .seconds(100)) }

    @Test func `server errors count only in a row`() {
        var journal = journal()
        for _ in 0..<3 {
            journal.countAnswer(APNSAnswer(outcome: .answered, status: 500), milliseconds: 1, now: start)
        }
        #expect(journal.serverErrorsInRow == 3)
        journal.countAnswer(.accepted, milliseconds: 1, now: start)
        #expect(journal.serverErrorsInRow == 0)
        #expect(journal.answered == 4)
        #expect(journal.accepted == 1)
        #expect(journal.answersByReason == [.none: 3])
    }

    @Test func `a connection is stalled when it has work and answers none of it`() {
        var journal = journal()
        let limit = TimeAmount.seconds(15)
        #expect(!journal.isStalled(since: limit, now: start + .hours(1)))
        let began = start + .seconds(50)
        journal.countSent(isFirst: true, now: began)
        #expect(!journal.isStalled(since: limit, now: began + .seconds(14)))
        #expect(journal.isStalled(since: limit, now: began + .seconds(15)))
        // Other pushes that are written meanwhile change nothing, an answer does.
        journal.countSent(isFirst: false, now: began + .seconds(10))
        #expect(journal.isStalled(since: limit, now: began + .seconds(15)))
        journal.countAnswer(.accepted, milliseconds: 1, now: began + .seconds(14))
        #expect(!journal.isStalled(since: limit, now: began + .seconds(28)))
        #expect(journal.isStalled(since: limit, now: began + .seconds(29)))
    }

    @Test func `it is overdue at its age, and knows how full its window is`() {
        var journal = journal()
        #expect(!journal.isOverdue(now: start + .seconds(99)))
        #expect(journal.isOverdue(now: start + .seconds(100)))
        journal.connected(address: try? SocketAddress(ipAddress: "::1", port: 2197), window: 65_535)
        #expect(journal.address == "[::1]:2197")
        #expect(journal.windowUse(now: 65_535) == 0)
        #expect(journal.windowUse(now: 0) == 1)
        #expect(journal.windowUse(now: -5) == 1)
        // A server that makes more room than it began with.
        #expect(journal.windowUse(now: 131_070) == 0)
        #expect(journal.windowUse(now: 65_535) == 0.5)
    }
}
