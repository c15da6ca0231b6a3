import APNSWire
import DequeModule
package import PushModel
package import PushStore

// The buffer keeps the claimed batches of an instance and accounts for capacity, windows and backlogs:
//
//      store ── claim ──► ┌──────────────── capacity (memory) ────────────────┐
//                         │  reserved    waiting, by lane      window         │
//      accept ─ reserve ─►│  ░░░░░░░░    urgent ▓▓         ┌─────────────┐    │
//             └ hand-off ►│              normal ▓▓▓▓▓   ──►│  in flight  │────┼──► answered
//                         │              bulk   ▓▓▓▓▓▓▓▓   └─────────────┘    │        │
//                         │  settling ▒▒▒▒ ◄──────────────────────────────────┼────────┘
//                         └─────┼─────────────────────────────────────────────┘
//                               └── settled: the store has recorded the end, the capacity is free
//
// - Capacity limits the pushes in memory. Each app has a share; it shrinks as more apps have work, and one share always
//   stays free for an app that has none in memory. So apps whose pushes cannot be sent never fill the memory. A batch
//   occupies capacity from its reservation or claim until the store has recorded its end.
// - The window limits the pushes of an app that its APNs client holds. Batches beyond it wait here, the most urgent
//   lane first, so an urgent push never waits behind a bulk backlog inside the client.
// - The backlog of an app is the set of lanes of which older batches may wait in the store. A lane with a backlog, and
//   the less urgent lanes, get no direct hand-off, so that new batches do not overtake older ones.
//
// Of capacity and window, the less urgent lanes may fill a part only (`LaneShares`). Quarantined batches have one more
// limit, the trial size: only one trial is in memory at a time.

/// The batches in memory, their order, and the capacity that they occupy. Pure: no clock, no I/O.
package struct DispatchBuffer {
    struct AppState {
        let id: AppID
        /// Occupied capacity, reservations included.
        var pushes = LaneCounts()
        var inFlight = LaneCounts()
        /// Of these, at-most-once pushes.
        var inFlightAtMostOnce = 0
        /// Pushes in `waiting`.
        var waitingPushes = 0
        var waiting: [Deque<UInt64>] = Array(repeating: [], count: Lane.allCases.count)
        /// Lanes of which older batches may wait in the store.
        var backlog = LaneSet.all
        /// Lanes added to `backlog` since the last plan; the current claim may not return their batches.
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
    /// Batches whose last settlement the store has not recorded yet; they occupy capacity.
    private var settling: [Lease: Settling] = [:]
    var nextTicket: UInt64 = 1
    var pushes = LaneCounts()
    /// Apps that occupy capacity.
    var activeApps = 0
    /// The quarantined batches in memory: the current trial.
    private(set) var quarantined: Set<Lease> = []
    /// Pushes in the next trial. Doubles after each trial that completes, and restarts at one when the process
    /// restarts.
    private(set) var trialSize = 1
    package internal(set) var isDraining = false

    package init(limits: Limits = Limits()) {
        self.limits = limits
    }

    // MARK: Apps

    /// The app's index, which never changes. An app is added on its first use.
    package mutating func index(of app: AppID) -> Int {
        if let index = indexes[app] { return index }
        indexes[app] = apps.count
        apps.append(AppState(app))
        return apps.count - 1
    }

    /// The app's index; nil if the app has not been used.
    package func existingIndex(of app: AppID) -> Int? { indexes[app] }
    package func app(at index: Int) -> AppID { apps[index].id }

    // MARK: Sending

    /// The app's next batch, if its window has capacity for it. A batch that is larger than its lane's share of the
    /// window may be sent when no push of its lane or a less urgent one is in flight.
    package func nextBatch(of index: Int) -> Work? {
        guard let lane = Lane.allCases.first(where: { !apps[index].waiting[Int($0.rawValue)].isEmpty }),
            let ticket = apps[index].waiting[Int(lane.rawValue)].first, let work = works[ticket]
        else { return nil }
        let inFlight = apps[index].inFlight
        let capacity = limits.windowShares.capacity(for: lane, used: inFlight, limit: limits.windowPerApp)
        return capacity >= work.unanswered || inFlight.count(atMostAsUrgentAs: lane) == 0 ? work : nil
    }

    /// The batch from `nextBatch(of:)` is handed to the app's client.
    package mutating func markSent(_ ticket: UInt64) {
        guard let work = dequeue(ticket) else { preconditionFailure("batch \(ticket) does not wait") }
        apps[work.appIndex].inFlight[work.lane] += work.unanswered
        if work.isAtMostOnce { apps[work.appIndex].inFlightAtMostOnce += work.unanswered }
        works[ticket]!.isSent = true
    }

    /// Removes a batch from its lane's queue; nil if it does not wait.
    private mutating func dequeue(_ ticket: UInt64) -> Work? {
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

    /// Keeps only the pushes `pending` of a waiting batch. The others return to the store with the end of the lease.
    package mutating func narrow(_ ticket: UInt64, to pending: [PendingPush]) {
        guard let work = works[ticket], !work.isSent else { preconditionFailure("batch \(ticket) does not wait") }
        let removed = work.unanswered - pending.count
        precondition(!pending.isEmpty && removed >= 0, "\(pending.count) of \(work.unanswered) pushes")
        works[ticket]!.claimed.pending = pending
        works[ticket]!.unanswered = pending.count
        apps[work.appIndex].waitingPushes -= removed
        releaseCapacity(removed, of: work.appIndex, work.lane)
    }

    /// Removes pushes of a sent batch that are answered, or whose send is reverted.
    ///
    /// - Returns: the batch, and whether no push is left; nil if the batch has left memory (a late answer).
    package mutating func removeAnswered(_ count: Int, of ticket: UInt64) -> (work: Work, isDone: Bool)? {
        guard var work = works[ticket] else { return nil }
        precondition(work.isSent && count <= work.unanswered, "\(count) answers, \(work.unanswered) were open")
        work.unanswered -= count
        apps[work.appIndex].inFlight[work.lane] -= count
        if work.isAtMostOnce { apps[work.appIndex].inFlightAtMostOnce -= count }
        works[ticket] = work
        guard work.unanswered == 0 else { return (work, false) }
        settle(work)
        return (work, true)
    }

    /// Ends the work on a waiting batch; nil if it does not wait.
    package mutating func release(_ ticket: UInt64) -> Work? {
        guard let work = dequeue(ticket) else { return nil }
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

    /// Tickets of the waiting batches that `isWanted` selects, oldest first.
    package func waiting(where isWanted: (Work) -> Bool) -> [UInt64] {
        works.values.filter { !$0.isSent && isWanted($0) }.map(\.ticket).sorted()
    }

    /// The store has recorded the end of these batches: their capacity is free.
    package mutating func settled(_ leases: [Lease]) {
        for lease in leases {
            guard let batch = settling.removeValue(forKey: lease) else { continue }
            endTrial(of: lease)
            releaseCapacity(batch.pushes, of: batch.appIndex, batch.lane)
        }
    }

    // MARK: Leases

    /// The leases of all batches, in the order of their claims. Includes settling ones: their outcomes need the lease
    /// until they are durable.
    package var leases: [Lease] {
        // Sorted, so that the same events always lead to the same calls.
        (tickets.map { ($0.value, $0.key) } + settling.map { ($0.value.ticket, $0.key) })
            .sorted { $0.0 < $1.0 }.map { $0.1 }
    }

    package mutating func renewed(_ leases: [Lease], until: Duration) {
        for lease in leases { if let ticket = tickets[lease] { works[ticket]!.leaseUntil = until } }
    }

    /// These leases are lost: their batches leave memory, and later answers for them are ignored.
    ///
    /// - Returns: how many of the batches had unsettled pushes. The others were settled while the store renewed, so
    ///   their leases had already ended.
    @discardableResult
    package mutating func lost(_ leases: [Lease]) -> Int {
        var unfinished = 0
        for lease in leases {
            settled([lease])
            guard let ticket = tickets[lease], let work = works[ticket] else { continue }
            if work.isSent {
                apps[work.appIndex].inFlight[work.lane] -= work.unanswered
                if work.isAtMostOnce { apps[work.appIndex].inFlightAtMostOnce -= work.unanswered }
            } else {
                _ = dequeue(ticket)
            }
            tickets[lease] = nil
            works[ticket] = nil
            endTrial(of: lease)
            releaseCapacity(work.claimed.pendingCount, of: work.appIndex, work.lane)
            unfinished += 1
        }
        return unfinished
    }

    // MARK: Quarantine

    /// Tickets of quarantined batches that wait, oldest first.
    var quarantinedWaiting: [UInt64] {
        quarantined.compactMap { tickets[$0] }.filter { works[$0]?.isSent == false }.sorted()
    }

    mutating func quarantine(_ lease: Lease) { quarantined.insert(lease) }

    /// A batch left memory without a crash. The trial completes with its last batch.
    private mutating func endTrial(of lease: Lease) {
        guard quarantined.remove(lease) != nil, quarantined.isEmpty else { return }
        trialSize = min(2 * trialSize, NotificationBatch.countMax)
    }

    // MARK: Drain

    /// Stops claims and reservations.
    package mutating func drain() { isDraining = true }

    package var hasUnanswered: Bool { works.values.contains(where: \.isSent) }
    package var isEmpty: Bool { works.isEmpty && settling.isEmpty }
    package var pushesInMemory: Int { pushes.total }
    package var pushesInFlight: Int { apps.reduce(0) { $0 + $1.inFlight.total } }
    package func pushesWaiting(of index: Int) -> Int { apps[index].waitingPushes }
    /// At-most-once pushes in flight.
    package func atMostOnceInFlight(of index: Int) -> Int { apps[index].inFlightAtMostOnce }
}
