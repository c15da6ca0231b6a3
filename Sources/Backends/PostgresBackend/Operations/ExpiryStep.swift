#if Postgres
import PostgresLink
import PushModel
import PushStore

/// Settles waiting pushes whose deadline has passed as expired. Claimed pushes do not change: they may already be sent.
///
/// `batches.deadline` is a lower bound: what settles pushes need not know the deadlines of the others. So a batch may be
/// looked at without effect, but then its next time is known.
struct ExpiryStep: Sendable {
    let connection: PostgresConnection
    let key: TokenHashKey
    let policy: DeliveryPolicy

    /// The earliest time at which a batch is looked at again: bounds the work for a batch whose pushes all have different
    /// expirations.
    private static let pause: Duration = .seconds(1)

    /// - Returns: the recorded writes, and whether there may be more.
    func run(batchesMax: Int) async throws(QueueError) -> (writes: [BatchWrite], mayContinue: Bool) {
        let call = PostgresCall("expiry_look", Self.sql) { $0.append(Int32(clamping: batchesMax)) }
        let rows = try await connection.execute(call)
        guard rows.count > 0 else { return ([], false) }
        let now = try mappingErrors { () throws(PostgresError) in try rows.time(0, BatchRow.columnCount) }
        let writes = try BatchRow.all(rows).map { write($0, now) }
        let changed = try await Write.run(writes, key: key, connection)
        return (writes.filter { changed.contains($0.lease.batch) }, rows.count == batchesMax)
    }

    private func write(_ batch: BatchRow, _ now: WallTime) -> BatchWrite {
        guard batch.problem == nil, let content = batch.content else {
            // The next claim ends it.
            var write = BatchWrite(edit: batch, BatchUpdate(at: now))
            write.deadline = .distantFuture
            write.keepsRow(of: batch)
            return write
        }
        let deadlines = Deadlines(of: batch.ledger.restartingLifetimes(of: content), policy: policy)
        let waiting = batch.ledger.pending(until: .distantFuture)
        let expired = waiting.filter { deadlines[$0.index] <= now }
        var write = BatchWrite(edit: batch, BatchUpdate(at: now, outcomes: expired.map { $0.expired() }))
        let next = waiting.lazy.map { deadlines[$0.index] }.filter { $0 > now }.min() ?? .distantFuture
        write.deadline = max(next, now + Self.pause)
        if expired.isEmpty { write.keepsRow(of: batch) }
        return write
    }

    private static let sql = """
        SELECT \(BatchRow.columns), store_ms() FROM batches b JOIN app_lanes al ON al.id = b.app_lane
        WHERE b.owner IS NULL AND b.deadline <= store_ms() ORDER BY b.deadline LIMIT $1
        """
}
#endif
