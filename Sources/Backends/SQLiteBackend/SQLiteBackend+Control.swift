import GRDB
package import PushModel
package import PushStore

extension SQLiteBackend: QueueControl {
    package func cancel(_ ids: [PushID], at now: WallTime) async throws(QueueError) -> [CancelResult] {
        guard !ids.isEmpty else { return [] }
        return try await commits.perform { db, state in
            try Cancellation(db: db, now: now).run(ids, &state)
        }
    }

    package func cancel(_ target: CancelTarget, at now: WallTime) async throws(QueueError) -> CancelCount {
        var total = CancelCount()
        let until = try await commits.perform { _, state in state.nextKey - 1 }
        var damaged: Set<Int64> = []
        while true {
            let knownDamage = damaged
            let step = try await commits.perform { db, state in
                try Cancellation(db: db, now: now).step(target, until: until, damaged: knownDamage, &state)
            }
            total.cancelled += step.cancelled
            damaged = step.damaged
            if let tooLate = step.tooLate {
                total.tooLate = tooLate
                return total
            }
        }
    }

    package func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) async throws(QueueError) {
        try await commits.perform { db, state in
            if isPaused {
                guard state.paused[app] == nil else { return }
                try db.cachedStatement(sql: "INSERT INTO pauses (app, since) VALUES (?, ?)")
                    .execute(arguments: [app.name, now.milliseconds])
                state.paused[app] = now
            } else {
                try db.cachedStatement(sql: "DELETE FROM pauses WHERE app = ?").execute(arguments: [app.name])
                state.paused[app] = nil
            }
        }
    }

    package func pausedApps() async throws(QueueError) -> [AppID: WallTime] {
        try await commits.perform { _, state in state.paused.current }
    }
}

extension SQLiteBackend: IdempotentQueue {
    package func idempotencyRecord(for key: IdempotencyKey, now: WallTime) async throws(QueueError)
        -> IdempotencyRecord?
    {
        try await read { db in try IdempotencyRows.find(key, now: now, db) }
    }

    package func append(
        _ batches: [NewBatch], storing records: [IdempotencyKey: IdempotencyRecord]
    ) async throws(QueueError) -> [Lease?] {
        guard !batches.isEmpty || !records.isEmpty else { return [] }
        let (append, clock) = (encoded(batches), clock)
        let bytes = append.byteCount + records.values.reduce(0) { $0 + $1.body.count }
        return try await commits.perform(bytes: bytes, yields: true) { db, state in
            try IdempotencyRows.insert(records, db, &state)
            return try append.run(db, &state, clock: clock)
        }
    }

    package func idempotencyUsage() -> IdempotencyUsage { responses.usage }
}
