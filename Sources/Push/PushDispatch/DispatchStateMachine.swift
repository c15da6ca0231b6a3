import APNSWire
import DequeModule
import PushModel
import PushQueue

/// What is in memory, what is on its way, and what goes next. Pure: no clock, no I/O.
///
/// Each app has a window of pushes that its APNs client may hold; what is claimed beyond it waits here, urgent lanes
/// first, so that an urgent push never stands behind a bulk backlog inside the client. Each app has a share of the
/// room, smaller the more apps have work, so that no number of apps whose APNs side stands still can fill the memory and
/// stop the others; and of each share the less urgent lanes may fill a part only.
package struct DispatchStateMachine {
    package struct Limits: Sendable, Equatable {
        /// Pushes in memory, all apps together.
        package var pushesMax = 40_000
        /// Pushes in memory of one app.
        package var pushesPerAppMax = 20_000
        /// What each app may have in memory however many have work.
        package var pushesPerAppMin = 2_000
        /// Pushes of one app handed to its APNs client and not yet answered.
        package var windowPerApp = 4_000
        /// How an app's room is shared by its lanes.
        package var roomShares = LaneShares(bulk: 0.6, normal: 0.85)
        /// The same for its window.
        package var windowShares = LaneShares(bulk: 0.75, normal: 0.9)
        /// The same for the room of all apps.
        package var totalShares = LaneShares(bulk: 0.85, normal: 0.95)

        package init() {}
    }

    /// A batch that this instance works on.
    package struct Work: Sendable {
        package let ticket: UInt64
        package fileprivate(set) var claimed: ClaimedBatch
        /// Pushes not yet answered; the batch is done with when none is left.
        package fileprivate(set) var unanswered: Int
        package fileprivate(set) var isSent = false
        /// The lease holds until then, by the monotonic clock.
        package fileprivate(set) var leaseUntil: Duration
        /// Shared by all retries of the batch, so that they stay together.
        package let draw: Double
        /// Where the app is kept.
        package let appIndex: Int

        package var app: AppID { claimed.batch.app }
        package var lane: Lane { claimed.batch.lane }

        /// Its pushes that are still to be sent, with what is known of them.
        package var pending: [PendingPush] {
            claimed.pending
                ?? (0..<UInt16(claimed.batch.count)).map {
                    PendingPush(index: $0, attempts: 0, due: claimed.batch.acceptedAt)
                }
        }
    }

    private struct AppState {
        let id: AppID
        /// Room taken, reservations included.
        var pushes = LaneCounts()
        var inFlight = LaneCounts()
        /// Pushes in `waiting`.
        var waitingPushes = 0
        var waiting: [Deque<UInt64>] = Array(repeating: [], count: Lane.allCases.count)
        /// Lanes of which batches may wait in the store.
        var backlog = LaneSet.all
        /// What was added to `backlog` since the last plan: the claim under way may not have seen it.
        var backlogSincePlan = LaneSet()

        init(_ id: AppID) {
            self.id = id
        }
    }

    private struct Settling {
        var ticket: UInt64
        var appIndex: Int
        var lane: Lane
        var pushes: Int
    }

    package let limits: Limits
    private var apps: [AppState] = []
    private var indexes: [AppID: Int] = [:]
    private var works: [UInt64: Work] = [:]
    private var tickets: [Lease: UInt64] = [:]
    /// Done with here, but the store has not confirmed it yet: their room is still taken.
    private var settling: [Lease: Settling] = [:]
    private var nextTicket: UInt64 = 1
    private var pushes = LaneCounts()
    /// Apps that have room taken.
    private var activeApps = 0
    /// The one batch in memory that is suspected of killing its holder.
    private var alone: Lease?
    package private(set) var isDraining = false

    package init(limits: Limits = Limits()) {
        self.limits = limits
    }

    // MARK: Apps

    /// Where an app is kept; it stays there.
    package mutating func index(of app: AppID) -> Int {
        if let index = indexes[app] { return index }
        indexes[app] = apps.count
        apps.append(AppState(app))
        return apps.count - 1
    }

    /// The same for an app that may not have come up yet.
    package func place(of app: AppID) -> Int? { indexes[app] }
    package func app(at index: Int) -> AppID { apps[index].id }

    // MARK: Room

    /// - Returns: whether there is room and no batch waits in the store that must go first; the room is taken then.
    package mutating func reserve(pushes count: Int, for index: Int, lane: Lane) -> Bool {
        guard !isDraining, !apps[index].backlog.holdsAsUrgent(as: lane), room(of: index, for: lane) >= count else {
            return false
        }
        take(count, of: index, lane)
        return true
    }

    package mutating func cancelReservation(pushes count: Int, of index: Int, lane: Lane) {
        give(back: count, of: index, lane)
    }

    /// How many more pushes of `lane` the app may have in memory.
    private func room(of index: Int, for lane: Lane) -> Int {
        min(
            limits.totalShares.room(for: lane, beside: pushes, in: limits.pushesMax),
            limits.roomShares.room(for: lane, beside: apps[index].pushes, in: roomPerApp(asking: index))
        )
    }

    /// What one app may take now. One share is always left for an app that has nothing yet.
    private func roomPerApp(asking index: Int) -> Int {
        let sharing = activeApps + (apps[index].pushes.total == 0 ? 1 : 0)
        let share = min(limits.pushesPerAppMax, limits.pushesMax / (sharing + 1))
        return max(share, min(limits.pushesPerAppMin, limits.pushesPerAppMax))
    }

    private mutating func take(_ count: Int, of index: Int, _ lane: Lane) {
        if apps[index].pushes.total == 0 { activeApps += 1 }
        pushes[lane] += count
        apps[index].pushes[lane] += count
    }

    private mutating func give(back count: Int, of index: Int, _ lane: Lane) {
        guard count > 0 else { return }
        pushes[lane] -= count
        apps[index].pushes[lane] -= count
        if apps[index].pushes.total == 0 { activeApps -= 1 }
    }

    // MARK: Claiming

    package struct ClaimPlan: Equatable, Sendable {
        package var batchesMax: Int
        package var excludedApps: Set<AppID>
        package var excludedPlaces: Set<QueuePlace>
        package var isAloneAllowed: Bool
    }

    /// How much may be claimed now; nil when there is no room or we are stopping. One claim is made at a time.
    ///
    /// - Parameter isBarred: apps that are not to be claimed from, by index.
    package mutating func claimPlan(isBarred: (Int) -> Bool = { _ in false }) -> ClaimPlan? {
        var batches = min((limits.pushesMax - pushes.total) / NotificationBatch.countMax, 16)
        guard !isDraining, batches > 0 else { return nil }
        var plan = ClaimPlan(batchesMax: 0, excludedApps: [], excludedPlaces: [], isAloneAllowed: alone == nil)
        for index in apps.indices {
            apps[index].backlogSincePlan = []
            let lanes = isBarred(index) ? [] : Lane.allCases.filter { room(of: index, for: $0) >= Self.countMax }
            if lanes.isEmpty {
                plan.excludedApps.insert(apps[index].id)
                continue
            }
            for lane in Lane.allCases {
                if lanes.contains(lane) {
                    // All of what is claimed may be of this place.
                    batches = min(batches, room(of: index, for: lane) / Self.countMax)
                } else {
                    plan.excludedPlaces.insert(QueuePlace(app: apps[index].id, lane: lane))
                }
            }
        }
        plan.batchesMax = batches
        return plan
    }

    private static let countMax = NotificationBatch.countMax

    /// The answer to a claim made by `plan`.
    ///
    /// - Returns: whether more may wait, so that it is worth asking again at once.
    package mutating func claimed(_ batches: [ClaimedBatch], plan: ClaimPlan, leaseUntil: Duration, draw: Double)
        -> Bool
    {
        for batch in batches {
            take(batch.pendingCount, of: index(of: batch.batch.app), batch.batch.lane)
            add(batch, leaseUntil: leaseUntil, draw: draw)
        }
        guard batches.count < plan.batchesMax else { return true }
        for index in apps.indices {
            var backlog = apps[index].backlogSincePlan
            if plan.excludedApps.contains(apps[index].id) {
                backlog = .all
            } else if !plan.excludedPlaces.isEmpty {
                for lane in Lane.allCases
                where plan.excludedPlaces.contains(QueuePlace(app: apps[index].id, lane: lane)) {
                    backlog.insert(LaneSet(lane))
                }
            }
            apps[index].backlog = backlog
        }
        return false
    }

    package mutating func batchesWait(of index: Int, lane: Lane) {
        apps[index].backlog.insert(LaneSet(lane))
        apps[index].backlogSincePlan.insert(LaneSet(lane))
    }

    /// Anything may wait in the store for this app.
    package mutating func backlogUnknown(of index: Int) {
        apps[index].backlog = .all
        apps[index].backlogSincePlan = .all
    }

    package func hasBacklog(_ index: Int) -> Bool { !apps[index].backlog.isEmpty }

    /// A batch that came by the hot hand-off; its room was reserved.
    package mutating func handedOver(_ batch: ClaimedBatch, leaseUntil: Duration, draw: Double) {
        add(batch, leaseUntil: leaseUntil, draw: draw)
    }

    private mutating func add(_ batch: ClaimedBatch, leaseUntil: Duration, draw: Double) {
        let ticket = nextTicket
        nextTicket += 1
        let index = index(of: batch.batch.app)
        works[ticket] = Work(
            ticket: ticket, claimed: batch, unanswered: batch.pendingCount, leaseUntil: leaseUntil, draw: draw,
            appIndex: index
        )
        tickets[batch.lease] = ticket
        if batch.isAlone { alone = batch.lease }
        apps[index].waiting[Int(batch.batch.lane.rawValue)].append(ticket)
        apps[index].waitingPushes += batch.pendingCount
    }

    // MARK: Sending

    /// The batch of the app whose turn it is, if its window has room for it. A batch larger than the free window goes when
    /// nothing of its lane and the less urgent ones is in flight.
    package func first(of index: Int) -> Work? {
        guard let lane = Lane.allCases.first(where: { !apps[index].waiting[Int($0.rawValue)].isEmpty }),
            let ticket = apps[index].waiting[Int(lane.rawValue)].first, let work = works[ticket]
        else { return nil }
        let inFlight = apps[index].inFlight
        let room = limits.windowShares.room(for: lane, beside: inFlight, in: limits.windowPerApp)
        return room >= work.unanswered || inFlight.from(lane) == 0 ? work : nil
    }

    /// `first(of:)` is handed to the app's client.
    package mutating func sent(_ ticket: UInt64) {
        guard let work = leave(ticket) else { preconditionFailure("batch \(ticket) does not wait") }
        apps[work.appIndex].inFlight[work.lane] += work.unanswered
        works[ticket]!.isSent = true
    }

    /// Takes a batch out of the waiting ones.
    private mutating func leave(_ ticket: UInt64) -> Work? {
        guard let work = works[ticket], !work.isSent else { return nil }
        let lane = Int(work.lane.rawValue)
        if apps[work.appIndex].waiting[lane].first == ticket {
            apps[work.appIndex].waiting[lane].removeFirst()
        } else {
            apps[work.appIndex].waiting[lane].removeAll { $0 == ticket }
        }
        apps[work.appIndex].waitingPushes -= work.unanswered
        return work
    }

    /// Keeps of a waiting batch the pushes `pending`; the others are the store's again when the batch is given back.
    package mutating func narrow(_ ticket: UInt64, to pending: [PendingPush]) {
        guard let work = works[ticket], !work.isSent else { preconditionFailure("batch \(ticket) does not wait") }
        let gone = work.unanswered - pending.count
        precondition(!pending.isEmpty && gone >= 0, "\(pending.count) of \(work.unanswered) pushes")
        works[ticket]!.claimed.pending = pending
        works[ticket]!.unanswered = pending.count
        apps[work.appIndex].waitingPushes -= gone
        give(back: gone, of: work.appIndex, work.lane)
    }

    /// Pushes of a sent batch are decided: answered, or expired before they left.
    ///
    /// - Returns: the work, and whether that was all of it; nil when the batch is no longer ours (a late answer).
    package mutating func decided(_ count: Int, of ticket: UInt64) -> (work: Work, isDone: Bool)? {
        guard var work = works[ticket] else { return nil }
        precondition(work.isSent && count <= work.unanswered, "\(count) answers, \(work.unanswered) were open")
        work.unanswered -= count
        apps[work.appIndex].inFlight[work.lane] -= count
        works[ticket] = work
        guard work.unanswered == 0 else { return (work, false) }
        settle(work)
        return (work, true)
    }

    /// A batch that waits goes back to the store.
    package mutating func release(_ ticket: UInt64) -> Work? {
        guard let work = leave(ticket) else { return nil }
        settle(work)
        return work
    }

    private mutating func settle(_ work: Work) {
        works[work.ticket] = nil
        tickets[work.claimed.lease] = nil
        settling[work.claimed.lease] = Settling(
            ticket: work.ticket, appIndex: work.appIndex, lane: work.lane, pushes: work.claimed.pendingCount
        )
    }

    package func work(_ ticket: UInt64) -> Work? { works[ticket] }

    /// The batches that wait, oldest first.
    package func waiting(where isWanted: (Work) -> Bool) -> [UInt64] {
        works.values.filter { !$0.isSent && isWanted($0) }.map(\.ticket).sorted()
    }

    /// The store has confirmed the end of these batches: their room is free.
    package mutating func settled(_ leases: [Lease]) {
        for lease in leases {
            guard let room = settling.removeValue(forKey: lease) else { continue }
            if alone == lease { alone = nil }
            give(back: room.pushes, of: room.appIndex, room.lane)
        }
    }

    // MARK: Leases

    /// Every batch that is still ours, settling ones included: their outcomes need the lease until they are durable.
    package var leases: [Lease] {
        // In the order of their claims, so that the same events always lead to the same calls.
        (tickets.map { ($0.value, $0.key) } + settling.map { ($0.value.ticket, $0.key) })
            .sorted { $0.0 < $1.0 }.map { $0.1 }
    }

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
            guard let ticket = tickets[lease], let work = works[ticket] else { continue }
            if work.isSent {
                apps[work.appIndex].inFlight[work.lane] -= work.unanswered
            } else {
                _ = leave(ticket)
            }
            tickets[lease] = nil
            works[ticket] = nil
            if alone == lease { alone = nil }
            give(back: work.claimed.pendingCount, of: work.appIndex, work.lane)
            unfinished += 1
        }
        return unfinished
    }

    // MARK: The end

    /// Claims and reservations stop.
    package mutating func drain() { isDraining = true }

    package var hasUnanswered: Bool { works.values.contains(where: \.isSent) }
    package var isEmpty: Bool { works.isEmpty && settling.isEmpty }
    package var pushesInMemory: Int { pushes.total }
    package var pushesInFlight: Int { apps.reduce(0) { $0 + $1.inFlight.total } }
    package func pushesWaiting(of index: Int) -> Int { apps[index].waitingPushes }
}
