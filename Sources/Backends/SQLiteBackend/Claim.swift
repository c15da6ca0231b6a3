import Foundation
import GRDB
import PushModel
import PushQueue

/// A claimed batch as the writer hands it out; whoever claimed decodes it.
struct RawClaim: Sendable {
    var lease: Lease
    var body: Data
    /// nil: all pushes, never tried.
    var pending: [PendingPush]?
    /// What ends the batch if it cannot be read.
    var unreadable: [Outcome]
    /// Some news of the batch cannot be read, so nobody knows which of its pushes were settled.
    var isProgressDamaged: Bool
}

/// Claims what is due. Its cost depends on the number of apps and of batches asked for, not on the backlog.
struct Claim {
    let db: Database
    let request: ClaimRequest
    let bytesMax: Int
    let wall: WallTime
    let monotonic: Duration

    func run(_ state: inout QueueState) throws -> [RawClaim] {
        try releaseExpired(&state)
        var claims: [RawClaim] = []
        var bytes = 0
        for lane in Lane.allCases where claims.count < request.batchesMax {
            let apps = state.counts.current.keys.filter { $0.lane == lane && !request.excludedApps.contains($0.app) }
            var merge = try OldestFirst(apps.map { DueBatches(place: $0, request: request, until: wall) }, db)
            while claims.count < request.batchesMax, bytes < bytesMax, let row = try merge.next(db) {
                guard let claim = try claim(row, &state) else { continue }
                bytes += claim.body.count
                claims.append(claim)
            }
        }
        return claims
    }

    /// Makes claimable again what its holder has kept too long.
    private func releaseExpired(_ state: inout QueueState) throws {
        guard state.earliestDeadline <= monotonic else { return }
        let release = try db.cachedStatement(sql: "UPDATE batches SET leased = 0 WHERE key = ?")
        var earliest = Duration.seconds(Int64.max)
        for (batch, held) in state.held.current {
            if held.deadline <= monotonic {
                try release.execute(arguments: [held.key])
                state.held[batch] = nil
            } else {
                earliest = min(earliest, held.deadline)
            }
        }
        state.earliestDeadline = earliest
    }

    /// - Returns: nil when none of its pushes is due after all; the batch then waits for the first that will be.
    private func claim(_ row: DueBatches.BatchRow, _ state: inout QueueState) throws -> RawClaim? {
        var ledger = BatchLedger(count: row.count, firstDue: row.firstDue)
        var isDamaged = false
        if row.progressRows > 0 {
            isDamaged = try !ledger.fold(progressOf: row.key, rows: row.progressRows, db)
        }
        let pending = row.progressRows > 0 ? ledger.pending(at: wall) : nil
        if let pending, pending.isEmpty, !isDamaged {
            try db.cachedStatement(sql: "UPDATE batches SET due_at = ? WHERE key = ?")
                .execute(arguments: [ledger.nextDue.milliseconds, row.key])
            return nil
        }
        let epoch = row.epoch + 1
        try db.cachedStatement(sql: "UPDATE batches SET leased = 1, epoch = ? WHERE key = ?")
            .execute(arguments: [Int64(epoch), row.key])
        let body = try Data.fetchOne(
            db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?"), arguments: [row.key])
        state.hold(
            row.id,
            QueueState.Held(
                key: row.key, epoch: epoch, deadline: monotonic + request.lease, place: row.place, ledger: ledger,
                progressRows: row.progressRows
            )
        )
        return RawClaim(
            lease: Lease(batch: row.id, epoch: epoch), body: body ?? Data(), pending: pending,
            unreadable: ledger.unreadable(), isProgressDamaged: isDamaged
        )
    }
}

extension BatchLedger {
    /// - Returns: false when a row cannot be read; the others are folded in all the same.
    mutating func fold(progressOf key: Int64, rows: Int64, _ db: Database) throws -> Bool {
        let stored = try Data.fetchAll(
            db.cachedStatement(sql: "SELECT body FROM progress WHERE key BETWEEN ? AND ? ORDER BY key"),
            arguments: [ProgressKey.key(ofBatch: key, row: 0), ProgressKey.key(ofBatch: key, row: rows)]
        )
        var isReadable = stored.count == Int(rows)
        for bytes in stored {
            if var news = try? ProgressCodec.decode(bytes, pushes: count) {
                record(&news)
            } else {
                isReadable = false
            }
        }
        return isReadable
    }
}
