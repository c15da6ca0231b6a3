import Foundation
import GRDB
import PushModel
import PushQueue

/// Forgets what is finished and old, in one short write.
struct Prune {
    let db: Database
    let now: WallTime

    /// - Returns: whether there may be more.
    func run(acceptedBefore moment: WallTime, batchesMax: Int, _ state: inout QueueState) throws -> Bool {
        let answers = try pruneAnswers(max: batchesMax)
        // Ids are UUIDv7, so the primary key of the records is their order in time.
        let records = try Row.fetchAll(
            db.cachedStatement(
                sql: """
                    SELECT r.id, r.key, b.key IS NULL FROM records r LEFT JOIN batches b ON b.key = r.key
                    WHERE r.id > ? AND r.id < ? ORDER BY r.id LIMIT ?
                    """
            ), arguments: [state.pruneCursor ?? Data(), Self.firstID(at: moment), batchesMax]
        )
        for row in records where row[2] { try forget(try BatchID(stored: row[0]), key: row[1]) }
        // Old batches that still wait would be looked at again and again by each step: it goes on behind them, and the
        // next round begins anew.
        let isRoundOver = records.count < batchesMax
        state.pruneCursor = isRoundOver ? nil : records.last?[0]
        return !isRoundOver || answers == batchesMax
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

    /// No batch accepted at `moment` or later has a smaller id. RFC 9562: the first 48 bits are UNIX milliseconds.
    private static func firstID(at moment: WallTime) -> Data {
        let milliseconds = UInt64(clamping: moment.milliseconds) & 0xFFFF_FFFF_FFFF
        return withUnsafeBytes(of: (milliseconds << 16).bigEndian) { Data($0) }
    }
}
