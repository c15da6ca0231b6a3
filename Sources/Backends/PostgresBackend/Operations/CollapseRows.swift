#if Postgres
import PostgresLink
import PushModel
import PushStore

/// Supersedes waiting pushes by newer ones with the same target that are due no later. A push that is due earlier is sent
/// at its own time, and the newer one replaces it on the device later.
///
/// `collapses` has the pushes with a collapse ID that wait, or waited before they were claimed. Claimed pushes do not
/// change, because they may already be sent. When such a push returns to the queue, newer pushes that were accepted in the
/// meantime supersede it, unless they are due later. A claim checks its pushes again: two appends that run concurrently
/// do not see each other.
struct CollapseRows: Sendable {
    let connection: PostgresConnection
    let key: TokenHashKey

    /// Attempts for batches that change meanwhile. The claim of such a batch checks it again.
    private static let attemptsMax = 3

    /// Enters the pushes of batches that wait; nil if there are none.
    static func insertion(of batches: [(id: BatchID, keys: [CollapsingPush])]) -> PostgresCall? {
        let rows = batches.flatMap { batch in batch.keys.map { (batch.id, $0) } }
        guard !rows.isEmpty else { return nil }
        return PostgresCall("collapses_insert", insertSQL) { parameters in
            parameters.append(ids: rows.map(\.0))
            parameters.append(array: rows.map(\.1.target.high))
            parameters.append(array: rows.map(\.1.target.low))
            parameters.append(array: rows.map { Int16($0.1.push) })
        }
    }

    private static let insertSQL = """
        INSERT INTO collapses (high, low, key, push, batch)
        SELECT v.high, v.low, b.key, v.push, b.id
        FROM unnest($1, $2, $3, $4) AS v(batch, high, low, push) JOIN batches b ON b.id = v.batch
        WHERE b.owner IS NULL ORDER BY v.high, v.low, b.key, v.push ON CONFLICT DO NOTHING
        """

    /// After an append: older pushes, and those within the batches, are superseded.
    ///
    /// - Returns: the recorded writes.
    func supersede(by appended: [BatchID]) async throws(QueueError) -> [BatchWrite] {
        try await run(appended, replacesOlder: true)
    }

    /// After a release: enters the pushes, and those are superseded of which a newer one exists.
    ///
    /// - Returns: the recorded writes.
    func returned(_ ids: [BatchID]) async throws(QueueError) -> [BatchWrite] {
        let batches = try await BatchRow.load(ids, connection).values
        let rows = batches.map { batch in
            (
                id: batch.id,
                keys: keys(of: batch).filter { !batch.ledger.isSettled(Int($0.push)) }
            )
        }
        if let call = Self.insertion(of: rows) { _ = try await connection.execute(call) }
        return try await run(ids, replacesOlder: false)
    }

    /// The pushes of a claimed batch that a newer one replaces, ascending.
    func superseded(_ claimed: [BatchRow]) async throws(QueueError) -> [BatchID: [UInt16]] {
        guard !claimed.isEmpty else { return [:] }
        let state = try await read(claimed.map(\.id), newerThan: claimed.map(\.key).min())
        var superseded: [BatchID: [UInt16]] = [:]
        for batch in claimed {
            let pushes = keys(of: batch).filter { key in
                let push = Int(key.push)
                return !batch.ledger.isSettled(push)
                    && state.hasNewer(key.target, than: batch.key, dueUntil: max(batch.ledger.due(of: push), state.now))
            }
            if !pushes.isEmpty { superseded[batch.id] = pushes.map(\.push).sorted() }
        }
        return superseded
    }

    static func outcomes(_ pushes: some Collection<UInt16>, _ ledger: BatchLedger) -> [Outcome] {
        pushes.map { index in
            Outcome(
                index: index, verdict: .suppressed, code: .superseded, attempts: ledger.attempts(of: Int(index)))
        }
    }

    // MARK: - The rows of some targets

    private struct Row {
        var key: Int64
        var push: Int
        var batch: BatchID
    }

    /// What is known of the targets of some batches.
    private struct State {
        var now: WallTime
        var rows: [CollapseHash: [Row]] = [:]
        var batches: [BatchID: BatchRow]

        /// Whether a newer push to the target was settled, or is due by `due`, or was claimed before that.
        func hasNewer(_ target: CollapseHash, than key: Int64, dueUntil due: WallTime) -> Bool {
            (rows[target] ?? []).contains { row in
                // Without its state it is unknown whether it was sent, and a duplicate is better than none.
                guard row.key > key, let batch = batches[row.batch], batch.problem == nil else { return false }
                return batch.ledger.isSettled(row.push) || batch.ledger.due(of: row.push) <= due
            }
        }
    }

    private func keys(of batch: BatchRow) -> [CollapsingPush] {
        batch.content.map { CollapsingPush.keys(of: $0, key: key) } ?? []
    }

    private func read(_ ids: [BatchID], newerThan oldest: Int64? = nil) async throws(QueueError) -> State {
        let batches = try await BatchRow.load(ids, connection)
        let targets = Set(batches.values.flatMap { keys(of: $0).map(\.target) })
        let call = PostgresCall("collapses_select", Self.selectSQL) { parameters in
            parameters.append(array: targets.map(\.high))
            parameters.append(array: targets.map(\.low))
            parameters.append(oldest ?? 0)
        }
        let found = try await connection.execute(call)
        let state: State = try mappingErrors { () throws(PostgresError) in
            var state = State(now: WallTime(milliseconds: 0), batches: batches)
            for row in 0..<found.count {
                let target = CollapseHash(high: try found.value(row, 0), low: try found.value(row, 1))
                let entry = Row(
                    key: try found.value(row, 2), push: try found.int16(row, 3), batch: try found.batchID(row, 4))
                state.rows[target, default: []].append(entry)
                state.now = try found.time(row, 5)
            }
            return state
        }
        let others = Set(state.rows.values.joined().map(\.batch)).subtracting(ids)
        var complete = state
        complete.batches.merge(try await BatchRow.load(others, connection)) { $1 }
        return complete
    }

    private static let selectSQL = """
        SELECT c.high, c.low, c.key, c.push, c.batch, store_ms()
        FROM unnest($1, $2) AS t(high, low) JOIN collapses c ON c.high = t.high AND c.low = t.low AND c.key >= $3
        """

    // MARK: - Superseding

    private func run(_ ids: [BatchID], replacesOlder: Bool) async throws(QueueError) -> [BatchWrite] {
        var recorded: [BatchWrite] = []
        for _ in 0..<Self.attemptsMax {
            let state = try await read(ids)
            guard !state.rows.isEmpty else { break }
            let writes = superseded(state, ids, replacesOlder: replacesOlder).compactMap { id, pushes in
                state.batches[id].map { batch in
                    BatchWrite(
                        edit: batch,
                        BatchUpdate(at: state.now, outcomes: Self.outcomes(pushes.sorted(), batch.ledger)))
                }
            }.filter { !$0.update.isEmpty }
            let changed = try await Write.run(writes, key: key, connection)
            recorded += writes.filter { changed.contains($0.lease.batch) }
            if changed.count == writes.count { break }
        }
        return recorded
    }

    private func superseded(_ state: State, _ ids: [BatchID], replacesOlder: Bool) -> [BatchID: Set<UInt16>] {
        var superseded: [BatchID: Set<UInt16>] = [:]
        for batch in ids.compactMap({ state.batches[$0] }) where batch.problem == nil {
            let keys = keys(of: batch)
            if replacesOlder {
                for key in keys { replaceOlder(key, of: batch, state, &superseded) }
            }
            guard !batch.isLeased else { continue }
            var targets: Set<CollapseHash> = []
            for key in keys.reversed() where !batch.ledger.isSettled(Int(key.push)) {
                let due = max(batch.ledger.due(of: Int(key.push)), state.now)
                if !targets.insert(key.target).inserted || state.hasNewer(key.target, than: batch.key, dueUntil: due) {
                    superseded[batch.id, default: []].insert(key.push)
                }
            }
        }
        return superseded
    }

    private func replaceOlder(
        _ key: CollapsingPush, of newer: BatchRow, _ state: State, _ superseded: inout [BatchID: Set<UInt16>]
    ) {
        let newerDue = newer.content?.dueTimes[Int(key.push)] ?? state.now
        for row in state.rows[key.target] ?? [] where row.key < newer.key {
            guard let older = state.batches[row.batch], older.problem == nil, !older.isLeased,
                !older.ledger.isSettled(row.push), newerDue <= max(older.ledger.due(of: row.push), state.now)
            else { continue }
            superseded[older.id, default: []].insert(UInt16(row.push))
        }
    }
}
#endif
