import Foundation
import GRDB
import PushModel
import PushStore

/// Settles what waits as cancelled. What is claimed may be on its way and is left alone.
struct Cancel {
    /// Batches that one write cancels when there may be many, so that other calls go on between two.
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

    /// - Returns: false when the batch does not wait, or cannot be read.
    private func cancel(_ indexes: [Int], of id: BatchID, _ state: inout QueueState) throws -> Bool {
        guard let key = try DeadLetters.key(of: id, db), case .waiting(var batch) = try QueuedBatch.find(key, db)
        else { return false }
        try cancel(Set(indexes).sorted(), of: &batch, &state)
        return true
    }

    private func cancel(_ indexes: [Int], of batch: inout QueuedBatch, _ state: inout QueueState) throws {
        var news = BatchUpdate(
            at: now,
            outcomes: indexes.map { index in
                Outcome(
                    index: UInt16(index), verdict: .cancelled, code: .cancelled,
                    attempts: batch.ledger.attempts(of: index)
                )
            }
        )
        try batch.record(&news, db, &state)
        try batch.updateWaiting(db)
    }
}

extension Cancel {
    /// What one write did for a target.
    struct Step: Sendable {
        var cancelled = 0
        /// Nothing of the target waits any more; so many of its pushes are claimed.
        var tooLate: Int?
        /// Batches that wait and cannot be read: the next claim ends them.
        var damaged: Set<Int64> = []
    }

    /// Cancels the first batches of the target that wait. What is cancelled leaves the queue, so each step begins at
    /// the beginning, and the step that finds nothing knows what was too late at that moment.
    ///
    /// - Parameters:
    ///   - until: the newest batch that is meant; what comes later stays.
    ///   - damaged: found by former steps.
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
            let left = (0..<batch.ledger.count).filter { !batch.ledger.isSettled($0) }
            try cancel(left, of: &batch, &state)
            step.cancelled += left.count
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
                // Each has its index.
                for crashes in ["crashes < ", "crashes >= "] where keys.count < limit {
                    keys += try Int64.fetchAll(
                        db.cachedStatement(
                            sql: """
                                SELECT key FROM batches WHERE leased = 0 AND \(crashes)\(PoisonLimits.redeliveriesBeforeQuarantine)
                                    AND lane = ? AND app = ? AND key <= ? LIMIT ?
                                """
                        ), arguments: [Int(lane.rawValue), app.name, until, limit - keys.count]
                    )
                }
            }
            return keys
        }
    }

    /// Pushes of the target that are claimed.
    private func claimed(_ target: CancelTarget, until: Int64, _ state: QueueState) throws -> Int {
        switch target {
        case .request(let id):
            let statement = try db.cachedStatement(
                sql: "SELECT coalesce(sum(unsettled), 0) FROM batches WHERE request = ? AND leased <> 0 AND key <= ?"
            )
            return try Int.fetchOne(statement, arguments: [id, until]) ?? 0
        case .app(let app):
            return state.held.current.values.reduce(0) { sum, held in
                held.batch.place.app == app && held.batch.key <= until ? sum + held.batch.ledger.unsettled : sum
            }
        }
    }
}
