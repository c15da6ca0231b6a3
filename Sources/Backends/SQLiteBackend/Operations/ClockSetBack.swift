import GRDB
import PushModel
import PushStore

/// Reschedules batches that wait only because the wall clock moved backwards, while the process ran or between two
/// starts.
///
/// `since` is when a batch was last updated, or accepted. If that is ahead of the clock, the clock moved back by at
/// least the difference. Then pushes without a `not_before` are due now, and a retry waits for the rest of its delay. A
/// `not_before` applies by the new clock. (A clock that moved forwards looks like time during which no process ran.)
struct ClockSetBack {
    /// A shorter wait is not worth a write.
    static let tolerance: Duration = .seconds(1)
    /// Bounds one write to some 100 ms; the next claim continues. In a larger backlog, some batches may be claimed
    /// after newer ones.
    static let batchesMax = 5000

    let db: Database
    let now: WallTime

    /// Costs one lookup in the index `batches_since` if the clock did not move backwards.
    ///
    /// - Returns: the number of rescheduled batches.
    func run(_ state: inout QueueState) throws -> Int {
        let limit = (now + Self.tolerance).milliseconds
        let head = try db.cachedStatement(
            sql: """
                SELECT since FROM batches INDEXED BY batches_since
                WHERE leased = 0 AND since > ? ORDER BY since DESC LIMIT 1
                """
        )
        guard let newest = try Int64.fetchOne(head, arguments: [limit]) else { return 0 }
        let reschedule = try db.cachedStatement(
            sql: """
                UPDATE batches SET since = :now, due_at = iif(first_due > accepted_at, max(first_due, :now), :now),
                    first_due = iif(first_due > accepted_at, first_due, min(first_due, :now)),
                    accepted_at = min(accepted_at, :now)
                WHERE key IN (
                    SELECT key FROM batches INDEXED BY batches_since
                    WHERE leased = 0 AND since > :limit ORDER BY since LIMIT :max
                )
                RETURNING key, progress_rows
                """
        )
        let rows = try Row.fetchAll(
            reschedule, arguments: ["now": now.milliseconds, "limit": limit, "max": Self.batchesMax]
        )
        for row in rows where row[1] > 0 {
            try shiftRetries(of: row[0], by: .milliseconds(now.milliseconds - newest), &state)
        }
        return rows.count
    }

    private func shiftRetries(of key: Int64, by shift: Duration, _ state: inout QueueState) throws {
        guard case .waiting(var batch) = try QueuedBatch.find(key, db) else { return }
        let retries = try batch.waitingRetries(db).filter { $0.due > now }.map { retry in
            var retry = retry
            retry.due = max(retry.due + shift, batch.due)
            return retry
        }
        var update = BatchUpdate(at: now, retries: retries)
        try batch.record(&update, db, &state)
        try batch.updateWaiting(db)
        try db.cachedStatement(sql: "UPDATE batches SET since = ? WHERE key = ?")
            .execute(arguments: [now.milliseconds, key])
    }
}

extension QueuedBatch {
    /// The last retry or replay of each unsettled push, except of pushes that may have been sent: a retry would hide
    /// that.
    fileprivate func waitingRetries(_ db: Database) throws -> [Retry] {
        var retries: [UInt16: Retry] = [:]
        let records = try storedProgress(db).compactMap { try? ProgressCodec.decode($0, of: id, pushes: ledger.count) }
        for update in records.lazy.flatMap(\.updates) {
            for index in update.replays {
                retries[index] = Retry(index: index, code: .none, attempts: 0, due: update.at)
            }
            for index in update.sends { retries[index] = nil }
            for retry in update.retries { retries[retry.index] = retry }
        }
        return retries.values.filter { !ledger.isSettled(Int($0.index)) }.sorted { $0.index < $1.index }
    }
}
