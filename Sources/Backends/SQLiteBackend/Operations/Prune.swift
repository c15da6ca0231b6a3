import Foundation
import GRDB
import PushModel
import PushStore

/// Forgets what is finished and old, in one short write.
struct Prune {
    let db: Database
    let now: WallTime

    /// - Returns: whether there may be more.
    func run(endedBefore moment: WallTime, batchesMax: Int) throws -> Bool {
        let answers = try pruneAnswers(max: batchesMax)
        try pullBack(max: batchesMax)
        // Served by the index `records_ended`, which holds no batch that waits.
        let records = try Row.fetchAll(
            db.cachedStatement(sql: "SELECT id, key FROM records WHERE ended_at < ? ORDER BY ended_at LIMIT ?"),
            arguments: [moment.milliseconds, batchesMax]
        )
        for row in records { try forget(try BatchID(stored: row[0]), key: row[1]) }
        return records.count == batchesMax || answers == batchesMax
    }

    /// What ended ahead of the clock ended before the clock was set back. It would be kept for longer than anybody meant,
    /// for ever if the clock was years ahead.
    private func pullBack(max: Int) throws {
        try db.cachedStatement(
            sql: """
                UPDATE records SET ended_at = ?
                WHERE id IN (SELECT id FROM records WHERE ended_at > ? ORDER BY ended_at DESC LIMIT ?)
                """
        ).execute(arguments: [now.milliseconds, (now + ClockSetBack.tolerance).milliseconds, max])
    }

    private func forget(_ id: BatchID, key: Int64) throws {
        try db.cachedStatement(sql: "DELETE FROM records WHERE id = ?").execute(arguments: [id.bytes])
        let keys = ProgressKey.keys(ofBatch: key)
        try db.cachedStatement(sql: "DELETE FROM progress WHERE key BETWEEN ? AND ?")
            .execute(arguments: [keys.lowerBound, keys.upperBound])
        let letters = try db.cachedStatement(sql: "DELETE FROM dead_letters WHERE id BETWEEN ? AND ?")
        try letters.execute(arguments: [id.bytes, id.push(0xFFFF).bytes])
        guard db.changesCount > 0 else { return }
        try db.cachedStatement(sql: "DELETE FROM bodies WHERE key = ?").execute(arguments: [key])
    }

    private func pruneAnswers(max: Int) throws -> Int {
        try db.cachedStatement(
            sql: "DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency WHERE at <= ? LIMIT ?)"
        ).execute(arguments: [Idempotency.oldest(at: now).milliseconds, max])
        return db.changesCount
    }
}
