import Foundation
import GRDB
import PushModel
import PushStore

/// Deletes finished batches and stored responses past their retention, in one short write.
struct Prune {
    let db: Database
    let now: WallTime

    /// - Returns: whether there may be more to delete.
    func run(endedBefore cutoff: WallTime, batchesMax: Int, _ state: inout QueueState) throws -> Bool {
        let responses = try pruneResponses(max: batchesMax, &state)
        try clampEnds(max: batchesMax)
        // Uses the index `records_ended`, which has no waiting batch.
        let records = try Row.fetchAll(
            db.cachedStatement(sql: "SELECT id, key FROM records WHERE ended_at < ? ORDER BY ended_at LIMIT ?"),
            arguments: [cutoff.milliseconds, batchesMax]
        )
        for row in records { try delete(row[0], key: row[1]) }
        return records.count == batchesMax || responses == batchesMax
    }

    /// Moves ends that are ahead of the clock to now: they were recorded before the clock moved backwards, and would
    /// keep their records for too long.
    private func clampEnds(max: Int) throws {
        try db.cachedStatement(
            sql: """
                UPDATE records SET ended_at = ?
                WHERE id IN (SELECT id FROM records WHERE ended_at > ? ORDER BY ended_at DESC LIMIT ?)
                """
        ).execute(arguments: [now.milliseconds, (now + ClockSetBack.tolerance).milliseconds, max])
    }

    /// - Parameter storedID: may be damaged; the other records are deleted nevertheless.
    private func delete(_ storedID: Data, key: Int64) throws {
        try db.cachedStatement(sql: "DELETE FROM records WHERE id = ?").execute(arguments: [storedID])
        let keys = ProgressKey.keys(ofBatch: key)
        try db.cachedStatement(sql: "DELETE FROM progress WHERE key BETWEEN ? AND ?")
            .execute(arguments: [keys.lowerBound, keys.upperBound])
        guard let id = BatchID(bytes: storedID) else { return }
        let letters = try db.cachedStatement(sql: "DELETE FROM dead_letters WHERE id BETWEEN ? AND ?")
        try letters.execute(arguments: [id.bytes, id.push(0xFFFF).bytes])
        guard db.changesCount > 0 else { return }
        try db.cachedStatement(sql: "DELETE FROM bodies WHERE key = ?").execute(arguments: [key])
    }

    private func pruneResponses(max: Int, _ state: inout QueueState) throws -> Int {
        let statement = try db.cachedStatement(
            sql: """
                DELETE FROM idempotency WHERE rowid IN (SELECT rowid FROM idempotency WHERE at <= ? LIMIT ?)
                RETURNING length(body)
                """
        )
        let bytes = try Int.fetchAll(
            statement, arguments: [IdempotencyRows.expiryLimit(at: now).milliseconds, max])
        state.responses.add(records: -bytes.count, bytes: -bytes.reduce(0, +))
        return bytes.count
    }
}
