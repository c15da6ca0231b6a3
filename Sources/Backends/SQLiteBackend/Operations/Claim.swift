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
    /// Why the schedule or an update cannot be read, so that it is unknown which of the pushes are settled.
    let problem: CodecError?
    /// The time of the claim.
    let at: WallTime

    var lease: Lease { batch.lease }

    /// - Throws: if the stored batch or its progress cannot be read, or contradicts the columns of its row.
    func decode(tokenHashKey: TokenHashKey) throws(CodecError) -> ClaimedBatch {
        if let problem { throw problem }
        let stored = try BatchCodec.decode(body)
        guard stored.id == batch.id, AppLane(stored.appEnvironment, lane: stored.lane) == batch.appLane,
            stored.count == batch.ledger.count
        else { throw .damaged }
        batch.details.fill(RecordDetails.encode(stored, key: tokenHashKey))
        // The clock may have moved backwards: then the row knows better when a push is due.
        let pending = pending ?? (stored.lastDue <= at ? nil : batch.ledger.pending(until: at))
        return ClaimedBatch(
            lease: lease, batch: batch.ledger.restartingLifetimes(of: stored), pending: pending,
            isQuarantined: isQuarantined
        )
    }

    /// What ends a batch that cannot be decoded.
    func givenUp(_ error: CodecError) -> [Outcome] {
        batch.ledger.givenUp(error == .damaged ? .storedDataDamaged : .serialisation)
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
    /// Monotonic time of the call. Leases that were valid then stay so.
    let requestedAt: Duration
    let marks: StoreMarks

    func run(_ state: inout QueueState) throws -> Result {
        try releaseExpired(&state)
        var result = Result()
        result.rescheduled = try ClockSetBack(db: db, now: wall).run(&state)
        let quarantined = try claimQuarantined(&result, &state)
        // The quarantined batches count as one: together they have at most as many pushes as one batch.
        let batchesMax = request.batchesMax - (quarantined.isEmpty ? 0 : 1)
        var bytes = 0
        var wanted = request.enough
        var pushesLeft = request.pushesMax - quarantined.reduce(0) { $0 + ($1.pending?.count ?? 0) }
        lanes: for lane in Lane.allCases {
            let apps = state.claimableApps(in: lane, request)
            var batchesByApp: [AppEnvironment: DueBatches] = [:]
            while result.claims.count < batchesMax, bytes < bytesMax, pushesLeft > 0 {
                let app = try state.turns[Int(lane.rawValue)].next(among: apps) { app in
                    if let left = wanted[app], left <= 0 { return nil }
                    let appLane = AppLane(app, lane: lane)
                    return try batchesByApp[app, default: DueBatches(appLane: appLane, until: wall)].first(db)?
                        .storedUnsettled
                }
                guard let app, let batch = batchesByApp[app]?.popFirst() else { continue lanes }
                // None overtakes it: it is claimed when there is capacity for all of its pushes.
                guard batch.storedUnsettled <= pushesLeft else { break lanes }
                guard let claim = try claim(batch, &state) else { continue }
                bytes += claim.body.count
                let pushes = claim.pending?.count ?? claim.batch.ledger.count
                pushesLeft -= pushes
                wanted[app]? -= pushes
                result.claims.append(claim)
            }
        }
        result.claims += quarantined
        return result
    }

    /// Ends leases whose deadline has passed.
    private func releaseExpired(_ state: inout QueueState) throws {
        guard state.earliestDeadline <= requestedAt else { return }
        var earliest = Duration.seconds(Int64.max)
        for (id, held) in state.held.current {
            if held.deadline <= requestedAt {
                let isBegun = marks.hasBegun(held.batch.lease)
                try db.cachedStatement(sql: isBegun ? QueueState.endBegunLease : QueueState.endUnusedLease)
                    .execute(arguments: [held.batch.key])
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
        let problem = try batch.load(db)
        if problem == nil, batch.ledger.nextDue > wall {
            try batch.updateWaiting(db)
            return nil
        }
        let isFresh = batch.progressRows == 0 && batch.schedule.map { $0.upperBound <= wall } ?? true
        let pending = isFresh ? nil : batch.ledger.pending(until: wall + lookahead(of: batch))
        batch.epoch += 1
        try db.cachedStatement(sql: "UPDATE batches SET leased = 1, epoch = ? WHERE key = ?")
            .execute(arguments: [Int64(batch.epoch), batch.key])
        return try hold(batch, pending, problem: problem, &state)
    }

    /// A newer push replaces an older one only while that one waits in the store, so pushes of a batch with collapse ids
    /// stay there until they are due.
    private func lookahead(of batch: QueuedBatch) -> Duration {
        batch.marks.contains(.collapses) ? .zero : request.lookahead
    }

    func hold(
        _ batch: QueuedBatch, _ pending: [PendingPush]?, isQuarantined: Bool = false, problem: CodecError?,
        _ state: inout QueueState
    ) throws -> EncodedClaim {
        let body = try batch.storedBody(db)
        // Outcomes that cannot be read were counted.
        if problem != nil {
            state.adjustCounts(of: batch.appLane, pushes: batch.ledger.unsettled - batch.storedUnsettled)
        }
        state.hold(QueueState.Held(batch: batch, deadline: monotonic + request.lease))
        return EncodedClaim(
            batch: batch, body: body, pending: pending, isQuarantined: isQuarantined, problem: problem, at: wall
        )
    }
}
