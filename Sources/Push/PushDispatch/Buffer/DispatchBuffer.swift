import APNSWire
import DequeModule
package import PushModel
package import PushStore

/// What is in memory, what is on its way, and what goes next. Pure: no clock, no I/O.
///
/// Each app has a window of pushes that its APNs client may hold; what is claimed beyond it waits here, urgent lanes
/// first, so that an urgent push never stands behind a bulk backlog inside the client. Each app has a share of the
/// room, smaller the more apps have work, so that no number of apps whose APNs side stands still can fill the memory and
/// stop the others; and of each share the less urgent lanes may fill a part only.
package struct DispatchBuffer {
    struct AppState {
        let id: AppID
        /// Room taken, reservations included.
        var pushes = LaneCounts()
        var inFlight = LaneCounts()
        /// Of these, pushes that are dropped when unanswered.
        var inFlightOnce = 0
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
    var apps: [AppState] = []
    private var indexes: [AppID: Int] = [:]
    var works: [UInt64: Work] = [:]
    var tickets: [Lease: UInt64] = [:]
    /// Done with here, but the store has not confirmed it yet: their room is still taken.
    private var settling: [Lease: Settling] = [:]
    var nextTicket: UInt64 = 1
    var pushes = LaneCounts()
    /// Apps that have room taken.
    var activeApps = 0
    /// The batches in memory that are suspected of killing their holder.
    private(set) var quarantined: Set<Lease> = []
    /// How many of their pushes are tried at once. What we survived proves that we may dare more; who is born anew, perhaps
    /// after a death, begins with one.
    private(set) var quarantinedMax = 1
    package internal(set) var isDraining = false

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

    // MARK: Sending

    /// The batch of the app whose turn it is, if its window has room for it. A batch larger than the free window goes when
    /// nothing of its lane and the less urgent ones is in flight.
    package func first(of index: Int) -> Work? {
        guard let lane = Lane.allCases.first(where: { !apps[index].waiting[Int($0.rawValue)].isEmpty }),
            let ticket = apps[index].waiting[Int(lane.rawValue)].first, let work = works[ticket]
        else { return nil }
        let inFlight = apps[index].inFlight
        let capacity = limits.windowShares.capacity(for: lane, beside: inFlight, in: limits.windowPerApp)
        return capacity >= work.unanswered || inFlight.from(lane) == 0 ? work : nil
    }

    /// `first(of:)` is handed to the app's client.
    package mutating func sent(_ ticket: UInt64) {
        guard let work = leave(ticket) else { preconditionFailure("batch \(ticket) does not wait") }
        apps[work.appIndex].inFlight[work.lane] += work.unanswered
        if work.isOnce { apps[work.appIndex].inFlightOnce += work.unanswered }
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
        if work.isOnce { apps[work.appIndex].inFlightOnce -= count }
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
            guard let capacity = settling.removeValue(forKey: lease) else { continue }
            cleared(lease)
            give(back: capacity.pushes, of: capacity.appIndex, capacity.lane)
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
                if work.isOnce { apps[work.appIndex].inFlightOnce -= work.unanswered }
            } else {
                _ = leave(ticket)
            }
            tickets[lease] = nil
            works[ticket] = nil
            cleared(lease)
            give(back: work.claimed.pendingCount, of: work.appIndex, work.lane)
            unfinished += 1
        }
        return unfinished
    }

    // MARK: Suspects

    /// Suspects that were not sent, oldest first.
    var quarantinedWaiting: [UInt64] {
        quarantined.compactMap { tickets[$0] }.filter { works[$0]?.isSent == false }.sorted()
    }

    mutating func quarantined(_ lease: Lease) { quarantined.insert(lease) }

    /// A batch is out of our hands, and we live.
    private mutating func cleared(_ lease: Lease) {
        guard quarantined.remove(lease) != nil, quarantined.isEmpty else { return }
        quarantinedMax = min(2 * quarantinedMax, NotificationBatch.countMax)
    }

    // MARK: The end

    /// Claims and reservations stop.
    package mutating func drain() { isDraining = true }

    package var hasUnanswered: Bool { works.values.contains(where: \.isSent) }
    package var isEmpty: Bool { works.isEmpty && settling.isEmpty }
    package var pushesInMemory: Int { pushes.total }
    package var pushesInFlight: Int { apps.reduce(0) { $0 + $1.inFlight.total } }
    package func pushesWaiting(of index: Int) -> Int { apps[index].waitingPushes }
    /// Pushes on their way that are dropped when unanswered.
    package func pushesOnce(of index: Int) -> Int { apps[index].inFlightOnce }
}
