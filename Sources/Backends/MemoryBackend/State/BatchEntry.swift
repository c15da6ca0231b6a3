import APNSWire
import PushModel
import PushStore

/// A batch in the store, from its append until its record is pruned.
struct BatchEntry: Sendable {
    enum Phase: Sendable, Equatable {
        /// Claimable from `due` on.
        case waiting(due: WallTime)
        /// `hasUpdate`: the holder recorded something, so its death is not held against the batch.
        case leased(owner: Int, deadline: Duration, hasUpdate: Bool)
        /// Every push is settled.
        case ended(at: WallTime)
    }

    /// Whether a batch is claimed whole.
    enum Standing: Sendable, Hashable {
        case ordinary
        /// Its holders died too often: its pushes are claimed in groups, apart from other batches.
        case quarantined
        /// A holder died over such a group: its pushes are claimed one at a time.
        case isolated
    }

    /// The last record of a push.
    enum Update: Sendable {
        case outcome(Outcome, at: WallTime)
        case retry(Retry, at: WallTime)
        case replay(at: WallTime)
    }

    /// Ascending in the order of appends.
    let key: Int
    let id: BatchID
    let appLane: AppLane
    let requestID: String?
    let acceptedAt: WallTime
    /// For searches.
    let details: RecordDetails
    /// As it was appended; nil once it has ended and none of its pushes is a dead letter.
    var batch: Batch?
    var ledger: BatchLedger
    var phase: Phase
    /// When its first unsettled push expires, or earlier.
    var deadline: WallTime
    /// Counts the leases.
    var epoch: UInt64 = 0
    /// The number of the last settlement of the lease with this epoch.
    var settlementNumber: UInt64 = 0
    /// The instance that has the last lease.
    private(set) var owner = 0
    /// The last lease ran out and no other instance has claimed the batch: its holder may still write and renew.
    var isLapsed = false
    /// The epoch under which a holder last began to send.
    private(set) var begunEpoch: UInt64 = 0
    /// Leases without an update whose holder had begun to send and died.
    var crashes = 0
    /// The push that was last claimed alone, and how many of its holders died.
    var isolated: (index: Int, crashes: Int)?
    /// Pushes with a collapse ID, ascending; empty once the batch has ended.
    var collapsible: [CollapsiblePush]
    /// How many of its pushes are dead letters.
    var letters = 0
    /// By index; empty until the first update.
    private(set) var updates: [Update?] = []

    init(_ batch: Batch, key: Int, tokenHashKey: TokenHashKey, policy: DeliveryPolicy) {
        self.key = key
        deadline = Deadlines(of: batch, policy: policy).earliest
        details = RecordDetails(of: batch, key: tokenHashKey)
        self.batch = batch
        id = batch.id
        appLane = AppLane(batch.appEnvironment, lane: batch.lane)
        requestID = batch.requestID
        acceptedAt = batch.acceptedAt
        ledger = BatchLedger(count: batch.count, acceptedAt: batch.acceptedAt, dueTimes: batch.dueTimes)
        phase = .waiting(due: batch.firstDue)
        collapsible = CollapsiblePush.all(of: batch)
    }

    var standing: Standing {
        if crashes < PoisonLimits.redeliveriesBeforeQuarantine { return .ordinary }
        return crashes == PoisonLimits.redeliveriesBeforeQuarantine ? .quarantined : .isolated
    }

    var isWaiting: Bool { if case .waiting = phase { true } else { false } }
    var isLeased: Bool { if case .leased = phase { true } else { false } }
    var isEnded: Bool { if case .ended = phase { true } else { false } }

    /// About how many bytes it takes.
    var bytes: Int {
        (batch.map(\.notifications.byteCount) ?? 0)
            + ledger.count * (MemoryLayout<Update?>.stride + MemoryLayout<UInt32>.stride)
    }

    /// Whether its holder may write: it has not ended, and no later lease was given.
    func isHeld(under lease: Lease) -> Bool {
        epoch == lease.epoch && (isLeased || isWaiting && isLapsed)
    }

    mutating func lease(to owner: Int, until deadline: Duration) {
        epoch += 1
        settlementNumber = 0
        self.owner = owner
        isLapsed = false
        phase = .leased(owner: owner, deadline: deadline, hasUpdate: false)
    }

    mutating func begin(_ lease: Lease) {
        if epoch == lease.epoch { begunEpoch = epoch }
    }

    /// Ends a lease whose holder did not give it back.
    mutating func lapse(mayReturn: Bool) {
        guard case .leased(_, _, let hasUpdate) = phase else { return }
        if !hasUpdate, begunEpoch == epoch {
            crashes += 1
            isolated?.crashes += 1
        }
        isLapsed = mayReturn
        wait()
    }

    /// Makes the batch claimable when its first unsettled push is due; does nothing when it has ended.
    mutating func wait(notBefore: WallTime? = nil) {
        guard !isEnded else { return }
        let due = ledger.nextDue
        phase = .waiting(due: notBefore.map { max($0, due) } ?? due)
    }

    func claimed(pending: [PendingPush]?, isQuarantined: Bool = false) -> ClaimedBatch? {
        batch.map {
            ClaimedBatch(
                lease: Lease(batch: id, epoch: epoch), batch: ledger.restartingLifetimes(of: $0), pending: pending,
                isQuarantined: isQuarantined
            )
        }
    }

    /// Keeps the last record of each push.
    mutating func note(_ update: BatchUpdate) {
        if updates.isEmpty { updates = Array(repeating: nil, count: ledger.count) }
        for index in update.replays { updates[Int(index)] = .replay(at: update.at) }
        for retry in update.retries { updates[Int(retry.index)] = .retry(retry, at: update.at) }
        for outcome in update.outcomes { updates[Int(outcome.index)] = .outcome(outcome, at: update.at) }
    }
}
