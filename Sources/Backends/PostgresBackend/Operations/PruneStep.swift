#if Postgres
import PostgresLink
import PushModel
import PushStore

/// Deletes records of batches that ended before a time, with their dead letters, and expired responses.
enum PruneStep {
    /// - Returns: whether there may be more, and what the deleted responses took.
    static func run(
        endedBefore cutoff: WallTime, batchesMax: Int, now: WallTime, _ connection: PostgresConnection
    ) async throws(QueueError) -> (mayContinue: Bool, responses: IdempotencyUsage) {
        let results = try await connection.execute([
            PostgresCall("prune_records", recordsSQL) { parameters in
                parameters.append(cutoff.milliseconds)
                parameters.append(Int32(clamping: batchesMax))
            },
            PostgresCall("prune_responses", responsesSQL) { parameters in
                parameters.append((now + .seconds(-Int64(IdempotencyKey.lifetime / .seconds(1)))).milliseconds)
                parameters.append(Int32(clamping: batchesMax))
            },
        ])
        return try mappingErrors { () throws(PostgresError) in
            let records = Int(try results[0].value(0, 0, as: Int64.self))
            let responses = try ResponseRows.usage(results[1])
            return (records == batchesMax || responses.records == batchesMax, responses)
        }
    }

    private static let recordsSQL = """
        WITH old AS MATERIALIZED (
            SELECT r.id, r.day FROM records r WHERE r.ended_at < $1 ORDER BY r.ended_at LIMIT $2),
        removed AS (DELETE FROM records r USING old o WHERE r.id = o.id AND r.day = o.day RETURNING r.id),
        removed_bodies AS (DELETE FROM bodies b USING removed r WHERE b.id = r.id RETURNING b.id),
        removed_letters AS (
            DELETE FROM dead_letters d USING removed_bodies b
            WHERE d.id BETWEEN b.id AND (substr(b.id::text, 1, 32) || 'ffff')::uuid)
        SELECT count(*) FROM removed
        """

    private static let responsesSQL = """
        WITH removed AS (
            DELETE FROM idempotency i WHERE i.key IN (
                SELECT e.key FROM idempotency e WHERE e.at <= $1 ORDER BY e.at LIMIT $2)
            RETURNING octet_length(i.body) AS bytes)
        SELECT count(*), coalesce(sum(r.bytes), 0)::bigint FROM removed r
        """
}
#endif
