package import PushModel

/// The queue of accepted pushes. Every backend passes `QueueConformance`.
///
/// One instance of this type belongs to one gateway instance and holds the leases of what it claims.
package protocol DurableQueue: Sendable {
    /// Makes batches durable.
    ///
    /// Returns once the batches are safe from a crash of the process and of the machine. Stores all of them or, on an
    /// error, none; after `unavailable` with `isOutcomeKnown == false` they may be stored nevertheless.
    ///
    /// - Returns: parallel to `batches`: the lease of each batch that the same write claimed, otherwise nil.
    func append(_ batches: [NewBatch]) async throws(QueueError) -> [Lease?]

    /// Claims due batches under a lease of `request.lease`, measured by the store's own clock.
    ///
    /// Order: by lane, urgent first; within a lane by deficit round robin between the apps, counted in pushes and
    /// continued from one claim to the next; within an app the oldest first. Each environment of an app counts as an
    /// app. A batch is claimed when an unsettled push of it is due. It lists its unsettled pushes that are due within
    /// `request.lookahead`, which the holder sends when they are due; of a batch with a collapse ID those that are due
    /// already, because a newer push replaces an older one only while that one waits.
    ///
    /// Poison: a batch is quarantined after `redeliveriesBeforeQuarantine` leases that ended with a crash of the holder
    /// after it had `begun`, and without an update. Its pushes are claimed apart from ordinary batches (`isQuarantined`), at most
    /// `request.quarantinedMax` per claim and of one app, with the apps in turn. If a holder crashes during such a
    /// trial, the batches of the trial are claimed one push at a time from then on, without other quarantined pushes. A
    /// push whose holder crashes `isolatedRedeliveriesMax` times while it is tried alone is given up as poison and kept
    /// as a dead letter.
    ///
    /// Damage: a batch whose stored bytes, or those of its progress, are not the ones that were written, is not
    /// returned. Its pushes without a readable outcome are given up as `storedDataDamaged`: some may have been sent.
    ///
    /// - Returns: at most `request.batchesMax` batches, where all quarantined ones together count as one, with at most
    ///   `request.pushesMax` pushes. May be empty.
    func claim(_ request: ClaimRequest) async throws(QueueError) -> [ClaimedBatch]

    /// Notes that the holder begins to send pushes of these batches, before it does. Otherwise the end of a lease with a
    /// crash shows nothing about its pushes, which only waited in memory, and does not count as one.
    ///
    /// Cheap and without a wait: under 100 ns a batch. The note survives a crash of the process, not always one of the
    /// machine.
    func begun(_ leases: [Lease])

    /// Extends leases of this instance that are still valid to `duration` from now.
    ///
    /// - Returns: the lost leases: expired and overtaken, settled, or held by another instance.
    func renew(_ leases: [Lease], for duration: Duration) async throws(QueueError) -> [Lease]

    /// Records outcomes, retries and announced sends, and ends leases, in one durable write.
    ///
    /// A batch whose pushes all have an outcome leaves the queue; its outcomes stay. A settlement under a lease that
    /// was overtaken changes nothing (fencing). An outcome for a push that already has one is ignored: a verdict never
    /// changes. A settlement that is repeated because its response was lost counts once: its `number` is not
    /// above that of the last one that was recorded under the lease.
    ///
    /// - Returns: the stale leases, whose settlements were refused.
    func settle(_ settlements: [Settlement]) async throws(QueueError) -> [Lease]

    /// The batches and pushes that wait. Cheap enough for a call every second.
    func depth() async throws(QueueError) -> QueueDepth
}

/// A queue that appends without a task, for callers to which the hops between threads matter.
package protocol CompletionQueue: DurableQueue {
    /// - Parameter completion: called once, on any thread, perhaps before the call returns. It must not wait.
    func append(_ batches: [NewBatch], completion: @escaping @Sendable (Result<[Lease?], QueueError>) -> Void)
}

/// A batch to be appended.
package struct NewBatch: Sendable {
    package var batch: Batch
    /// Claims the batch for this long in the same write (direct hand-off): its dispatcher already has it in memory.
    /// Ignored if a push is not due yet or the app is paused.
    package var claim: Duration?

    package init(batch: Batch, claim: Duration? = nil) {
        self.batch = batch
        self.claim = claim
    }
}

package struct QueueDepth: Sendable, Equatable {
    package struct Row: Sendable, Equatable {
        package var app: AppID
        package var lane: Lane
        /// Batches in the queue, claimed ones included.
        package var batches: Int
        /// Unsettled pushes of these batches.
        package var pushes: Int

        package init(app: AppID, lane: Lane, batches: Int, pushes: Int) {
            self.app = app
            self.lane = lane
            self.batches = batches
            self.pushes = pushes
        }
    }

    package var rows: [Row]
    /// By app: the earliest due time of an unclaimed batch that is due. Without paused apps and quarantined batches:
    /// their age does not indicate load.
    package var oldestDue: [AppID: WallTime]

    package init(rows: [Row] = [], oldestDue: [AppID: WallTime] = [:]) {
        self.rows = rows
        self.oldestDue = oldestDue
    }

    /// Adds to the row of an app and lane. The rows stay in the order of lanes and apps.
    package mutating func add(batches: Int, pushes: Int, of appLane: AppLane) {
        let index =
            rows.firstIndex { ($0.lane, $0.app) >= (appLane.lane, appLane.app) } ?? rows.endIndex
        if index == rows.endIndex || rows[index].lane != appLane.lane || rows[index].app != appLane.app {
            rows.insert(Row(app: appLane.app, lane: appLane.lane, batches: 0, pushes: 0), at: index)
        }
        rows[index].batches += batches
        rows[index].pushes += pushes
    }

    package var pushes: Int { rows.reduce(0) { $0 + $1.pushes } }
    package var pushesByApp: [AppID: Int] { rows.reduce(into: [:]) { $0[$1.app, default: 0] += $1.pushes } }
}
