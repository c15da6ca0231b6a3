import Foundation
import GRDB
import PushModel
import PushStore

/// A claimed batch with its stored bytes. The caller decodes it, outside of the writer.
struct EncodedClaim: Sendable {
    let batch: QueuedBatch
    let body: Data
    /// nil: all pushes, and none was tried before.
    let pending: [PendingPush]?
    let isQuarantined: Bool
    /// False if an update cannot be read, so that it is unknown which of the pushes are settled.
    let isProgressReadable: Bool

    var lease: Lease { batch.lease }
    /// What ends the batch if it cannot be decoded.
    var unreadable: [Outcome] { batch.ledger.unreadable() }

    /// nil if the batch cannot be read.
    func decode() -> ClaimedBatch? {
        guard isProgressReadable, let stored = try? BatchCodec.decode(body), stored.id == batch.id else { return nil }
        // The row overrides the body: a replay moves the time from which the lifetime counts.
        let dueTimes = PushColumn(shared: batch.notBefore)
        let decoded = stored.dueTimes == dueTimes ? stored : stored.scheduled(dueTimes)
        return ClaimedBatch(lease: lease, batch: decoded, pending: pending, isQuarantined: isQuarantined)
    }
}

/// Claims due batches. The cost depends on the number of apps and of claimed batches, not on the backlog.
struct Claim {
    struct Result: Sendable {
        var claims: [EncodedClaim] = []
        /// Pushes that this claim gave up as poison.
        var poison: [PushID] = []
        /// The number of batches that waited because the clock moved backwards.
        var rescheduled = 0
    }

    let db: Database
    let request: ClaimRequest
    let bytesMax: Int
    let wall: WallTime
    let monotonic: Duration

    func run(_ state: inout QueueState) throws -> Result {
        try releaseExpired(&state)
        var result = Result()
        result.rescheduled = try ClockSetBack(db: db, now: wall).run(&state)
        let quarantined = try claimQuarantined(&result, &state)
        // The quarantined batches count as one: together they have at most as many pushes as one batch.
        let batchesMax = request.batchesMax - (quarantined.isEmpty ? 0 : 1)
        var bytes = 0
        for lane in Lane.allCases where result.claims.count < batchesMax {
            let apps = state.claimableApps(in: lane, request)
            var batchesByApp: [AppEnvironment: DueBatches] = [:]
            while result.claims.count < batchesMax, bytes < bytesMax {
                let app = try state.turns[Int(lane.rawValue)].next(among: apps) { app in
                    let appLane = AppLane(app, lane: lane)
                    return try batchesByApp[app, default: DueBatches(appLane: appLane, until: wall)].first(db)?
                        .storedUnsettled
                }
                guard let app, let batch = batchesByApp[app]?.popFirst() else { break }
                guard let claim = try claim(batch, &state) else { continue }
                bytes += claim.body.count
                result.claims.append(claim)
            }
        }
        result.claims += quarantined
        return result
    }

    /// Ends leases whose deadline has passed.
    private func releaseExpired(_ state: inout QueueState) throws {
        guard state.earliestDeadline <= monotonic else { return }
        let release = try db.cachedStatement(sql: QueueState.endLeases + " WHERE key = ?")
        var earliest = Duration.seconds(Int64.max)
        for (id, held) in state.held.current {
            if held.deadline <= monotonic {
                try release.execute(arguments: [held.batch.key])
                state.held[id] = nil
            } else {
                earliest = min(earliest, held.deadline)
            }
        }
        state.earliestDeadline = earliest
    }

    /// - Returns: nil if none of the pushes is due; the batch then waits for the first one that will be.
    private func claim(_ queued: QueuedBatch, _ state: inout QueueState) throws -> EncodedClaim? {
        var batch = queued
        let isReadable = try batch.applyUpdates(db)
        let pending = batch.progressRows > 0 ? batch.ledger.pending(at: wall) : nil
        if let pending, pending.isEmpty, isReadable {
            try batch.updateWaiting(db)
            return nil
        }
        batch.epoch += 1
        try db.cachedStatement(sql: "UPDATE batches SET leased = 1, epoch = ? WHERE key = ?")
            .execute(arguments: [Int64(batch.epoch), batch.key])
        return try hold(batch, pending, isReadable: isReadable, &state)
    }

    func hold(
        _ batch: QueuedBatch, _ pending: [PendingPush]?, isQuarantined: Bool = false, isReadable: Bool,
        _ state: inout QueueState
    ) throws -> EncodedClaim {
        let body = try Data.fetchOne(
            db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?"), arguments: [batch.key]
        )
        state.hold(QueueState.Held(batch: batch, deadline: monotonic + request.lease))
        return EncodedClaim(
            batch: batch, body: body ?? Data(), pending: pending, isQuarantined: isQuarantined,
            isProgressReadable: isReadable
        )
    }
}
