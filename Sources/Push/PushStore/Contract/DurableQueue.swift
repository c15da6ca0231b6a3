package import PushModel

/// Where batches wait. Every backend passes `QueueConformance`.
///
/// One instance of this type stands for one instance of the gateway: what it claims, it owns.
package protocol DurableQueue: Sendable {
    /// Makes batches durable.
    ///
    /// Returns once they would survive a crash of this process and of its machine; all of them or, on an error, none.
    /// `unavailable` with `isOutcomeKnown == false` is the exception: then they may be there all the same.
    ///
    /// - Returns: parallel to `batches`: the lease of each batch that was claimed by the same write, else nil.
    func append(_ batches: [NewBatch]) async throws(QueueError) -> [Lease?]

    /// Claims batches that are due: by lane, urgent first; within a lane the apps take turns by deficit round robin in
    /// pushes, from one claim to the next; within an app the oldest first.
    ///
    /// A batch whose leases ended `redeliveriesBeforeQuarantine` times without news, because their holders died, is suspected of
    /// killing them. Its pushes are handed out apart from others, `isQuarantined`: as many as the request allows, the apps taking
    /// turns. When a holder dies over such a piece, its batches are tried one push at a time from then on, with no other
    /// suspect beside it; a push that kills its holder alone `isolatedRedeliveriesMax` times is given up as poison, and kept
    /// as a dead letter.
    ///
    /// Each is ours for `lease`, measured by the store's own clock; nobody else gets it before then. What comes back
    /// holds only the pushes that are unsettled *and* due; if none of a batch's pushes is due, it is not claimed.
    ///
    /// - Returns: at most `request.batchesMax`, for which all suspects together count as one; empty is normal.
    func claim(_ request: ClaimRequest) async throws(QueueError) -> [ClaimedBatch]

    /// Extends leases that are still ours, each to `duration` from now.
    ///
    /// - Returns: the leases that are lost: run out and taken by another, or settled.
    func renew(_ leases: [Lease], for duration: Duration) async throws(QueueError) -> [Lease]

    /// Records outcomes and retries, and gives leases back, in one durable write for all of them.
    ///
    /// A batch whose every push has an outcome is finished: it leaves the queue, its outcomes stay. A settlement
    /// under a lease that is no longer ours (fencing: its epoch was overtaken) changes nothing and is returned. An
    /// outcome for a push that has one already is ignored: a verdict never changes.
    ///
    /// - Returns: the leases whose settlements were refused as stale.
    func settle(_ settlements: [Settlement]) async throws(QueueError) -> [Lease]

    /// How much waits; cheap enough to be asked every few seconds.
    func depth() async throws(QueueError) -> QueueDepth
}

/// A batch to be appended.
package struct NewBatch: Sendable {
    package var batch: Batch
    /// Claim it in the same write, for this long: the hot hand-off. Its dispatcher has it in memory already.
    /// Ignored for a batch whose `notBefore` lies ahead, and for one of a paused app.
    package var claim: Duration?

    package init(batch: Batch, claim: Duration? = nil) {
        self.batch = batch
        self.claim = claim
    }
}

/// Where a batch waits.
package struct AppLane: Sendable, Hashable {
    package var app: AppID
    package var lane: Lane

    package init(app: AppID, lane: Lane) {
        self.app = app
        self.lane = lane
    }
}

package struct ClaimRequest: Sendable {
    /// 1...1,000.
    package var batchesMax: Int
    package var lease: Duration
    /// Apps whose batches stay where they are, for example because their breaker is open. Paused apps are left out
    /// without being named.
    package var excludedApps: Set<AppID>
    /// The same for single lanes of an app: there is no room for them now.
    package var excludedLanes: Set<AppLane>
    /// How many pushes of suspected batches may be among them, `isQuarantined`. Its holder asks for more only when it has none,
    /// so that a death tells who is under suspicion; 1: if the holder dies, it counts as a death over that push alone.
    package var quarantinedMax: Int
    /// Apps whose suspects are not tried now.
    package var excludedQuarantined: Set<AppID>

    package init(
        batchesMax: Int, lease: Duration, excludedApps: Set<AppID> = [], excludedLanes: Set<AppLane> = [],
        quarantinedMax: Int = 1, excludedQuarantined: Set<AppID> = []
    ) {
        self.batchesMax = batchesMax
        self.lease = lease
        self.excludedApps = excludedApps
        self.excludedLanes = excludedLanes
        self.quarantinedMax = quarantinedMax
        self.excludedQuarantined = excludedQuarantined
    }
}

/// How often a batch, and a push alone, may see its holder die.
package enum PoisonLimits {
    /// Leases of a whole batch that ended without news because their holder died, before its pushes are tried apart. A batch
    /// with more has seen its holder die then, too: its pushes are tried alone.
    package static let redeliveriesBeforeQuarantine = 3
    /// The same for a push that is tried alone, before it is given up. Not 1: a kill by chance is no proof.
    package static let isolatedRedeliveriesMax = 2
}

/// The right to work on a batch for a while. A later claim has a higher epoch, and the store refuses lower ones.
package struct Lease: Sendable, Hashable {
    package var batch: BatchID
    package var epoch: UInt64

    package init(batch: BatchID, epoch: UInt64) {
        self.batch = batch
        self.epoch = epoch
    }
}

package struct ClaimedBatch: Sendable {
    package var lease: Lease
    package var batch: Batch
    /// The pushes that are due, by index, ascending; nil: all of them, never tried.
    package var pending: [PendingPush]?
    /// Pushes of a batch that is suspected of killing its holder.
    package var isQuarantined: Bool

    package init(lease: Lease, batch: Batch, pending: [PendingPush]? = nil, isQuarantined: Bool = false) {
        self.lease = lease
        self.batch = batch
        self.pending = pending
        self.isQuarantined = isQuarantined
    }

    package var pendingCount: Int { pending?.count ?? batch.count }
}

/// News of one batch.
package struct Settlement: Sendable, Equatable {
    package enum Release: Sendable, Equatable {
        /// We go on working on it.
        case keep
        /// The batch becomes claimable again when the first of its unsettled pushes is due. A push without a
        /// recorded retry is due at once.
        case release
        /// The same, but not before a moment: nothing has become of the pushes, and it is not their turn yet.
        case postpone(until: WallTime)

        /// Whether the lease ends.
        package var isEnd: Bool { self != .keep }
    }

    package var lease: Lease
    package var outcomes: [Outcome]
    package var retries: [Retry]
    /// Pushes that are about to be sent, by index: once this is durable, whoever claims them finds them `isUnanswered`,
    /// until an outcome or a retry is recorded.
    package var sends: [UInt16]
    package var release: Release
    /// When it happened.
    package var at: WallTime

    package init(
        lease: Lease, outcomes: [Outcome] = [], retries: [Retry] = [], sends: [UInt16] = [], release: Release = .keep,
        at: WallTime
    ) {
        self.lease = lease
        self.outcomes = outcomes
        self.retries = retries
        self.sends = sends
        self.release = release
        self.at = at
    }
}

package struct QueueDepth: Sendable, Equatable {
    package struct Row: Sendable, Equatable {
        package var app: AppID
        package var lane: Lane
        /// Batches in the queue, claimed ones included.
        package var batches: Int
        /// Their unsettled pushes.
        package var pushes: Int

        package init(app: AppID, lane: Lane, batches: Int, pushes: Int) {
            self.app = app
            self.lane = lane
            self.batches = batches
            self.pushes = pushes
        }
    }

    package var rows: [Row]
    /// By app: since when the batch that is due and unclaimed for the longest has been due. Paused apps, and batches that
    /// are suspected of killing their holders, are left out: their age tells nothing of the load.
    package var oldestDue: [AppID: WallTime]

    package init(rows: [Row] = [], oldestDue: [AppID: WallTime] = [:]) {
        self.rows = rows
        self.oldestDue = oldestDue
    }

    package var pushes: Int { rows.reduce(0) { $0 + $1.pushes } }
    package var pushesByApp: [AppID: Int] { rows.reduce(into: [:]) { $0[$1.app, default: 0] += $1.pushes } }
}

/// The store could not do it. Nothing was changed, except where a case says so.
package enum QueueError: Error, Equatable, CustomStringConvertible {
    /// It did not answer, or answered with a passing error. `isOutcomeKnown` false: the write may have happened.
    case unavailable(String, isOutcomeKnown: Bool)
    /// No room: disk, quota or limit. Nothing was written.
    case full(String)
    /// The store is damaged or a sync failed: this process must not take new pushes.
    case broken(String)
    case closed

    /// Whether the same call may succeed later.
    package var isPassing: Bool {
        switch self {
        case .unavailable, .full: true
        case .broken, .closed: false
        }
    }

    package var description: String {
        switch self {
        case .unavailable(let why, _): "the queue is unavailable: \(why)"
        case .full(let why): "the queue is full: \(why)"
        case .broken(let why): "the queue is broken: \(why)"
        case .closed: "the queue is closed"
        }
    }
}

/// Where batches go that were claimed by the write that made them durable: the hot hand-off from accept to dispatch.
package protocol DirectHandoff: Sendable {
    /// Sets room aside for a batch of `pushes` of `app` in `lane`.
    ///
    /// To be asked before the write: the lease is counted from here on, so that a process that stood still meanwhile does
    /// not take it for longer than the store does.
    ///
    /// - Returns: nil when there is none, or when older batches of the app wait in the store that are at least as urgent
    ///   and must go first; then the batch is to be appended unclaimed.
    func reserve(pushes: Int, for app: AppID, lane: Lane) -> HandoffReservation?
    /// Gives back room that is not needed after all.
    func cancel(_ capacity: HandoffReservation)
    /// Hands over a claimed batch for which room was reserved.
    func deliver(_ batch: ClaimedBatch, to capacity: HandoffReservation)
    /// An unclaimed batch of `app` was appended: look for it.
    func notifyBacklog(of app: AppID, lane: Lane)
}

/// Room that was set aside for a batch; given back by `cancel`, or used up by `deliver`.
package struct HandoffReservation: Sendable, Equatable {
    package let app: AppID
    package let lane: Lane
    package let pushes: Int
    /// When it was asked for, by the monotonic clock.
    package let since: Duration

    package init(app: AppID, lane: Lane, pushes: Int, since: Duration) {
        self.app = app
        self.lane = lane
        self.pushes = pushes
        self.since = since
    }
}
