import Foundation
import GRDB
import PushModel
import PushQueue

enum Settle {
    /// - Returns: the leases that are not ours any more.
    static func run(_ settlements: [Settlement], _ db: Database, _ state: inout QueueState) throws -> [Lease] {
        var stale: [Lease] = []
        for settlement in settlements {
            guard let held = state.held[settlement.lease.batch], held.epoch == settlement.lease.epoch else {
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
        var news = BatchNews(at: settlement.at, outcomes: settlement.outcomes, retries: settlement.retries)
        held.ledger.record(&news)
        if !news.isEmpty {
            try db.cachedStatement(sql: "INSERT INTO progress (key, body) VALUES (?, ?)").execute(arguments: [
                ProgressKey.key(ofBatch: held.key, row: held.progressRows), ProgressCodec.encode(news),
            ])
            held.progressRows += 1
        }
        let isFinished = held.ledger.isFinished
        state.change(held.place, batches: isFinished ? -1 : 0, pushes: held.ledger.unsettled - before.ledger.unsettled)
        if isFinished {
            try db.cachedStatement(sql: "DELETE FROM batches WHERE key = ?").execute(arguments: [held.key])
            try db.cachedStatement(sql: "DELETE FROM bodies WHERE key = ?").execute(arguments: [held.key])
            state.held[settlement.lease.batch] = nil
        } else if settlement.release == .release {
            try db.cachedStatement(
                sql: "UPDATE batches SET unsettled = ?, progress_rows = ?, due_at = ?, leased = 0 WHERE key = ?"
            ).execute(arguments: [
                held.ledger.unsettled, held.progressRows, held.ledger.nextDue.milliseconds, held.key,
            ])
            state.held[settlement.lease.batch] = nil
        } else if !news.isEmpty {
            try db.cachedStatement(sql: "UPDATE batches SET unsettled = ?, progress_rows = ? WHERE key = ?")
                .execute(arguments: [held.ledger.unsettled, held.progressRows, held.key])
            state.held[settlement.lease.batch] = held
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
            guard var held = state.held[lease.batch], held.epoch == lease.epoch else { return true }
            held.deadline = deadline
            state.hold(lease.batch, held)
            return false
        }
    }
}
