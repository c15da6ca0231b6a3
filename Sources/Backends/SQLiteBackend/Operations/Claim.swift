import Foundation
import GRDB
import PushModel
import PushStore

/// A claimed batch as the writer hands it out; whoever claimed decodes it.
struct EncodedClaim: Sendable {
    var lease: Lease
    var body: Data
    /// nil: all pushes, never tried.
    var pending: [PendingPush]?
    var notBefore: WallTime?
    var isQuarantined = false
    /// What ends the batch if it cannot be read.
    var unreadable: [Outcome]
    /// Some news of the batch cannot be read, so nobody knows which of its pushes were settled.
    var isProgressDamaged: Bool

    /// nil when the batch cannot be read.
    func read() -> ClaimedBatch? {
        guard !isProgressDamaged, let stored = try? BatchCodec.decode(body), stored.id == lease.batch else {
            return nil
        }
        // The row knows better than the body: a replay moves the moment from which the lifetime counts.
        let batch = stored.notBefore == notBefore ? stored : stored.moved(to: notBefore)
        return ClaimedBatch(lease: lease, batch: batch, pending: pending, isQuarantined: isQuarantined)
    }
}

extension Batch {
    fileprivate func moved(to notBefore: WallTime?) -> Batch {
        Batch(
            id: id, app: app, lane: lane, acceptedAt: acceptedAt, notBefore: notBefore, notifications: notifications,
            traceparent: traceparent, requestID: requestID, ambiguity: ambiguity
        )
    }
}

/// Claims what is due. Its cost depends on the number of apps and of batches asked for, not on the backlog.
struct Claim {
    struct Result: Sendable {
        var claims: [EncodedClaim] = []
        /// Given up by this claim.
        var poison: [PushID] = []
        /// Batches waited for a clock that was set back; told once.
        var isSetBackFound = false
    }

    let db: Database
    let request: ClaimRequest
    let bytesMax: Int
    let wall: WallTime
    let monotonic: Duration

    func run(_ state: inout QueueState) throws -> Result {
        try releaseExpired(&state)
        var result = Result()
        result.isSetBackFound = try ClockSetBack(db: db, now: wall).run(&state)
        let quarantined = try claimQuarantined(&result, &state)
        // Together they have as many pushes as one batch at most.
        let batchesMax = request.batchesMax - (quarantined.isEmpty ? 0 : 1)
        var bytes = 0
        for lane in Lane.allCases where result.claims.count < batchesMax {
            let apps = state.claimableApps(in: lane, request)
            var batchesByApp: [AppID: DueBatches] = [:]
            while result.claims.count < batchesMax, bytes < bytesMax {
                let app = try state.turns[Int(lane.rawValue)].next(among: apps) { app in
                    let place = AppLane(app: app, lane: lane)
                    return try batchesByApp[app, default: DueBatches(place: place, until: wall)].first(db)?.unsettled
                }
                guard let app, let row = batchesByApp[app]?.popFirst() else { break }
                guard let claim = try claim(row, &state) else { continue }
                bytes += claim.body.count
                result.claims.append(claim)
            }
        }
        result.claims += quarantined
        return result
    }

    /// Makes claimable again what its holder has kept too long.
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

    /// - Returns: nil when none of its pushes is due after all; the batch then waits for the first that will be.
    private func claim(_ row: BatchRow, _ state: inout QueueState) throws -> EncodedClaim? {
        var batch = row.batch
        let isReadable = try batch.progressRows == 0 || batch.applyUpdates(db)
        let pending = batch.progressRows > 0 ? batch.ledger.pending(at: wall) : nil
        if let pending, pending.isEmpty, isReadable {
            try batch.updateWaiting(db)
            return nil
        }
        batch.epoch += 1
        try db.cachedStatement(sql: "UPDATE batches SET leased = 1, epoch = ? WHERE key = ?")
            .execute(arguments: [Int64(batch.epoch), batch.key])
        return try hold(batch, row, pending, isReadable: isReadable, &state)
    }

    func hold(
        _ batch: QueuedBatch, _ row: BatchRow, _ pending: [PendingPush]?, isReadable: Bool, _ state: inout QueueState
    ) throws -> EncodedClaim {
        let body = try Data.fetchOne(
            db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?"), arguments: [batch.key]
        )
        state.hold(QueueState.Held(batch: batch, deadline: monotonic + request.lease))
        return EncodedClaim(
            lease: Lease(batch: batch.id, epoch: batch.epoch), body: body ?? Data(), pending: pending,
            notBefore: row.notBefore, unreadable: batch.ledger.unreadable(), isProgressDamaged: !isReadable
        )
    }
}
