import APNSWire
import PushDispatch
import PushModel
import PushStore
import Testing

/// A claimed batch of `count` pushes of `app`.
func claimed(
    _ count: Int, app: String = "a", lane: Lane = .normal, expiration: Int64 = -1,
    ambiguity: AmbiguityPolicy = .resend, firstToken: UInt64 = 0, topic: String = "t",
    acceptedAt: WallTime = WallTime(milliseconds: 1_000_000)
) -> ClaimedBatch {
    let id = BatchID.random(at: acceptedAt)
    var notifications = NotificationBatch(firstID: id.value)
    for index in 0..<count {
        withUnsafeBytes(of: (firstToken + UInt64(index)).bigEndian) { token in
            Array("{}".utf8).withUnsafeBytes { payload in
                notifications.append(
                    token: token, payload: payload, headers: NotificationHeaders(topic: topic, pushType: .alert),
                    expiration: expiration
                )
            }
        }
    }
    let batch = Batch(
        id: id, app: AppID(app), lane: lane, acceptedAt: acceptedAt,
        notifications: notifications, ambiguity: ambiguity
    )
    return ClaimedBatch(lease: Lease(batch: id, epoch: 1), batch: batch)
}

/// A state machine without a store: the test plays the store and the APNs clients.
final class CapacityHarness {
    let stateMachine: DispatchStateMachine
    let now = Moment(wall: WallTime(milliseconds: 1_000_000), monotonic: .seconds(1_000))
    private var sends: [DispatchActions.Send] = []
    private var answered: [UInt64: Int] = [:]
    /// Leases that the state machine has ended; the store has recorded none of them.
    private(set) var ended: [Lease] = []
    private(set) var events: [DispatchActions.Event] = []

    /// By default each lane may fill the whole capacity and window.
    init(
        capacity: Int = 10_000, perApp: Int = 10_000, perAppMin: Int = 10_000, window: Int = 1_000,
        shares: LaneShares = LaneShares(bulk: 1, normal: 1), apps: [String] = ["a", "b"]
    ) {
        var configuration = DispatchConfiguration()
        configuration.limits.pushesMax = capacity
        configuration.limits.pushesPerAppMax = perApp
        configuration.limits.pushesPerAppMin = perAppMin
        configuration.limits.windowPerApp = window
        configuration.limits.capacityShares = shares
        configuration.limits.windowShares = shares
        configuration.limits.totalShares = LaneShares(bulk: 1, normal: 1)
        stateMachine = DispatchStateMachine(
            configuration: configuration, apps: apps.map { AppEnvironment(AppID($0)) }, seed: 1
        )
    }

    @discardableResult
    func apply<Result>(_ event: (DispatchStateMachine, Moment, inout DispatchActions) -> Result) -> Result {
        var actions = DispatchActions()
        let result = event(stateMachine, now, &actions)
        sends += actions.sends
        ended += actions.settlements.map(\.settlement).filter(\.release.endsLease).map(\.lease)
        events += actions.events
        return result
    }

    func reserve(_ count: Int, _ app: String, _ lane: Lane = .normal) -> Bool {
        stateMachine.reserve(pushes: count, for: AppEnvironment(AppID(app)), lane: lane, now: now) != nil
    }
    private func reservation(_ count: Int, _ app: String, _ lane: Lane) -> HandoffReservation {
        HandoffReservation(app: AppEnvironment(AppID(app)), lane: lane, pushes: count, since: now.monotonic)
    }
    func cancel(_ count: Int, _ app: String, _ lane: Lane = .normal) {
        stateMachine.cancel(reservation(count, app, lane))
    }
    func notifyBacklog(_ app: String, _ lane: Lane = .normal) {
        stateMachine.notifyBacklog(of: AppEnvironment(AppID(app)), lane: lane)
    }
    func deliver(_ batch: ClaimedBatch) {
        let reservation = reservation(batch.batch.count, batch.batch.app.name, batch.batch.lane)
        apply { $0.handoffDelivered(batch, to: reservation, now: $1, &$2) }
    }

    /// The sends of `app` since the last call.
    func newSends(_ app: String = "a") -> [DispatchActions.Send] {
        defer { sends.removeAll { $0.app.app.name == app } }
        return sends.filter { $0.app.app.name == app }
    }
    /// Answers the next `count` pushes of a send.
    func answer(_ count: Int, _ send: DispatchActions.Send) {
        var answers = APNSAnswers(ticket: send.ticket)
        let indexes = send.indexes ?? Array(0..<UInt16(send.batch.count))
        for index in indexes.dropFirst(answered[send.ticket, default: 0]).prefix(count) {
            answers.append(.accepted, of: index, latency: 1)
        }
        answered[send.ticket, default: 0] += count
        apply { $0.answered(answers, of: send.app, now: $1, &$2) }
    }
    func settled(_ leases: [Lease]) { apply { $0.settled(leases, now: $1, &$2) } }
    func lose(_ leases: [Lease]) {
        let renewal = stateMachine.renewal()
        apply { $0.renewed(renewal, lost: leases, requestedAt: $1.monotonic, now: $1, &$2) }
    }
    func plan() -> ClaimPlan? { stateMachine.claimPlan(now: now) }

    func claim(_ batches: [ClaimedBatch], plan: ClaimPlan) -> Bool {
        apply { $0.claimed(batches, plan: plan, requestedAt: $1.monotonic, now: $1, &$2) }
    }
    /// A claim that returns `batches`, which are all that the store has.
    func claim(_ batches: [ClaimedBatch] = []) throws {
        let plan = try #require(self.plan())
        #expect(batches.count < plan.batchesMax)
        #expect(!claim(batches, plan: plan))
    }
}

@Suite struct `Dispatch capacity` {
    @Test func `there is no direct hand-off before the first claim`() throws {
        let harness = CapacityHarness()
        #expect(!harness.reserve(1, "a"))
        try harness.claim()
        #expect(harness.reserve(1, "a"))
    }

    @Test func `an app with a backlog in the store gets no direct hand-off`() throws {
        let harness = CapacityHarness()
        try harness.claim()
        harness.notifyBacklog("a")
        #expect(!harness.reserve(1, "a") && harness.reserve(1, "b"))
        #expect(!harness.reserve(1, "new"), "no claim has covered it yet")
        try harness.claim()
        #expect(harness.reserve(1, "a") && harness.reserve(1, "new"))
    }

    @Test func `a backlog blocks the direct hand-off of its lane and of less urgent lanes`() throws {
        let harness = CapacityHarness()
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
        let harness = CapacityHarness()
        try harness.claim([claimed(1)])
        let plan = try #require(harness.plan())
        harness.notifyBacklog("a")
        #expect(!harness.claim([], plan: plan))
        #expect(!harness.reserve(1, "a"), "the claim may not have returned it")
        try harness.claim()
        #expect(harness.reserve(1, "a"))
    }

    @Test func `one app cannot occupy the capacity of other apps`() throws {
        let harness = CapacityHarness(capacity: 5_000, perApp: 2_000, perAppMin: 2_000)
        try harness.claim([claimed(1, app: "a"), claimed(1, app: "b")])
        #expect(harness.reserve(1_999, "a"))
        #expect(!harness.reserve(1, "a"))
        #expect(harness.reserve(1_999, "b"))
        let plan = try #require(harness.plan())
        #expect(plan.pushesMax == 1_000)
        #expect(plan.excludedApps == [AppEnvironment(AppID("a")), AppEnvironment(AppID("b"))])
    }

    @Test func `the share of an app shrinks with the number of active apps down to a minimum`() throws {
        let names = (0..<10).map { "app\($0)" }
        let harness = CapacityHarness(capacity: 12_000, perApp: 10_000, perAppMin: 2_000, apps: names)
        try harness.claim()
        for name in names.prefix(3) { #expect(harness.reserve(1, name)) }
        #expect(harness.reserve(2_999, names[0]) && !harness.reserve(1, names[0]), "a quarter")
        for name in names.dropFirst(3) { #expect(harness.reserve(1, name)) }
        #expect(harness.reserve(1_999, names[9]) && !harness.reserve(1, names[9]))
    }

    @Test func `an app without pushes in memory finds capacity while other apps have a backlog`() throws {
        for backlogs in 1...8 {
            let names = (0..<backlogs).map { "app\($0)" }
            let harness = CapacityHarness(
                capacity: 40_000, perApp: 20_000, perAppMin: 2_000, apps: names + ["quiet"]
            )
            try harness.claim(names.map { claimed(1, app: $0) } + [claimed(1, app: "quiet")])
            for send in harness.newSends("quiet") { harness.answer(1, send) }
            harness.settled(harness.ended)
            for _ in 0..<100 { for name in names { _ = harness.reserve(500, name) } }
            #expect(harness.reserve(1_000, "quiet"), "\(backlogs) apps have a backlog")
        }
    }

    @Test func `bulk and normal leave capacity for more urgent lanes`() throws {
        let harness = CapacityHarness(shares: LaneShares(bulk: 0.6, normal: 0.85))
        try harness.claim([claimed(1, lane: .bulk)])
        for _ in 0..<10 { _ = harness.reserve(999, "a", .bulk) }
        #expect(harness.stateMachine.pushesInMemory <= 6_000)
        let plan = try #require(harness.plan())
        #expect(plan.excludedLanes == [AppLane(AppEnvironment(AppID("a")), lane: .bulk)])
        for _ in 0..<10 { _ = harness.reserve(999, "a", .normal) }
        #expect((6_001...8_500).contains(harness.stateMachine.pushesInMemory))
        #expect(harness.reserve(1_000, "a", .urgent))
    }

    @Test func `a claim never exceeds the capacity of an app and lane`() throws {
        let harness = CapacityHarness(capacity: 40_000, perApp: 20_000, shares: LaneShares(bulk: 0.6, normal: 0.85))
        try harness.claim([claimed(1, lane: .bulk)])
        while let plan = harness.plan(), plan.excludedLanes.isEmpty {
            // As a store does it.
            let pushes = min(plan.pushesMax, (plan.enough[AppEnvironment(AppID("a"))] ?? .max) + 999)
            let batches = (0..<pushes / 1_000).map { _ in claimed(1_000, lane: .bulk) }
            _ = harness.claim(batches, plan: plan)
        }
        #expect((11_000...12_000).contains(harness.stateMachine.pushesInMemory))
    }

    @Test func `a claim shows the end of a backlog only if a further batch would have fitted`() throws {
        let harness = CapacityHarness(capacity: 3_000, perApp: 3_000, perAppMin: 3_000)
        let plan = try #require(harness.plan())
        #expect(plan.pushesMax == 3_000)
        #expect(harness.claim([claimed(1_000), claimed(1_000), claimed(1)], plan: plan))
        #expect(!harness.reserve(1, "b"), "a batch of 1,000 may have been left")
    }

    @Test func `an app excluded from a claim keeps its backlog`() throws {
        let harness = CapacityHarness(capacity: 5_000, perApp: 2_000, perAppMin: 2_000)
        try harness.claim([claimed(1)])
        #expect(harness.reserve(1_900, "a"))
        harness.notifyBacklog("a")
        try harness.claim()
        harness.cancel(1_900, "a")
        #expect(!harness.reserve(1, "a"), "its older batches are still in the store")
    }

    @Test func `an urgent batch is sent before waiting bulk batches`() throws {
        let harness = CapacityHarness(window: 10)
        let bulk = (0..<3).map { _ in claimed(10, lane: .bulk) }
        try harness.claim(bulk)
        let sends = harness.newSends()
        let first = try #require(sends.first)
        #expect(sends.map(\.lease) == [bulk[0].lease], "the window is full")

        let urgent = claimed(1, lane: .urgent)
        #expect(harness.reserve(1, "a", .urgent))
        harness.deliver(urgent)
        harness.answer(10, first)
        #expect(harness.newSends().first?.lease == urgent.lease)
    }

    @Test func `bulk leaves a part of the window to more urgent lanes`() throws {
        let harness = CapacityHarness(window: 100, shares: LaneShares(bulk: 0.75, normal: 0.9))
        try harness.claim((0..<9).map { _ in claimed(15, lane: .bulk) })
        #expect(harness.newSends().count == 5)
        try harness.claim([claimed(15), claimed(1), claimed(10, lane: .urgent)])
        #expect(harness.newSends().map(\.count) == [10, 15], "normal and bulk may fill 90 of 100")
    }

    @Test func `there is one trial at a time, and the trial size doubles after each`() throws {
        let harness = CapacityHarness()
        var (quarantinedBatch, second) = (claimed(1), claimed(1))
        (quarantinedBatch.isQuarantined, second.isQuarantined) = (true, true)
        #expect(harness.plan()?.quarantinedMax == 1)
        try harness.claim([quarantinedBatch])
        #expect(harness.plan()?.quarantinedMax == 0)
        harness.answer(1, try #require(harness.newSends().first))
        #expect(harness.plan()?.quarantinedMax == 0, "its end is not durable yet")
        harness.settled([quarantinedBatch.lease])
        #expect(harness.plan()?.quarantinedMax == 2)
        try harness.claim([quarantinedBatch, second])
        harness.lose([quarantinedBatch.lease])
        #expect(harness.plan()?.quarantinedMax == 0, "the other is still here")
        harness.lose([second.lease])
        #expect(harness.plan()?.quarantinedMax == 4)
        for _ in 0..<20 {
            try harness.claim([quarantinedBatch])
            harness.lose([quarantinedBatch.lease])
        }
        #expect(harness.plan()?.quarantinedMax == 1_000)
    }

    @Test func `capacity is free only after the store has recorded the end`() throws {
        let harness = CapacityHarness(capacity: 1_000, perApp: 1_000, perAppMin: 1_000)
        try harness.claim()
        #expect(harness.reserve(600, "a"))
        let batch = claimed(600)
        harness.deliver(batch)
        let send = try #require(harness.newSends().first)
        harness.answer(200, send)
        #expect(harness.ended.isEmpty)
        harness.answer(400, send)
        #expect(harness.ended == [batch.lease])
        #expect(!harness.reserve(600, "a"))
        #expect(
            harness.stateMachine.renewal().leases == [batch.lease],
            "its outcomes need the lease until they are durable")
        harness.settled([batch.lease])
        #expect(harness.stateMachine.isEmpty && harness.stateMachine.pushesInMemory == 0)
        #expect(harness.reserve(600, "a"))
    }

    @Test func `answers for a lost batch are late`() throws {
        let harness = CapacityHarness(window: 5)
        let (sent, waiting) = (claimed(5), claimed(5))
        try harness.claim([sent, waiting])
        let send = try #require(harness.newSends().first)
        harness.lose([sent.lease, waiting.lease])
        harness.answer(5, send)
        #expect(harness.events == [.leasesLost(batches: 2), .lateAnswers(pushes: 5)])
        #expect(harness.newSends().isEmpty)
        #expect(harness.stateMachine.pushesInMemory == 0 && harness.stateMachine.pushesInFlight == 0)
        #expect(harness.stateMachine.isEmpty)
    }

    @Test func `a batch that is being settled does not count as lost`() throws {
        let harness = CapacityHarness()
        let (done, open) = (claimed(5), claimed(5))
        try harness.claim([done, open])
        for send in harness.newSends() where send.lease == done.lease { harness.answer(5, send) }
        harness.lose([done.lease, open.lease])
        #expect(harness.events == [.leasesLost(batches: 1)])
        #expect(harness.stateMachine.isEmpty && harness.stateMachine.pushesInMemory == 0)
    }

    @Test func `a drain stops claims and reservations`() throws {
        let harness = CapacityHarness(window: 5)
        let (sent, waiting) = (claimed(5), claimed(5))
        try harness.claim([sent, waiting])
        harness.apply { $0.drain(now: $1, &$2) }
        #expect(harness.newSends().map(\.lease) == [sent.lease] && harness.ended == [waiting.lease])
        #expect(harness.plan() == nil)
        #expect(!harness.reserve(1, "a"))
        #expect(harness.stateMachine.hasUnanswered)
    }
}
