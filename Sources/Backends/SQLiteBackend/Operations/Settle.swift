import Foundation
import GRDB
import PushModel
import PushStore

enum Settle {
    /// - Returns: the leases that are not ours any more.
    static func run(_ settlements: [Settlement], _ db: Database, _ state: inout QueueState) throws -> [Lease] {
        var stale: [Lease] = []
        for settlement in settlements {
            guard let held = state.held[settlement.lease.batch], held.batch.epoch == settlement.lease.epoch else {
                stale.append(settlement.lease)
                continue
            }
            try run(settlement, held, db, &state)
        }
        return stale
    }

    private static func run(
        _ settlement: Settlement, _ before: QueueState.Held, _ db: Database, _ state: inout QueueState
    ) throws {
        var held = before
        var news = BatchUpdate(
            at: settlement.at, outcomes: settlement.outcomes, retries: settlement.retries, sends: settlement.sends
        )
        try held.batch.record(&news, db, &state)
        if held.batch.ledger.isFinished {
            state.held[settlement.lease.batch] = nil
        } else if settlement.release.isEnd {
            state.held[settlement.lease.batch] = nil
            try release(&held, db, &state, now: settlement.at)
            if case .postpone(let until) = settlement.release {
                try db.cachedStatement(sql: "UPDATE batches SET due_at = max(due_at, ?), since = ? WHERE key = ?")
                    .execute(arguments: [until.milliseconds, settlement.at.milliseconds, held.batch.key])
            }
        } else if !news.isEmpty {
            // 2: should the holder die now, its death is not held against the batch; but against suspects it is.
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

    /// The batch waits from now on.
    private static func release(
        _ held: inout QueueState.Held, _ db: Database, _ state: inout QueueState, now: WallTime
    ) throws {
        if held.batch.marks.contains(.collapses) {
            held.collapsible = try Collapses.entered(of: held.batch, db)
        }
        if held.collapsible.isEmpty {
            try held.batch.updateWaiting(db)
        } else {
            try Collapses.enter(held.collapsible, of: &held.batch, db, &state, now: now)
        }
    }
}

enum Renew {
    /// - Returns: the leases that are not ours any more.
    static func run(
        _ leases: [Lease], for duration: Duration, _ state: inout QueueState, clock: QueueClock
    ) -> [Lease] {
        let deadline = clock.monotonic() + duration
        return leases.filter { lease in
            guard var held = state.held[lease.batch], held.batch.epoch == lease.epoch else { return true }
            held.deadline = deadline
            state.hold(held)
            return false
        }
    }
}
