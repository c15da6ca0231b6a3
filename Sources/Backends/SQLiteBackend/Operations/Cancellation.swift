import Foundation
import GRDB
import PushModel
import PushStore

/// Settles waiting pushes as cancelled. Claimed pushes do not change: they may already be sent.
struct Cancellation {
    /// The most batches that one write of a cancellation by request or app changes, so that other calls can run in
    /// between.
    static let batchesPerWrite = 50

    let db: Database
    let now: WallTime

    /// - Returns: parallel to `ids`.
    func run(_ ids: [PushID], _ state: inout QueueState) throws -> [CancelResult] {
        let statuses = try Find(db: db, now: now).run(ids)
        var results = [CancelResult](repeating: .unknown, count: ids.count)
        var waiting: [BatchID: [Int]] = [:]
        for (position, status) in statuses.enumerated() {
            switch status?.state {
            case nil: break
            case .settled(let verdict): results[position] = .settled(verdict)
            case .queued, .scheduled, .sending, .retrying: waiting[ids[position].batch, default: []].append(position)
            }
        }
        for (id, positions) in waiting {
            let isCancelled = try cancel(positions.map { ids[$0].index }, of: id, &state)
            for position in positions { results[position] = isCancelled ? .cancelled : .tooLate }
        }
        return results
    }

    /// - Returns: false if the batch does not wait, or cannot be read.
    private func cancel(_ indexes: [Int], of id: BatchID, _ state: inout QueueState) throws -> Bool {
        guard let key = try DeadLetterRows.key(of: id, db), case .waiting(var batch) = try QueuedBatch.find(key, db)
        else { return false }
        try cancel(Set(indexes).sorted(), of: &batch, &state)
        return true
    }

    private func cancel(_ indexes: [Int], of batch: inout QueuedBatch, _ state: inout QueueState) throws {
        var update = BatchUpdate(
            at: now,
            outcomes: indexes.map { index in
                Outcome(
                    index: UInt16(index), verdict: .cancelled, code: .cancelled,
                    attempts: batch.ledger.attempts(of: index)
                )
            }
        )
        try batch.record(&update, db, &state)
        try batch.updateWaiting(db)
    }
}

extension Cancellation {
    /// The result of one write of a cancellation by request or app.
    struct Step: Sendable {
        var cancelled = 0
        /// The number of claimed pushes of the target; nil as long as some of its batches wait.
        var tooLate: Int?
        /// Waiting batches that cannot be read. The next claim ends them.
        var damaged: Set<Int64> = []
    }

    /// Cancels the first waiting batches of the target. They leave the queue, so each step starts from the beginning.
    /// The step that finds none counts what was too late.
    ///
    /// - Parameters:
    ///   - until: the key of the newest batch to cancel.
    ///   - damaged: the result of the previous step.
    func step(
        _ target: CancelTarget, until: Int64, damaged: Set<Int64>, _ state: inout QueueState
    ) throws -> Step {
        var step = Step(damaged: damaged)
        let limit = Self.batchesPerWrite + damaged.count
        let keys = try waiting(target, until: until, limit: limit).filter { !damaged.contains($0) }
        guard !keys.isEmpty else {
            step.tooLate = try claimed(target, until: until, state)
            return step
        }
        for key in keys {
            guard case .waiting(var batch) = try QueuedBatch.find(key, db) else {
                step.damaged.insert(key)
                continue
            }
            let unsettled = (0..<batch.ledger.count).filter { !batch.ledger.isSettled($0) }
            try cancel(unsettled, of: &batch, &state)
            step.cancelled += unsettled.count
        }
        return step
    }

    private func waiting(_ target: CancelTarget, until: Int64, limit: Int) throws -> [Int64] {
        switch target {
        case .request(let id):
            return try Int64.fetchAll(
                db.cachedStatement(
                    sql: "SELECT key FROM batches WHERE request = ? AND leased = 0 AND key <= ? ORDER BY key LIMIT ?"
                ), arguments: [id, until, limit]
            )
        case .app(let app):
            var keys: [Int64] = []
            for lane in Lane.allCases {
                // Each condition has an index of its own.
                for comparison in ["<", ">="] where keys.count < limit {
                    keys += try Int64.fetchAll(
                        db.cachedStatement(
                            sql: """
                                SELECT key FROM batches
                                WHERE leased = 0
                                    AND crashes \(comparison) \(PoisonLimits.redeliveriesBeforeQuarantine)
                                    AND lane = ? AND app = ? AND key <= ? LIMIT ?
                                """
                        ), arguments: [Int(lane.rawValue), app.name, until, limit - keys.count]
                    )
                }
            }
            return keys
        }
    }

    /// The number of claimed pushes of the target.
    private func claimed(_ target: CancelTarget, until: Int64, _ state: QueueState) throws -> Int {
        switch target {
        case .request(let id):
            let statement = try db.cachedStatement(
                sql: "SELECT coalesce(sum(unsettled), 0) FROM batches WHERE request = ? AND leased <> 0 AND key <= ?"
            )
            return try Int.fetchOne(statement, arguments: [id, until]) ?? 0
        case .app(let app):
            return state.held.current.values.reduce(0) { sum, held in
                held.batch.appLane.app == app && held.batch.key <= until ? sum + held.batch.ledger.unsettled : sum
            }
        }
    }
}
