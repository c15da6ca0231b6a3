import APNSWire
import PushModel
package import PushStore

/// A claimed batch in memory.
///
/// Each of its pushes is ready (may be sent now), held (is due later), in flight, or done: answered, settled, or left to
/// the store until the lease ends.
package struct BatchWork: Sendable {
    /// A push that is not sent before `wake`, a time of the monotonic clock.
    struct HeldPush: Sendable {
        var push: PendingPush
        var wake: Duration
    }

    /// Orders the batches of an app by their arrival.
    let key: UInt64
    package internal(set) var claimed: ClaimedBatch
    /// By ascending index; nil: all pushes of the batch, and none was tried before.
    var ready: [PendingPush]?
    var held: [HeldPush] = []
    /// Sent and not answered, or about to be sent.
    var inFlight = 0
    /// Whether at-most-once pushes wait until the store has recorded that they are about to be sent.
    var isAnnouncing = false
    /// Whether a push was handed to the client.
    var isBegun = false
    /// Whether there was a settlement under the lease, which may not be written yet.
    var hasSettlements = false
    /// The capacity that the batch occupies, in pushes.
    var occupied: Int
    /// When its first push was due at the time of the claim: the order of the store.
    let due: WallTime
    /// End of the lease, monotonic time.
    var leaseUntil: Duration
    /// 0..<1. Shared by all retries of the batch, so that they become due together.
    package let jitter: Double

    init(key: UInt64, claimed: ClaimedBatch, leaseUntil: Duration, jitter: Double) {
        self.key = key
        self.claimed = claimed
        self.leaseUntil = leaseUntil
        self.jitter = jitter
        ready = []
        occupied = claimed.pendingCount
        due = claimed.pending?.lazy.map(\.due).min() ?? claimed.batch.firstDue
    }

    var lane: Lane { claimed.batch.lane }
    /// Whether its pushes are never sent twice: those that APNs did not answer are dropped.
    var isAtMostOnce: Bool { claimed.batch.ambiguity == .drop }
    var readyCount: Int { ready?.count ?? claimed.batch.count }
    var unsentCount: Int { readyCount + held.count }
    var isFinished: Bool { unsentCount == 0 && inFlight == 0 }

    var readyPushes: [PendingPush] { ready ?? freshPushes }

    private var freshPushes: [PendingPush] {
        (0..<UInt16(claimed.batch.count)).map { PendingPush(index: $0, attempts: 0, due: claimed.batch.due(of: $0)) }
    }

    /// Divides the pushes of the claim into those to send now and those to hold.
    ///
    /// The store claims a batch when its first push is due. So that push is due whatever the clock of this process
    /// shows, and the others are due relative to it.
    func dividedByDueTime(now: Moment) -> (ready: [PendingPush]?, held: [HeldPush]) {
        guard let pending = claimed.pending, let first = pending.lazy.map(\.due).min() else { return (nil, []) }
        let wall = max(now.wall, first)
        guard pending.contains(where: { $0.due > wall }) else { return (pending, []) }
        return (
            pending.filter { $0.due <= wall },
            pending.lazy.filter { $0.due > wall }.map { HeldPush(push: $0, wake: now.monotonic + ($0.due - wall)) }
        )
    }

    /// Replaces the recorded attempts of pushes of the claim.
    mutating func setAttempts(_ pushes: [PendingPush]) {
        var pending = claimed.pending ?? freshPushes
        let positions = Dictionary(uniqueKeysWithValues: zip(pending.map(\.index), pending.indices))
        for push in pushes { pending[positions[push.index]!] = push }
        claimed.pending = pending
    }
}

extension WallTime {
    static func - (later: WallTime, earlier: WallTime) -> Duration {
        let (difference, overflow) = later.milliseconds.subtractingReportingOverflow(earlier.milliseconds)
        return .milliseconds(overflow ? (later > earlier ? Int64.max / 2 : Int64.min / 2) : difference)
    }
}
