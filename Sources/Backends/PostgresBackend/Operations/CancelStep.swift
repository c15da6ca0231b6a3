#if Postgres
import PostgresLink
import PushModel
import PushStore

/// Settles waiting pushes as cancelled. Claimed pushes may already be sent and do not change.
struct CancelStep: Sendable {
    let connection: PostgresConnection
    let key: TokenHashKey
    let now: WallTime

    /// Batches of one write, so that other calls run in between.
    private static let batchesPerStep: Int32 = 50
    /// Attempts for batches that change meanwhile.
    private static let attemptsMax = 8

    struct Result: Sendable {
        /// Parallel to the IDs.
        var results: [CancelResult]
        var writes: [BatchWrite] = []
    }

    func run(_ ids: [PushID]) async throws(QueueError) -> Result {
        var result = Result(results: [CancelResult](repeating: .unknown, count: ids.count))
        var open = Array(ids.indices)
        for _ in 0..<Self.attemptsMax where !open.isEmpty {
            let statuses = try await StatusLookup.run(open.map { ids[$0] }, connection)
            var waiting: [Int] = []
            for (position, status) in zip(open, statuses) {
                switch status?.state {
                case nil: result.results[position] = .unknown
                case .settled(let verdict): result.results[position] = .settled(verdict)
                case .queued, .scheduled, .sending, .retrying: waiting.append(position)
                }
            }
            let batches = try await BatchRow.load(Set(waiting.map { ids[$0].batch }), connection)
            var writes: [BatchWrite] = []
            var cancelled: [Int] = []
            for (id, positions) in Dictionary(grouping: waiting, by: { ids[$0].batch }) {
                guard let batch = batches[id], !batch.isLeased, batch.problem == nil else {
                    // It is claimed, or the next claim gives it up.
                    if batches[id] != nil {
                        for position in positions { result.results[position] = .tooLate }
                        waiting.removeAll { positions.contains($0) }
                    }
                    continue
                }
                writes.append(write(batch, Set(positions.map { ids[$0].index }).sorted()))
                cancelled += positions
            }
            let changed = try await Write.run(writes, key: key, connection)
            result.writes += writes.filter { changed.contains($0.lease.batch) }
            for position in cancelled where changed.contains(ids[position].batch) {
                result.results[position] = .cancelled
            }
            open = waiting.filter { !changed.contains(ids[$0].batch) }
        }
        for position in open { result.results[position] = .tooLate }
        return result
    }

    private func write(_ batch: BatchRow, _ indexes: [Int]) -> BatchWrite {
        let outcomes = indexes.map { index in
            Outcome(
                index: UInt16(index), verdict: .cancelled, code: .cancelled, attempts: batch.ledger.attempts(of: index))
        }
        return BatchWrite(edit: batch, BatchUpdate(at: now, outcomes: outcomes))
    }

    // MARK: - Of a request or an app

    func run(_ target: CancelTarget) async throws(QueueError) -> (count: CancelCount, writes: [BatchWrite]) {
        // Batches that are appended later are not meant.
        let rows = try await connection.execute(PostgresCall("cancel_newest", Self.newestSQL))
        let newest: Int64 = try mappingErrors { () throws(PostgresError) in try rows.value(0, 0) }
        var count = CancelCount()
        var recorded: [BatchWrite] = []
        var skipped: [BatchID] = []
        while true {
            let found = try await connection.execute(step(target, newest, skipped))
            let batches = try BatchRow.all(found)
            guard !batches.isEmpty else { break }
            // The next claim gives up what cannot be read.
            skipped += batches.filter { $0.problem != nil }.map(\.id)
            let writes = batches.filter { $0.problem == nil }.map { batch in
                write(batch, (0..<batch.ledger.count).filter { !batch.ledger.isSettled($0) })
            }
            let changed = try await Write.run(writes, key: key, connection)
            for write in writes where changed.contains(write.lease.batch) {
                count.cancelled += write.update.outcomes.count
                recorded.append(write)
            }
        }
        let claimed = try await connection.execute(self.claimed(target, newest))
        count.tooLate = try mappingErrors { () throws(PostgresError) in Int(try claimed.value(0, 0, as: Int64.self)) }
        return (count, recorded)
    }

    private func step(_ target: CancelTarget, _ newest: Int64, _ skipped: [BatchID]) -> PostgresCall {
        let (name, sql, value) =
            switch target {
            case .request(let id): ("cancel_request", Self.requestSQL, id.replacing("\0", with: ""))
            case .app(let app): ("cancel_app", Self.appSQL, app.name)
            }
        return PostgresCall(name, sql) { parameters in
            parameters.append(value)
            parameters.append(newest)
            parameters.append(ids: skipped)
            parameters.append(Self.batchesPerStep)
        }
    }

    private func claimed(_ target: CancelTarget, _ newest: Int64) -> PostgresCall {
        let (name, sql, value) =
            switch target {
            case .request(let id): ("cancel_request_claimed", Self.requestClaimedSQL, id.replacing("\0", with: ""))
            case .app(let app): ("cancel_app_claimed", Self.appClaimedSQL, app.name)
            }
        return PostgresCall(name, sql) { parameters in
            parameters.append(value)
            parameters.append(newest)
        }
    }

    private static let newestSQL = """
        SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('batches', 'key')::regclass), 0)
        """

    private static let requestSQL = """
        SELECT \(BatchRow.columns) FROM batches b JOIN app_lanes al ON al.id = b.app_lane
        WHERE b.request = $1 AND b.owner IS NULL AND b.key <= $2 AND b.id <> ALL($3) LIMIT $4
        """

    // Two parts, one for each of the indexes of waiting batches.
    private static let appSQL = """
        WITH waiting AS MATERIALIZED (
            SELECT w.id FROM app_lanes al CROSS JOIN LATERAL (
                (SELECT b.id FROM batches b WHERE b.app_lane = al.id AND b.owner IS NULL AND b.crashes < 3
                    AND b.key <= $2 AND b.id <> ALL($3) ORDER BY b.due_at, b.key LIMIT $4)
                UNION ALL
                (SELECT b.id FROM batches b WHERE b.app_lane = al.id AND b.owner IS NULL AND b.crashes >= 3
                    AND b.key <= $2 AND b.id <> ALL($3) ORDER BY b.due_at, b.key LIMIT $4)) w
            WHERE al.app = $1 LIMIT $4)
        SELECT \(BatchRow.columns) FROM batches b JOIN app_lanes al ON al.id = b.app_lane
        JOIN waiting w ON w.id = b.id
        """

    private static let requestClaimedSQL = """
        SELECT coalesce(sum(b.unsettled), 0) FROM batches b
        WHERE b.request = $1 AND b.owner IS NOT NULL AND b.key <= $2
        """

    private static let appClaimedSQL = """
        SELECT coalesce(sum(b.unsettled), 0) FROM batches b JOIN app_lanes al ON al.id = b.app_lane
        WHERE al.app = $1 AND b.owner IS NOT NULL AND b.key <= $2
        """
}
#endif
