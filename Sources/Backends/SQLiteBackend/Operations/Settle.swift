import Foundation
import GRDB
import PushModel
import PushStore

enum Settle {
    /// - Returns: the stale leases, whose settlements were refused.
    static func run(_ settlements: [Settlement], _ db: Database, _ state: inout QueueState) throws -> [Lease] {
        var stale: [Lease] = []
        for settlement in settlements {
            guard var held = state.held[settlement.lease.batch], held.batch.epoch == settlement.lease.epoch else {
                if try !hasEnded(under: settlement.lease, db) { stale.append(settlement.lease) }
                continue
            }
            if let number = settlement.number {
                // Its response was lost.
                guard number > held.settlementNumber else { continue }
                held.settlementNumber = number
            }
            try run(settlement, held, db, &state)
        }
        return stale
    }

    /// Whether a batch ended under a lease, so that nothing of it is left to settle.
    private static func hasEnded(under lease: Lease, _ db: Database) throws -> Bool {
        try Bool.fetchOne(
            db.cachedStatement(
                sql: "SELECT last_epoch = ? FROM records WHERE id = ? AND ended_at IS NOT NULL"),
            arguments: [Int64(lease.epoch), lease.batch.bytes]
        ) ?? false
    }

    private static func run(
        _ settlement: Settlement, _ before: QueueState.Held, _ db: Database, _ state: inout QueueState
    ) throws {
        var held = before
        var update = settlement.update
        try held.batch.record(&update, db, &state)
        if held.batch.ledger.isFinished {
            state.held[settlement.lease.batch] = nil
        } else if settlement.release.endsLease {
            state.held[settlement.lease.batch] = nil
            try release(&held, db, &state, now: settlement.at)
            if case .postpone(let until) = settlement.release {
                try db.cachedStatement(sql: "UPDATE batches SET due_at = max(due_at, ?), since = ? WHERE key = ?")
                    .execute(arguments: [until.milliseconds, settlement.at.milliseconds, held.batch.key])
            }
        } else if !update.isEmpty {
            // 2: if the holder crashes now, that does not count against the batch, unless it is quarantined.
            try db.cachedStatement(
                sql: """
                    UPDATE batches SET unsettled = ?, progress_rows = ?, marks = ?,
                        leased = iif(crashes < \(PoisonLimits.redeliveriesBeforeQuarantine), 2, 1) WHERE key = ?
                    """
            ).execute(arguments: [
                held.batch.ledger.unsettled, held.batch.progressRows, held.batch.marks.rawValue, held.batch.key,
            ])
            state.held[settlement.lease.batch] = held
        }
    }

    /// Writes the row of the batch, which starts to wait.
    private static func release(
        _ held: inout QueueState.Held, _ db: Database, _ state: inout QueueState, now: WallTime
    ) throws {
        if held.batch.marks.contains(.collapses) {
            held.collapsible = try Collapses.inserted(of: held.batch, db)
        }
        if held.collapsible.isEmpty {
            try held.batch.updateWaiting(db)
        } else {
            try Collapses.insert(held.collapsible, of: &held.batch, db, &state, now: now)
        }
    }
}
