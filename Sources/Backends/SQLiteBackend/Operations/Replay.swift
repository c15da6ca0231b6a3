import Foundation
import GRDB
import PushModel
import PushStore

/// Returns dead letters of one batch to the queue: the same ids, no attempts, due immediately.
struct Replay {
    let db: Database
    let now: WallTime
    let isAllowed: ReplayFilter

    /// - Returns: the dead letters that returned, and those that may not. Neither if the stored bytes of the batch
    ///   cannot be read; then nothing was changed.
    func run(
        _ selected: [PushID], of id: BatchID, key: Int64, _ state: inout QueueState
    ) throws -> (replayed: Int, refused: Int) {
        guard let content = try DeadLetterRows.batch(of: id, key: key, db) else { return (0, 0) }
        let ids = selected.filter { isAllowed(content.notifications, $0.index) }
        let refused = selected.count - ids.count
        guard !ids.isEmpty, try run(ids, of: id, content, key: key, &state) else { return (0, refused) }
        return (ids.count, refused)
    }

    /// - Returns: false if the stored updates of the batch cannot be read; then nothing was changed.
    private func run(
        _ ids: [PushID], of id: BatchID, _ content: Batch, key: Int64, _ state: inout QueueState
    ) throws -> Bool {
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
                try restart(of: batch)
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
            arguments: [ProgressKey.updates(ofBatch: key).lowerBound, ProgressKey.updates(ofBatch: key).upperBound]
        )
        let epoch = try Int64.fetchOne(
            db.cachedStatement(sql: "SELECT last_epoch FROM records WHERE id = ?"), arguments: [content.id.bytes]
        )
        var batch = QueuedBatch(content, key: key, epoch: UInt64(epoch ?? 0))
        batch.progressRows = rows ?? 0
        batch.marks = .deadLetters
        return try batch.load(db) == nil ? batch : nil
    }

    private func requeue(_ batch: QueuedBatch, _ content: Batch) throws {
        try db.cachedStatement(
            sql: """
                INSERT INTO batches (key, id, app, environment, lane, count, unsettled, accepted_at, first_due, last_due,
                    due_at, since, leased, epoch, progress_rows, client, request, marks)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            batch.key, batch.id.bytes, batch.appLane.app.name, Int(content.environment.code),
            Int(batch.appLane.lane.rawValue), batch.ledger.count, batch.ledger.unsettled,
            batch.acceptedAt.milliseconds, batch.schedule?.lowerBound.milliseconds,
            batch.schedule?.upperBound.milliseconds, now.milliseconds, now.milliseconds, Int64(batch.epoch),
            batch.progressRows, content.clients.shared, content.requestID, batch.marks.rawValue,
        ])
        try db.cachedStatement(sql: "UPDATE records SET ended_at = NULL WHERE id = ?").execute(arguments: [
            batch.id.bytes
        ])
    }

    private func updateHeld(_ batch: QueuedBatch) throws {
        try db.cachedStatement(sql: "UPDATE batches SET unsettled = ?, progress_rows = ? WHERE key = ?")
            .execute(arguments: [batch.ledger.unsettled, batch.progressRows, batch.key])
        try restart(of: batch)
    }

    /// Earlier crashes do not count against a replayed push, and its lifetime begins again.
    private func restart(of batch: QueuedBatch) throws {
        let update = "UPDATE batches SET isolated_index = NULL, isolated_crashes = 0, deadline = 0 WHERE key = ?"
        try db.cachedStatement(sql: update).execute(arguments: [batch.key])
    }
}
