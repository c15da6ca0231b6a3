import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

/// A claimed batch of `count` pushes of `app`.
func claimed(
    _ count: Int, app: String = "a", lane: Lane = .normal, expiration: Int64 = -1,
    ambiguity: AmbiguityPolicy = .resend
) -> ClaimedBatch {
    let id = BatchID.random(at: WallTime(milliseconds: 1_000_000))
    var notifications = NotificationBatch(firstID: id.value)
    for index in 0..<count {
        withUnsafeBytes(of: UInt64(index).bigEndian) { token in
            Array("{}".utf8).withUnsafeBytes { payload in
                notifications.append(
                    token: token, payload: payload, headers: NotificationHeaders(topic: "t", pushType: .alert),
                    expiration: expiration
                )
            }
        }
    }
    let batch = Batch(
        id: id, app: AppID(app), lane: lane, acceptedAt: WallTime(milliseconds: 1_000_000),
        notifications: notifications, ambiguity: ambiguity
    )
    return ClaimedBatch(lease: Lease(batch: id, epoch: 1), batch: batch)
}

/// The machine behind a reference, because `#expect` cannot call what mutates.
final class Bench {
    var machine: DispatchBuffer

    /// One lane may fill everything, unless `shares` says otherwise.
    init(
        capacity: Int = 10_000, perApp: Int = 10_000, perAppMin: Int = 10_000, window: Int = 1_000,
        shares: LaneShares = LaneShares(bulk: 1, normal: 1)
    ) {
        var limits = DispatchBuffer.Limits()
        limits.pushesMax = capacity
        limits.pushesPerAppMax = perApp
        limits.pushesPerAppMin = perAppMin
        limits.windowPerApp = window
        limits.capacityShares = shares
        limits.windowShares = shares
        limits.totalShares = LaneShares(bulk: 1, normal: 1)
        machine = DispatchBuffer(limits: limits)
    }

    func index(_ app: String) -> Int { machine.index(of: AppID(app)) }
    func reserve(_ count: Int, _ app: String, _ lane: Lane = .normal) -> Bool {
        machine.reserve(pushes: count, for: index(app), lane: lane)
    }
    func cancel(_ count: Int, _ app: String, _ lane: Lane = .normal) {
        machine.cancelReservation(pushes: count, of: index(app), lane: lane)
    }
    func notifyBacklog(_ app: String, _ lane: Lane = .normal) { machine.notifyBacklog(of: index(app), lane: lane) }
    func deliver(_ batch: ClaimedBatch) { machine.handedOver(batch, leaseUntil: .zero, draw: 0) }
    /// Sends all that may go.
    func next(_ app: String = "a") -> [DispatchBuffer.Work] {
        var sent: [DispatchBuffer.Work] = []
        while let work = machine.first(of: index(app)) {
            machine.sent(work.ticket)
            sent.append(work)
        }
        return sent
    }
    func isDone(_ count: Int, _ ticket: UInt64) -> Bool? { machine.decided(count, of: ticket)?.isDone }
    func plan() -> DispatchBuffer.ClaimPlan? { machine.claimPlan() }

    /// A claim that brings `batches` and finds nothing more.
    func claim(_ batches: [ClaimedBatch] = []) throws {
        let plan = try #require(self.plan())
        #expect(batches.count < plan.batchesMax)
        let mayHoldMore = machine.claimed(batches, plan: plan, leaseUntil: .zero, draw: 0)
        #expect(!mayHoldMore)
    }
}

@Suite struct `Dispatch state machine` {

    @Test func `nothing is handed over hot before the store was asked what waits`() throws {
        let bench = Bench()
        #expect(!bench.reserve(1, "a"))
        try bench.claim()
        #expect(bench.reserve(1, "a"))
    }

    @Test func `an app with older batches in the store goes through the store`() throws {
        let bench = Bench()
        try bench.claim()
        bench.notifyBacklog("a")
        #expect(!bench.reserve(1, "a"))
        #expect(bench.reserve(1, "b") == false, "nobody has asked the store about it")
        try bench.claim()
        #expect(bench.reserve(1, "a") && bench.reserve(1, "b"))
    }

    @Test func `what waits in the store forbids the hand-off to its own lane and to less urgent ones`() throws {
        let bench = Bench()
        try bench.claim([claimed(1)])
        for (waiting, open) in [
            (Lane.urgent, []), (.normal, [.urgent]), (.bulk, [.urgent, .normal]),
        ] as [(Lane, [Lane])] {
            bench.notifyBacklog("a", waiting)
            #expect(Lane.allCases.filter { bench.reserve(1, "a", $0) } == open)
            try bench.claim()
        }
    }

    @Test func `a batch that is appended while a claim is under way goes first all the same`() throws {
        let bench = Bench()
        try bench.claim([claimed(1)])
        let plan = try #require(bench.plan())
        bench.notifyBacklog("a")
        let mayHoldMore = bench.machine.claimed([], plan: plan, leaseUntil: .zero, draw: 0)
        #expect(!mayHoldMore)
        #expect(!bench.reserve(1, "a"), "the claim may not have seen it")
        try bench.claim()
        #expect(bench.reserve(1, "a"))
    }

    @Test func `one app cannot take the capacity of the others`() throws {
        let bench = Bench(capacity: 5_000, perApp: 2_000, perAppMin: 2_000)
        try bench.claim([claimed(1, app: "a"), claimed(1, app: "b")])
        #expect(bench.reserve(1_999, "a"))
        #expect(!bench.reserve(1, "a"))
        #expect(bench.reserve(1_999, "b"))
        let plan = try #require(bench.plan())
        #expect(plan.batchesMax == 1)
        #expect(plan.excludedApps == [AppID("a"), AppID("b")])
    }

    @Test func `the more apps have work the less each may take, and never less than its minimum`() throws {
        let bench = Bench(capacity: 12_000, perApp: 10_000, perAppMin: 2_000)
        let names = (0..<10).map { "app\($0)" }
        for name in names { _ = bench.index(name) }
        try bench.claim()
        for name in names.prefix(3) { #expect(bench.reserve(1, name)) }
        #expect(bench.reserve(2_999, names[0]) && !bench.reserve(1, names[0]), "a quarter")
        for name in names.dropFirst(3) { #expect(bench.reserve(1, name)) }
        #expect(bench.reserve(1_999, names[9]) && !bench.reserve(1, names[9]))
    }

    @Test func `an app that has nothing yet finds capacity while others flood`() throws {
        for flooding in 1...8 {
            let bench = Bench(capacity: 40_000, perApp: 20_000, perAppMin: 2_000)
            let names = (0..<flooding).map { "app\($0)" }
            try bench.claim(names.map { claimed(1, app: $0) } + [claimed(1, app: "quiet")])
            for work in bench.next("quiet") { _ = bench.isDone(1, work.ticket) }
            bench.machine.settled(bench.machine.leases)
            for _ in 0..<100 { for name in names { _ = bench.reserve(500, name) } }
            #expect(bench.reserve(1_000, "quiet"), "\(flooding) apps flood")
        }
    }

    @Test func `bulk and normal leave capacity for what is more urgent`() throws {
        let bench = Bench(shares: LaneShares(bulk: 0.6, normal: 0.85))
        try bench.claim([claimed(1, lane: .bulk)])
        for _ in 0..<10 { _ = bench.reserve(999, "a", .bulk) }
        #expect(bench.machine.pushesInMemory <= 6_000)
        let plan = try #require(bench.plan())
        #expect(plan.excludedLanes == [AppLane(app: AppID("a"), lane: .bulk)])
        for _ in 0..<10 { _ = bench.reserve(999, "a", .normal) }
        #expect((6_001...8_500).contains(bench.machine.pushesInMemory))
        #expect(bench.reserve(1_000, "a", .urgent))
    }

    @Test func `a claim cannot bring more of a place than there is capacity for`() throws {
        let bench = Bench(capacity: 40_000, perApp: 20_000, shares: LaneShares(bulk: 0.6, normal: 0.85))
        try bench.claim([claimed(1, lane: .bulk)])
        while let plan = bench.plan(), plan.excludedLanes.isEmpty {
            let batches = (0..<plan.batchesMax).map { _ in claimed(1_000, lane: .bulk) }
            _ = bench.machine.claimed(batches, plan: plan, leaseUntil: .zero, draw: 0)
        }
        #expect((11_000...12_000).contains(bench.machine.pushesInMemory))
    }

    @Test func `an app excluded from a claim keeps its backlog`() throws {
        let bench = Bench(capacity: 5_000, perApp: 1_000, perAppMin: 1_000)
        try bench.claim([claimed(1)])
        #expect(bench.reserve(900, "a"))
        bench.notifyBacklog("a")
        try bench.claim()
        bench.cancel(900, "a")
        #expect(!bench.reserve(1, "a"), "its older batches were not claimed yet")
    }

    @Test func `an urgent batch overtakes the bulk batches that wait`() throws {
        let bench = Bench(window: 10)
        let bulk = (0..<3).map { _ in claimed(10, lane: .bulk) }
        try bench.claim(bulk)
        let first = try #require(bench.next().first)
        #expect(first.claimed.lease == bulk[0].lease)
        #expect(bench.next().isEmpty, "the window is full")

        let urgent = claimed(1, lane: .urgent)
        #expect(bench.reserve(1, "a", .urgent))
        bench.deliver(urgent)
        _ = bench.isDone(10, first.ticket)
        #expect(bench.next().first?.claimed.lease == urgent.lease)
    }

    @Test func `bulk leaves a part of the window to what is more urgent`() throws {
        let bench = Bench(window: 100, shares: LaneShares(bulk: 0.75, normal: 0.9))
        try bench.claim((0..<9).map { _ in claimed(15, lane: .bulk) })
        #expect(bench.next().count == 5)
        try bench.claim([claimed(15), claimed(1), claimed(10, lane: .urgent)])
        #expect(bench.next().map(\.unanswered) == [10, 15], "90 of the window are for normal and bulk")
    }

    @Test func `no quarantined are asked for while any are in memory, and twice as many each time`() throws {
        let bench = Bench()
        var (quarantinedBatch, second) = (claimed(1), claimed(1))
        (quarantinedBatch.isQuarantined, second.isQuarantined) = (true, true)
        #expect(bench.plan()?.quarantinedMax == 1)
        try bench.claim([quarantinedBatch])
        #expect(bench.plan()?.quarantinedMax == 0)
        let work = try #require(bench.next().first)
        _ = bench.isDone(1, work.ticket)
        #expect(bench.plan()?.quarantinedMax == 0, "its end is not durable yet")
        bench.machine.settled([quarantinedBatch.lease])
        #expect(bench.plan()?.quarantinedMax == 2)
        try bench.claim([quarantinedBatch, second])
        bench.machine.lost([quarantinedBatch.lease])
        #expect(bench.plan()?.quarantinedMax == 0, "the other is still here")
        bench.machine.lost([second.lease])
        #expect(bench.plan()?.quarantinedMax == 4)
        for _ in 0..<20 {
            try bench.claim([quarantinedBatch])
            bench.machine.lost([quarantinedBatch.lease])
        }
        #expect(bench.plan()?.quarantinedMax == 1_000)
    }

    @Test func `room is free only when the store has confirmed the end`() throws {
        let bench = Bench(capacity: 1_000, perApp: 1_000, perAppMin: 1_000)
        try bench.claim()
        _ = bench.index("a")
        try bench.claim()
        #expect(bench.reserve(600, "a"))
        let batch = claimed(600)
        bench.deliver(batch)
        let work = try #require(bench.next().first)
        #expect(bench.isDone(200, work.ticket) == false)
        #expect(bench.isDone(400, work.ticket) == true)
        #expect(!bench.reserve(600, "a"))
        #expect(bench.machine.leases == [batch.lease], "its outcomes need the lease until they are durable")
        bench.machine.settled([batch.lease])
        #expect(bench.machine.isEmpty && bench.machine.pushesInMemory == 0)
        #expect(bench.reserve(600, "a"))
    }

    @Test func `answers for a lost batch are late`() throws {
        let bench = Bench(window: 5)
        let (sent, waiting) = (claimed(5), claimed(5))
        try bench.claim([sent, waiting])
        let work = try #require(bench.next().first)
        bench.machine.lost([sent.lease, waiting.lease])
        #expect(bench.isDone(5, work.ticket) == nil)
        #expect(bench.next().isEmpty)
        #expect(bench.machine.pushesInMemory == 0 && bench.machine.pushesInFlight == 0)
        #expect(bench.machine.pushesWaiting(of: bench.index("a")) == 0)
    }

    @Test func `a batch that was settled a moment ago is not a lost one`() throws {
        let bench = Bench()
        let (done, open) = (claimed(5), claimed(5))
        try bench.claim([done, open])
        for work in bench.next() where work.claimed.lease == done.lease { _ = bench.isDone(5, work.ticket) }
        let unfinished = bench.machine.lost([done.lease, open.lease])
        #expect(unfinished == 1)
        #expect(bench.machine.isEmpty && bench.machine.pushesInMemory == 0)
    }

    @Test func `a batch that is narrowed gives back the capacity of what it lost`() throws {
        let bench = Bench()
        let batch = claimed(10)
        try bench.claim([batch])
        let work = try #require(bench.machine.first(of: bench.index("a")))
        bench.machine.narrow(work.ticket, to: [PendingPush(index: 3, attempts: 0, due: WallTime(milliseconds: 0))])
        #expect(bench.machine.pushesInMemory == 1 && bench.machine.pushesWaiting(of: bench.index("a")) == 1)
        #expect(bench.next().map { $0.claimed.pending?.map(\.index) } == [[3]])
        #expect(bench.isDone(1, work.ticket) == true)
        bench.machine.settled([batch.lease])
        #expect(bench.machine.pushesInMemory == 0 && bench.machine.isEmpty)
    }

    @Test func `draining takes nothing new`() throws {
        let bench = Bench(window: 5)
        let (sent, waiting) = (claimed(5), claimed(5))
        try bench.claim([sent, waiting])
        _ = bench.next()
        bench.machine.drain()
        #expect(
            bench.machine.waiting { _ in true }.compactMap { bench.machine.work($0)?.claimed.lease } == [waiting.lease])
        #expect(bench.plan() == nil)
        #expect(!bench.reserve(1, "a"))
        #expect(bench.machine.hasUnanswered)
    }
}
