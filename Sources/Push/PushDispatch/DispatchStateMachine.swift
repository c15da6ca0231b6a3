import APNSWire
import DequeModule
import PushModel
import PushQueue

/// What is in memory, what is on its way, and what goes next. Pure: no clock, no I/O.
///
/// Each app has a window of pushes that its APNs client may hold; what is claimed beyond it waits here, urgent lanes
/// first, so that an urgent push never stands behind a bulk backlog inside the client. Each app has a share of the
/// room, so that an app whose APNs side stands still cannot fill the memory and stop the others.
package struct DispatchStateMachine {
    package struct Limits: Sendable, Equatable {
        /// Pushes in memory, all apps together.
        package var pushesMax = 40_000
        /// Pushes in memory of one app.
        package var pushesPerAppMax = 20_000
        /// Pushes of one app handed to its APNs client and not yet answered.
        package var windowPerApp = 4_000

        package init() {}
    }

    /// A batch that this instance works on.
    package struct Work: Sendable {
        package let ticket: UInt64
        package let claimed: ClaimedBatch
        /// Pushes not yet answered; the batch is done with when none is left.
        package var unanswered: Int
        package var isSent = false
        /// The lease holds until then, by the monotonic clock.
        package var leaseUntil: Duration
        /// Shared by all retries of the batch, so that they stay together.
        package let draw: Double

        package var app: AppID { claimed.batch.app }
    }

    private struct AppState {
        /// Room taken, reservations included.
        var pushes = 0
        var inFlight = 0
        var waiting: [Deque<UInt64>] = Array(repeating: [], count: Lane.allCases.count)
    }

    package let limits: Limits
    private var apps: [AppID: AppState] = [:]
    private var works: [UInt64: Work] = [:]
    private var tickets: [Lease: UInt64] = [:]
    /// Done with here, but the store has not confirmed it yet: their room is still taken.
    private var settling: [Lease: (app: AppID, pushes: Int)] = [:]
    private var nextTicket: UInt64 = 1
    private var pushes = 0
    private var appsWithBacklog: Set<AppID> = []
    /// Until the store has been asked once, it may hold anything.
    private var isBacklogUnknown = true
    private var isDraining = false

    package init(limits: Limits = Limits()) {
        self.limits = limits
    }

    // MARK: Room

    package mutating func reserve(pushes count: Int, for app: AppID) -> Bool {
        guard !isDraining, !isBacklogUnknown, !appsWithBacklog.contains(app), hasRoom(for: count, of: app) else {
            return false
        }
        take(count, of: app)
        return true
    }

    package mutating func cancelReservation(pushes count: Int, for app: AppID) {
        give(back: count, of: app)
    }

    private func hasRoom(for count: Int, of app: AppID) -> Bool {
        pushes + count <= limits.pushesMax && apps[app, default: AppState()].pushes + count <= limits.pushesPerAppMax
    }

    private mutating func take(_ count: Int, of app: AppID) {
        pushes += count
        apps[app, default: AppState()].pushes += count
    }

    private mutating func give(back count: Int, of app: AppID) {
        pushes -= count
        apps[app]!.pushes -= count
    }

    // MARK: Claiming

    package struct ClaimPlan: Equatable {
        package var batchesMax: Int
        package var excludedApps: Set<AppID>
    }

    /// How much may be claimed now; nil when there is no room or we are stopping.
    package func claimPlan() -> ClaimPlan? {
        let batches = (limits.pushesMax - pushes) / NotificationBatch.countMax
        guard !isDraining, batches > 0 else { return nil }
        let full = apps.filter { $0.value.pushes + NotificationBatch.countMax > limits.pushesPerAppMax }.keys
        return ClaimPlan(batchesMax: min(batches, 16), excludedApps: Set(full))
    }

    /// The answer to a claim made by `plan`.
    ///
    /// - Returns: whether more may wait, so that it is worth asking again at once.
    package mutating func claimed(_ batches: [ClaimedBatch], plan: ClaimPlan, leaseUntil: Duration, draw: Double)
        -> Bool
    {
        for batch in batches {
            take(batch.pendingCount, of: batch.batch.app)
            add(batch, leaseUntil: leaseUntil, draw: draw)
        }
        let isComplete = batches.count < plan.batchesMax
        if isComplete {
            isBacklogUnknown = false
            appsWithBacklog.formIntersection(plan.excludedApps)
            appsWithBacklog.formUnion(plan.excludedApps)
        }
        return !isComplete
    }

    package mutating func batchesWait(of app: AppID) {
        appsWithBacklog.insert(app)
    }

    /// A batch that came by the hot hand-off; its room was reserved.
    package mutating func handedOver(_ batch: ClaimedBatch, leaseUntil: Duration, draw: Double) {
        add(batch, leaseUntil: leaseUntil, draw: draw)
    }

    private mutating func add(_ batch: ClaimedBatch, leaseUntil: Duration, draw: Double) {
        let ticket = nextTicket
        nextTicket += 1
        works[ticket] = Work(
            ticket: ticket, claimed: batch, unanswered: batch.pendingCount, leaseUntil: leaseUntil, draw: draw
        )
        tickets[batch.lease] = ticket
        apps[batch.batch.app]!.waiting[Int(batch.batch.lane.rawValue)].append(ticket)
    }

    // MARK: Sending

    /// Batches to hand to the app's APNs client now. A batch larger than the free window goes when the window is empty.
    package mutating func nextToSend(of app: AppID) -> [Work] {
        var next: [Work] = []
        while let work = takeNext(of: app) { next.append(work) }
        return next
    }

    private mutating func takeNext(of app: AppID) -> Work? {
        guard let state = apps[app], let lane = state.waiting.firstIndex(where: { !$0.isEmpty }),
            let ticket = state.waiting[lane].first, let work = works[ticket]
        else { return nil }
        let inFlight = state.inFlight
        guard inFlight == 0 || inFlight + work.unanswered <= limits.windowPerApp else { return nil }
        apps[app]!.waiting[lane].removeFirst()
        apps[app]!.inFlight += work.unanswered
        works[ticket]!.isSent = true
        return works[ticket]
    }

    /// Pushes of a sent batch are decided: answered, or expired before they left.
    ///
    /// - Returns: the work, and whether that was all of it; nil when the batch is no longer ours (a late answer).
    package mutating func decided(_ count: Int, of ticket: UInt64) -> (work: Work, isDone: Bool)? {
        guard var work = works[ticket] else { return nil }
        precondition(work.isSent && count <= work.unanswered, "\(count) answers, \(work.unanswered) were open")
        work.unanswered -= count
        apps[work.app]!.inFlight -= count
        works[ticket] = work
        guard work.unanswered == 0 else { return (work, false) }
        works[ticket] = nil
        tickets[work.claimed.lease] = nil
        settling[work.claimed.lease] = (work.app, work.claimed.pendingCount)
        return (work, true)
    }

    package func work(_ ticket: UInt64) -> Work? { works[ticket] }

    /// The store has confirmed the end of these batches: their room is free.
    package mutating func settled(_ leases: [Lease]) {
        for lease in leases {
            guard let room = settling.removeValue(forKey: lease) else { continue }
            give(back: room.pushes, of: room.app)
        }
    }

    // MARK: Leases

    /// Every batch that is still ours, settling ones included: their outcomes need the lease until they are durable.
    package var leases: [Lease] { Array(tickets.keys) + Array(settling.keys) }

    package mutating func renewed(_ leases: [Lease], until: Duration) {
        for lease in leases { if let ticket = tickets[lease] { works[ticket]!.leaseUntil = until } }
    }

    /// These batches are no longer ours. Answers that still come for them are late and will be ignored.
    ///
    /// - Returns: how many of them were not done with. The others have only just been settled, which is why the store
    ///   does not know their leases any more.
    @discardableResult
    package mutating func lost(_ leases: [Lease]) -> Int {
        var unfinished = 0
        for lease in leases {
            settled([lease])
            guard let ticket = tickets.removeValue(forKey: lease), let work = works.removeValue(forKey: ticket) else {
                continue
            }
            if work.isSent {
                apps[work.app]!.inFlight -= work.unanswered
            } else {
                apps[work.app]!.waiting[Int(work.claimed.batch.lane.rawValue)].removeAll { $0 == ticket }
            }
            give(back: work.claimed.pendingCount, of: work.app)
            unfinished += 1
        }
        return unfinished
    }

    // MARK: The end

    /// Claims and reservations stop.
    ///
    /// - Returns: batches that were not sent and can be given back untouched.
    package mutating func drain() -> [Work] {
        isDraining = true
        let unsent = works.values.filter { !$0.isSent }
        for work in unsent {
            apps[work.app]!.waiting[Int(work.claimed.batch.lane.rawValue)].removeAll { $0 == work.ticket }
            works[work.ticket] = nil
            tickets[work.claimed.lease] = nil
            settling[work.claimed.lease] = (work.app, work.claimed.pendingCount)
        }
        return unsent
    }

    package var hasUnanswered: Bool { works.values.contains(where: \.isSent) }
    package var isEmpty: Bool { works.isEmpty && settling.isEmpty }
    package var pushesInMemory: Int { pushes }
    package var pushesInFlight: Int { apps.values.reduce(0) { $0 + $1.inFlight } }
}
