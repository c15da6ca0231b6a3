import APNSWire
import PushDispatch
import PushModel
import PushQueue
import Testing

/// A claimed batch of `count` pushes of `app`.
func claimed(_ count: Int, app: String = "a", lane: Lane = .normal, expiration: Int64 = -1) -> ClaimedBatch {
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
        notifications: notifications
    )
    return ClaimedBatch(lease: Lease(batch: id, epoch: 1), batch: batch)
}

/// The machine behind a reference, because `#expect` cannot call what mutates.
final class Bench {
    var machine: DispatchStateMachine

    init(room: Int = 10_000, perApp: Int = 10_000, window: Int = 1_000) {
        var limits = DispatchStateMachine.Limits()
        limits.pushesMax = room
        limits.pushesPerAppMax = perApp
        limits.windowPerApp = window
        machine = DispatchStateMachine(limits: limits)
    }

    func reserve(_ count: Int, _ app: String) -> Bool { machine.reserve(pushes: count, for: AppID(app)) }
    func next(_ app: String = "a") -> [DispatchStateMachine.Work] { machine.nextToSend(of: AppID(app)) }
    func isDone(_ count: Int, _ ticket: UInt64) -> Bool? { machine.decided(count, of: ticket)?.isDone }

    /// A claim that brings `batches` and finds nothing more.
    func claim(_ batches: [ClaimedBatch] = []) throws {
        let plan = try #require(machine.claimPlan())
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
        bench.machine.batchesWait(of: AppID("a"))
        #expect(!bench.reserve(1, "a"))
        #expect(bench.reserve(1, "b"))
        try bench.claim()
        #expect(bench.reserve(1, "a"))
    }

    @Test func `one app cannot take the room of the others`() throws {
        let bench = Bench(room: 5_000, perApp: 2_000)
        try bench.claim()
        #expect(bench.reserve(2_000, "a"))
        #expect(!bench.reserve(1, "a"))
        #expect(bench.reserve(2_000, "b"))
        let plan = try #require(bench.machine.claimPlan())
        #expect(plan.batchesMax == 1)
        #expect(plan.excludedApps == [AppID("a"), AppID("b")])
    }

    @Test func `an app excluded from a claim keeps its backlog`() throws {
        let bench = Bench(room: 5_000, perApp: 1_000)
        try bench.claim()
        #expect(bench.reserve(900, "a"))
        bench.machine.batchesWait(of: AppID("a"))
        try bench.claim()
        bench.machine.cancelReservation(pushes: 900, for: AppID("a"))
        #expect(!bench.reserve(1, "a"), "its older batches were not claimed yet")
    }

    @Test func `an urgent batch overtakes the bulk batches that wait`() throws {
        let bench = Bench(window: 10)
        try bench.claim()
        let bulk = (0..<3).map { _ in claimed(10, lane: .bulk) }
        try bench.claim(bulk)
        let first = try #require(bench.next().first)
        #expect(first.claimed.lease == bulk[0].lease)
        #expect(bench.next().isEmpty, "the window is full")

        let urgent = claimed(1, lane: .urgent)
        #expect(bench.reserve(1, "a"))
        bench.machine.handedOver(urgent, leaseUntil: .zero, draw: 0)
        _ = bench.isDone(10, first.ticket)
        #expect(bench.next().map(\.claimed.lease) == [urgent.lease])
    }

    @Test func `room is free only when the store has confirmed the end`() throws {
        let bench = Bench(room: 1_000)
        try bench.claim()
        #expect(bench.reserve(600, "a"))
        let batch = claimed(600)
        bench.machine.handedOver(batch, leaseUntil: .zero, draw: 0)
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
        try bench.claim()
        let (sent, waiting) = (claimed(5), claimed(5))
        try bench.claim([sent, waiting])
        let work = try #require(bench.next().first)
        bench.machine.lost([sent.lease, waiting.lease])
        #expect(bench.isDone(5, work.ticket) == nil)
        #expect(bench.next().isEmpty)
        #expect(bench.machine.pushesInMemory == 0 && bench.machine.pushesInFlight == 0)
    }

    @Test func `a batch that was settled a moment ago is not a lost one`() throws {
        let bench = Bench()
        try bench.claim()
        let (done, open) = (claimed(5), claimed(5))
        try bench.claim([done, open])
        for work in bench.next() where work.claimed.lease == done.lease { _ = bench.isDone(5, work.ticket) }
        let unfinished = bench.machine.lost([done.lease, open.lease])
        #expect(unfinished == 1)
        #expect(bench.machine.isEmpty && bench.machine.pushesInMemory == 0)
    }

    @Test func `draining gives back what was not sent and takes nothing new`() throws {
        let bench = Bench(window: 5)
        try bench.claim()
        let (sent, waiting) = (claimed(5), claimed(5))
        try bench.claim([sent, waiting])
        _ = bench.next()
        let unsent = bench.machine.drain()
        #expect(unsent.map(\.claimed.lease) == [waiting.lease])
        #expect(bench.machine.claimPlan() == nil)
        #expect(!bench.reserve(1, "a"))
        #expect(bench.machine.hasUnanswered)
    }
}
