import Foundation
import GRDB
import PushModel
import PushStore

/// Makes due what waits only because the wall clock was set back, while the process ran or between two starts.
///
/// A batch waits since its last news, or since it was accepted. When that moment lies ahead of the clock, the clock was
/// set back by no less than the difference. Then a push that asked for no moment is due now, and one that waits for its
/// retry waits for what is left of that by the new clock. A `not_before` is a moment by the clock, whatever happens to
/// it. (A clock that was set forward cannot be told from a time in which no process ran.)
struct ClockSetBack {
    /// Less than this makes nobody wait for long.
    static let tolerance: Duration = .seconds(1)
    /// Batches that are looked at in one write, a matter of some 100 ms; the next claim goes on. Where more than these
    /// wait, some of them may let a newer one pass.
    static let batchesMax = 5000

    let db: Database
    let now: WallTime

    /// Costs one look at the index `batches_since` as long as nothing lies ahead.
    ///
    /// - Returns: whether this is the first step since the clock was set back.
    func run(_ state: inout QueueState) throws -> Bool {
        let rows = try Row.fetchAll(
            db.cachedStatement(
                sql: """
                    SELECT key, since, not_before FROM batches INDEXED BY batches_since
                    WHERE leased = 0 AND since > ? ORDER BY since LIMIT ?
                    """
            ), arguments: [(now + Self.tolerance).milliseconds, Self.batchesMax]
        )
        guard !rows.isEmpty else {
            state.setBackFound = nil
            return false
        }
        // All steps take the moment of the first one, so that what came before the clock was set back goes before what
        // comes while they are made.
        let isFirst = state.setBackFound == nil
        let moment = min(state.setBackFound ?? now, now)
        state.setBackFound = moment
        for row in rows {
            let notBefore = (row[2] as Int64?).map { WallTime(milliseconds: $0) }
            try move(row[0], since: WallTime(milliseconds: row[1]), notBefore: notBefore, to: moment, &state)
        }
        return isFirst
    }

    private func move(
        _ key: Int64, since: WallTime, notBefore: WallTime?, to moment: WallTime, _ state: inout QueueState
    ) throws {
        let schedule = try schedule(key, since: since, notBefore: notBefore)
        let firstDue = max(schedule ?? moment, moment)
        try db.cachedStatement(sql: "UPDATE batches SET not_before = ?, due_at = ? WHERE key = ?")
            .execute(arguments: [firstDue.milliseconds, firstDue.milliseconds, key])
        if case .waiting(var batch) = try QueuedBatch.find(key, db), batch.progressRows > 0 {
            let setBack = Duration.milliseconds(moment.milliseconds - since.milliseconds)
            let retries = try batch.waitingRetries(db).filter { $0.due > moment }.map { retry in
                var retry = retry
                retry.due = max(retry.due + setBack, firstDue)
                return retry
            }
            var news = BatchUpdate(at: moment, retries: retries)
            try batch.record(&news, db, &state)
            try batch.updateWaiting(db)
        }
        try db.cachedStatement(sql: "UPDATE batches SET since = ? WHERE key = ?")
            .execute(arguments: [moment.milliseconds, key])
    }

    /// What the application asked for. The column of a batch whose time had come may hold the moment of a replay.
    private func schedule(_ key: Int64, since: WallTime, notBefore: WallTime?) throws -> WallTime? {
        guard let notBefore, notBefore <= since else { return notBefore }
        let statement = try db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?")
        return try Data.fetchOne(statement, arguments: [key]).flatMap { try? BatchCodec.decode($0) }?.notBefore
    }
}

extension QueuedBatch {
    /// The last word on each push that was tried or replayed and is not settled.
    fileprivate func waitingRetries(_ db: Database) throws -> [Retry] {
        var retries: [UInt16: Retry] = [:]
        for bytes in try storedUpdates(db) {
            guard let news = try? ProgressCodec.decode(bytes, pushes: ledger.count) else { continue }
            for index in news.replays { retries[index] = Retry(index: index, code: .none, attempts: 0, due: news.at) }
            // A retry would hide that it may have been sent.
            for index in news.sends { retries[index] = nil }
            for retry in news.retries { retries[retry.index] = retry }
        }
        return retries.values.filter { !ledger.isSettled(Int($0.index)) }.sorted { $0.index < $1.index }
    }
}
