#if Postgres
import PostgresLink
import PushModel
import PushStore

/// Extends, ends and counts leases.
enum Leases {
    /// - Returns: the batches whose lease was extended.
    static func renew(
        _ leases: [Lease], for duration: Duration, owner: Int32, _ connection: PostgresConnection
    ) async throws(QueueError) -> Set<BatchID> {
        guard !leases.isEmpty else { return [] }
        let call = PostgresCall("renew", renewSQL) { parameters in
            parameters.append(ids: leases.map(\.batch))
            parameters.append(array: leases.map { Int32(truncatingIfNeeded: $0.epoch) })
            parameters.append(duration.milliseconds)
            parameters.append(owner)
        }
        let rows = try await connection.execute(call)
        return try mappingErrors { () throws(PostgresError) in
            var renewed: Set<BatchID> = []
            for row in 0..<rows.count { renewed.insert(try rows.batchID(row, 0)) }
            return renewed
        }
    }

    // A lease that has run out and was not overtaken is still the holder's.
    private static let renewSQL = """
        WITH held AS MATERIALIZED (
            SELECT b.id FROM batches b JOIN unnest($1, $2) AS l(id, epoch) ON b.id = l.id AND b.epoch = l.epoch
            WHERE b.owner IS NULL OR b.owner = $4 ORDER BY b.id FOR UPDATE OF b)
        UPDATE batches b SET lease_until = store_time() + $3 * interval '1 ms', owner = $4
        FROM held h WHERE b.id = h.id RETURNING b.id
        """

    /// The note that a holder begins to send.
    static func begun(_ leases: [Lease], owner: Int32) -> PostgresCall {
        PostgresCall("begun", "INSERT INTO begun (instance, ids, epochs) VALUES ($3, $1, $2)") { parameters in
            parameters.append(ids: leases.map(\.batch))
            parameters.append(array: leases.map { Int32(truncatingIfNeeded: $0.epoch) })
            parameters.append(owner)
        }
    }

    /// Makes batches claimable whose lease has run out, and forgets notes of leases that have ended. One instance does it
    /// at a time; the others skip it.
    static let endExpired = [
        PostgresCall("leases_end", endSQL), PostgresCall("begun_forget", forgetSQL),
    ]

    // A crash counts if the holder had begun to send and has recorded nothing; of a quarantined batch also if it has.
    // `has_update` is not set for those.
    private static let endSQL = """
        WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(\(AdvisoryLock.leases)) AS is_mine),
        expired AS MATERIALIZED (
            SELECT b.id, b.epoch, b.owner FROM batches b
            WHERE b.owner IS NOT NULL AND b.lease_until <= store_time() AND (SELECT is_mine FROM turn)
            ORDER BY b.id FOR UPDATE OF b SKIP LOCKED),
        counted AS MATERIALIZED (
            SELECT e.id, (e.id, e.epoch) IN (
                SELECT n.id, n.epoch FROM (SELECT DISTINCT x.owner FROM expired x) o
                JOIN begun g ON g.instance = o.owner CROSS JOIN unnest(g.ids, g.epochs) AS n(id, epoch)) AS has_begun
            FROM expired e)
        UPDATE batches b SET owner = NULL, lease_until = NULL,
            crashes = least(b.crashes + (c.has_begun AND NOT b.has_update)::int, 1000),
            isolated_crashes = least(b.isolated_crashes
                + (c.has_begun AND NOT b.has_update AND b.isolated_index IS NOT NULL)::int, 1000),
            due_at = CASE WHEN b.marks & 4 <> 0 THEN least(b.due_at, store_ms()) ELSE b.due_at END,
            marks = b.marks & 3
        FROM counted c WHERE b.id = c.id RETURNING b.id
        """

    private static let forgetSQL = """
        DELETE FROM begun g WHERE NOT EXISTS (
            SELECT 1 FROM unnest(g.ids, g.epochs) AS n(id, epoch)
            JOIN batches b ON b.id = n.id AND b.epoch = n.epoch AND b.owner IS NOT NULL)
        """

    /// Gives all leases of an instance back. They do not count as crashes.
    static func giveBack(owner: Int32) -> PostgresCall {
        PostgresCall("leases_give_back", giveBackSQL) { $0.append(owner) }
    }

    private static let giveBackSQL = """
        UPDATE batches b SET owner = NULL, lease_until = NULL,
            due_at = CASE WHEN b.marks & 4 <> 0 THEN least(b.due_at, store_ms()) ELSE b.due_at END,
            marks = b.marks & 3
        WHERE b.owner = $1
        """
}

/// Keys of advisory locks, all below "gdwt" as the first half.
enum AdvisoryLock {
    static let leases: Int64 = 0x6764_7774 << 32 | 1
    static let depth: Int64 = 0x6764_7774 << 32 | 2
}
#endif
