import Foundation
import GRDB
import PushModel
import PushStore

/// Returns dead letters of one batch to the queue: the same ids, no attempts, due immediately.
struct Replay {
    let db: Database
    let now: WallTime

    /// - Returns: false if the stored bytes of the batch cannot be read; then nothing was changed.
    func run(_ ids: [PushID], of id: BatchID, key: Int64, _ state: inout QueueState) throws -> Bool {
        guard let content = try DeadLetterRows.batch(of: id, key: key, db) else { return false }
        var update = BatchUpdate(at: now, replays: ids.map { UInt16($0.index) })
        if var held = state.held[id] {
            try held.batch.record(&update, db, &state)
            state.held[id] = held
            try updateHeld(held.batch)
        } else {
            switch try QueuedBatch.find(key, db) {
            case .waiting(var batch):
                try batch.record(&update, db, &state)
                try batch.updateWaiting(db)
                try restartLifetime(of: batch)
            case .none:
                guard var batch = try finished(content, key: key) else { return false }
                try batch.record(&update, db, &state)
                state.adjustCounts(of: batch.appLane, batches: 1, pushes: 0)
                try requeue(batch, content)
            case .leased, .damaged: return false
            }
        }
        let delete = try db.cachedStatement(sql: "DELETE FROM dead_letters WHERE id = ?")
        for id in ids { try delete.execute(arguments: [id.bytes]) }
        return true
    }

    /// The batch as it left the queue; nil if its updates cannot be read.
    private func finished(_ content: Batch, key: Int64) throws -> QueuedBatch? {
        let rows = try Int64.fetchOne(
            db.cachedStatement(sql: "SELECT count(*) FROM progress WHERE key BETWEEN ? AND ?"),
            arguments: [ProgressKey.keys(ofBatch: key).lowerBound, ProgressKey.keys(ofBatch: key).upperBound]
        )
        let epoch = try Int64.fetchOne(
            db.cachedStatement(sql: "SELECT last_epoch FROM records WHERE id = ?"), arguments: [content.id.bytes]
        )
        var batch = QueuedBatch(content, key: key, epoch: UInt64(epoch ?? 0))
        batch.progressRows = rows ?? 0
        batch.marks = .deadLetters
        return try batch.applyUpdates(db) ? batch : nil
    }

    private func requeue(_ batch: QueuedBatch, _ content: Batch) throws {
        try db.cachedStatement(
            sql: """
                INSERT INTO batches (key, id, app, lane, count, unsettled, accepted_at, not_before, due_at, leased, epoch,
                    progress_rows, request, marks, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            batch.key, batch.id.bytes, batch.appLane.app.name, Int(batch.appLane.lane.rawValue), batch.ledger.count,
            batch.ledger.unsettled, batch.acceptedAt.milliseconds, now.milliseconds, now.milliseconds,
            Int64(batch.epoch), batch.progressRows, content.requestID, batch.marks.rawValue,
            now.milliseconds,
        ])
        try db.cachedStatement(sql: "UPDATE records SET ended_at = NULL WHERE id = ?").execute(arguments: [
            batch.id.bytes
        ])
    }

    private func updateHeld(_ batch: QueuedBatch) throws {
        try db.cachedStatement(sql: "UPDATE batches SET unsettled = ?, progress_rows = ? WHERE key = ?")
            .execute(arguments: [batch.ledger.unsettled, batch.progressRows, batch.key])
        try restartLifetime(of: batch)
    }

    /// The lifetime of a push without an expiration of its own counts from `not_before`. Earlier crashes do not count.
    private func restartLifetime(of batch: QueuedBatch) throws {
        try db.cachedStatement(
            sql: "UPDATE batches SET not_before = ?, alone_index = NULL, alone_crashes = 0 WHERE key = ?"
        )
        .execute(arguments: [now.milliseconds, batch.key])
    }
}
