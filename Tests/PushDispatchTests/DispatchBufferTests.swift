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

/// A buffer in a class, because `#expect` cannot call mutating methods.
final class BufferHarness {
    var buffer: DispatchBuffer

    /// By default each lane may fill the whole capacity and window.
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
        buffer = DispatchBuffer(limits: limits)
    }

    func index(_ app: String) -> Int { buffer.index(of: AppID(app)) }
    func reserve(_ count: Int, _ app: String, _ lane: Lane = .normal) -> Bool {
        buffer.reserve(pushes: count, for: index(app), lane: lane)
    }
    func cancel(_ count: Int, _ app: String, _ lane: Lane = .normal) {
        buffer.cancelReservation(pushes: count, of: index(app), lane: lane)
    }
    func notifyBacklog(_ app: String, _ lane: Lane = .normal) { buffer.notifyBacklog(of: index(app), lane: lane) }
    func deliver(_ batch: ClaimedBatch) { buffer.handoffDelivered(batch, leaseUntil: .zero, jitter: 0) }
    /// Sends all batches that the window allows.
    func sendAll(_ app: String = "a") -> [DispatchBuffer.Work] {
        var sent: [DispatchBuffer.Work] = []
        while let work = buffer.nextBatch(of: index(app)) {
            buffer.markSent(work.ticket)
            sent.append(work)
        }
        return sent
    }
    /// Answers `count` pushes of a sent batch.
    ///
    /// - Returns: whether no push is left; nil for a batch that has left memory.
    func answer(_ count: Int, _ ticket: UInt64) -> Bool? { buffer.removeAnswered(count, of: ticket)?.isDone }
    func plan() -> DispatchBuffer.ClaimPlan? { buffer.claimPlan() }

    /// A claim that returns `batches`, which are all that the store has.
    func claim(_ batches: [ClaimedBatch] = []) throws {
        let plan = try #require(self.plan())
        #expect(batches.count < plan.batchesMax)
        let mayHaveMore = buffer.claimed(batches, plan: plan, leaseUntil: .zero, jitter: 0)
        #expect(!mayHaveMore)
    }
}

@Suite struct `Dispatch buffer` {
    @Test func `there is no direct hand-off before the first claim`() throws {
        let harness = BufferHarness()
        #expect(!harness.reserve(1, "a"))
        try harness.claim()
        #expect(harness.reserve(1, "a"))
    }

    @Test func `an app with a backlog in the store gets no direct hand-off`() throws {
        let harness = BufferHarness()
        try harness.claim()
        harness.notifyBacklog("a")
        #expect(!harness.reserve(1, "a"))
        #expect(harness.reserve(1, "b") == false, "no claim has covered it yet")
        try harness.claim()
        #expect(harness.reserve(1, "a") && harness.reserve(1, "b"))
    }

    @Test func `a backlog blocks the direct hand-off of its lane and of less urgent lanes`() throws {
        let harness = BufferHarness()
        try harness.claim([claimed(1)])
        for (waiting, open) in [
            (Lane.urgent, []), (.normal, [.urgent]), (.bulk, [.urgent, .normal]),
        ] as [(Lane, [Lane])] {
            harness.notifyBacklog("a", waiting)
            #expect(Lane.allCases.filter { harness.reserve(1, "a", $0) } == open)
            try harness.claim()
        }
    }

    @Test func `a batch appended during a claim is sent before later batches`() throws {
        let harness = BufferHarness()
        try harness.claim([claimed(1)])
        let plan = try #require(harness.plan())
        harness.notifyBacklog("a")
        let mayHaveMore = harness.buffer.claimed([], plan: plan, leaseUntil: .zero, jitter: 0)
        #expect(!mayHaveMore)
        #expect(!harness.reserve(1, "a"), "the claim may not have returned it")
        try harness.claim()
        #expect(harness.reserve(1, "a"))
    }

    @Test func `one app cannot occupy the capacity of other apps`() throws {
        let harness = BufferHarness(capacity: 5_000, perApp: 2_000, perAppMin: 2_000)
        try harness.claim([claimed(1, app: "a"), claimed(1, app: "b")])
        #expect(harness.reserve(1_999, "a"))
        #expect(!harness.reserve(1, "a"))
        #expect(harness.reserve(1_999, "b"))
        let plan = try #require(harness.plan())
        #expect(plan.batchesMax == 1)
        #expect(plan.excludedApps == [AppEnvironment(AppID("a")), AppEnvironment(AppID("b"))])
    }

    @Test func `the share of an app shrinks with the number of active apps down to a minimum`() throws {
        let harness = BufferHarness(capacity: 12_000, perApp: 10_000, perAppMin: 2_000)
        let names = (0..<10).map { "app\($0)" }
        for name in names { _ = harness.index(name) }
        try harness.claim()
        for name in names.prefix(3) { #expect(harness.reserve(1, name)) }
        #expect(harness.reserve(2_999, names[0]) && !harness.reserve(1, names[0]), "a quarter")
        for name in names.dropFirst(3) { #expect(harness.reserve(1, name)) }
        #expect(harness.reserve(1_999, names[9]) && !harness.reserve(1, names[9]))
    }

    @Test func `an app without pushes in memory finds capacity while other apps have a backlog`() throws {
        for backlogs in 1...8 {
            let harness = BufferHarness(capacity: 40_000, perApp: 20_000, perAppMin: 2_000)
            let names = (0..<backlogs).map { "app\($0)" }
            try harness.claim(names.map { claimed(1, app: $0) } + [claimed(1, app: "quiet")])
            for work in harness.sendAll("quiet") { _ = harness.answer(1, work.ticket) }
            harness.buffer.settled(harness.buffer.leases)
            for _ in 0..<100 { for name in names { _ = harness.reserve(500, name) } }
            #expect(harness.reserve(1_000, "quiet"), "\(backlogs) apps have a backlog")
        }
    }

    @Test func `bulk and normal leave capacity for more urgent lanes`() throws {
        let harness = BufferHarness(shares: LaneShares(bulk: 0.6, normal: 0.85))
        try harness.claim([claimed(1, lane: .bulk)])
        for _ in 0..<10 { _ = harness.reserve(999, "a", .bulk) }
        #expect(harness.buffer.pushesInMemory <= 6_000)
        let plan = try #require(harness.plan())
        #expect(plan.excludedLanes == [AppLane(AppEnvironment(AppID("a")), lane: .bulk)])
        for _ in 0..<10 { _ = harness.reserve(999, "a", .normal) }
        #expect((6_001...8_500).contains(harness.buffer.pushesInMemory))
        #expect(harness.reserve(1_000, "a", .urgent))
    }

    @Test func `a claim never exceeds the capacity of an app and lane`() throws {
        let harness = BufferHarness(capacity: 40_000, perApp: 20_000, shares: LaneShares(bulk: 0.6, normal: 0.85))
        try harness.claim([claimed(1, lane: .bulk)])
        while let plan = harness.plan(), plan.excludedLanes.isEmpty {
            let batches = (0..<plan.batchesMax).map { _ in claimed(1_000, lane: .bulk) }
            _ = harness.buffer.claimed(batches, plan: plan, leaseUntil: .zero, jitter: 0)
        }
        #expect((11_000...12_000).contains(harness.buffer.pushesInMemory))
    }

    @Test func `an app excluded from a claim keeps its backlog`() throws {
        let harness = BufferHarness(capacity: 5_000, perApp: 1_000, perAppMin: 1_000)
        try harness.claim([claimed(1)])
        #expect(harness.reserve(900, "a"))
        harness.notifyBacklog("a")
        try harness.claim()
        harness.cancel(900, "a")
        #expect(!harness.reserve(1, "a"), "its older batches are still in the store")
    }

    @Test func `an urgent batch is sent before waiting bulk batches`() throws {
        let harness = BufferHarness(window: 10)
        let bulk = (0..<3).map { _ in claimed(10, lane: .bulk) }
        try harness.claim(bulk)
        let first = try #require(harness.sendAll().first)
        #expect(first.claimed.lease == bulk[0].lease)
        #expect(harness.sendAll().isEmpty, "the window is full")

        let urgent = claimed(1, lane: .urgent)
        #expect(harness.reserve(1, "a", .urgent))
        harness.deliver(urgent)
        _ = harness.answer(10, first.ticket)
        #expect(harness.sendAll().first?.claimed.lease == urgent.lease)
    }

    @Test func `bulk leaves a part of the window to more urgent lanes`() throws {
        let harness = BufferHarness(window: 100, shares: LaneShares(bulk: 0.75, normal: 0.9))
        try harness.claim((0..<9).map { _ in claimed(15, lane: .bulk) })
        #expect(harness.sendAll().count == 5)
        try harness.claim([claimed(15), claimed(1), claimed(10, lane: .urgent)])
        #expect(harness.sendAll().map(\.unanswered) == [10, 15], "normal and bulk may fill 90 of 100")
    }

    @Test func `there is one trial at a time, and the trial size doubles after each`() throws {
        let harness = BufferHarness()
        var (quarantinedBatch, second) = (claimed(1), claimed(1))
        (quarantinedBatch.isQuarantined, second.isQuarantined) = (true, true)
        #expect(harness.plan()?.quarantinedMax == 1)
        try harness.claim([quarantinedBatch])
        #expect(harness.plan()?.quarantinedMax == 0)
        let work = try #require(harness.sendAll().first)
        _ = harness.answer(1, work.ticket)
        #expect(harness.plan()?.quarantinedMax == 0, "its end is not durable yet")
        harness.buffer.settled([quarantinedBatch.lease])
        #expect(harness.plan()?.quarantinedMax == 2)
        try harness.claim([quarantinedBatch, second])
        harness.buffer.lost([quarantinedBatch.lease])
        #expect(harness.plan()?.quarantinedMax == 0, "the other is still here")
        harness.buffer.lost([second.lease])
        #expect(harness.plan()?.quarantinedMax == 4)
        for _ in 0..<20 {
            try harness.claim([quarantinedBatch])
            harness.buffer.lost([quarantinedBatch.lease])
        }
        #expect(harness.plan()?.quarantinedMax == 1_000)
    }

    @Test func `capacity is free only after the store has recorded the end`() throws {
        let harness = BufferHarness(capacity: 1_000, perApp: 1_000, perAppMin: 1_000)
        try harness.claim()
        _ = harness.index("a")
        try harness.claim()
        #expect(harness.reserve(600, "a"))
        let batch = claimed(600)
        harness.deliver(batch)
        let work = try #require(harness.sendAll().first)
        #expect(harness.answer(200, work.ticket) == false)
        #expect(harness.answer(400, work.ticket) == true)
        #expect(!harness.reserve(600, "a"))
        #expect(harness.buffer.leases == [batch.lease], "its outcomes need the lease until they are durable")
        harness.buffer.settled([batch.lease])
        #expect(harness.buffer.isEmpty && harness.buffer.pushesInMemory == 0)
        #expect(harness.reserve(600, "a"))
    }

    @Test func `answers for a lost batch are late`() throws {
        let harness = BufferHarness(window: 5)
        let (sent, waiting) = (claimed(5), claimed(5))
        try harness.claim([sent, waiting])
        let work = try #require(harness.sendAll().first)
        harness.buffer.lost([sent.lease, waiting.lease])
        #expect(harness.answer(5, work.ticket) == nil)
        #expect(harness.sendAll().isEmpty)
        #expect(harness.buffer.pushesInMemory == 0 && harness.buffer.pushesInFlight == 0)
        #expect(harness.buffer.pushesWaiting(of: harness.index("a")) == 0)
    }

    @Test func `a batch that is being settled does not count as lost`() throws {
        let harness = BufferHarness()
        let (done, open) = (claimed(5), claimed(5))
        try harness.claim([done, open])
        for work in harness.sendAll() where work.claimed.lease == done.lease { _ = harness.answer(5, work.ticket) }
        let unfinished = harness.buffer.lost([done.lease, open.lease])
        #expect(unfinished == 1)
        #expect(harness.buffer.isEmpty && harness.buffer.pushesInMemory == 0)
    }

    @Test func `narrowing a batch releases the capacity of the removed pushes`() throws {
        let harness = BufferHarness()
        let batch = claimed(10)
        try harness.claim([batch])
        let work = try #require(harness.buffer.nextBatch(of: harness.index("a")))
        harness.buffer.narrow(work.ticket, to: [PendingPush(index: 3, attempts: 0, due: WallTime(milliseconds: 0))])
        #expect(harness.buffer.pushesInMemory == 1 && harness.buffer.pushesWaiting(of: harness.index("a")) == 1)
        #expect(harness.sendAll().map { $0.claimed.pending?.map(\.index) } == [[3]])
        #expect(harness.answer(1, work.ticket) == true)
        harness.buffer.settled([batch.lease])
        #expect(harness.buffer.pushesInMemory == 0 && harness.buffer.isEmpty)
    }

    @Test func `a drain stops claims and reservations`() throws {
        let harness = BufferHarness(window: 5)
        let (sent, waiting) = (claimed(5), claimed(5))
        try harness.claim([sent, waiting])
        _ = harness.sendAll()
        harness.buffer.drain()
        #expect(
            harness.buffer.waiting { _ in true }.compactMap { harness.buffer.work($0)?.claimed.lease } == [
                waiting.lease
            ])
        #expect(harness.plan() == nil)
        #expect(!harness.reserve(1, "a"))
        #expect(harness.buffer.hasUnanswered)
    }
}
