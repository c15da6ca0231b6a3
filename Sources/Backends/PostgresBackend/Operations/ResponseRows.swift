#if Postgres
import Foundation
import PostgresLink
import PushModel
import PushStore

/// Stored responses of idempotent requests.
enum ResponseRows {
    /// nil if there is none, or if its lifetime is over.
    static func find(
        _ key: IdempotencyKey, at now: WallTime, _ connection: PostgresConnection
    ) async throws(QueueError) -> IdempotencyRecord? {
        let call = PostgresCall("idempotency_find", findSQL) { parameters in
            parameters.append([UInt8](key.digest))
            parameters.append((now + .seconds(-Int64(IdempotencyKey.lifetime / .seconds(1)))).milliseconds)
        }
        let rows = try await connection.execute(call)
        guard rows.count == 1 else { return nil }
        return try mappingErrors { () throws(PostgresError) in
            IdempotencyRecord(
                fingerprint: Data(try rows.value(0, 0, as: [UInt8].self)),
                body: Data(try rows.value(0, 1, as: [UInt8].self)), at: try rows.time(0, 2))
        }
    }

    /// Stores responses, or ends the transaction if one of the keys has one. The result is what replaced, expired
    /// responses took.
    static func store(_ records: [IdempotencyKey: IdempotencyRecord]) -> PostgresCall {
        // In one order, so that two appends with the same keys do not wait for each other.
        let records = records.map { (key: [UInt8]($0.key.digest), record: $0.value) }
            .sorted { $0.key.lexicographicallyPrecedes($1.key) }
        return PostgresCall("idempotency_store", storeSQL) { parameters in
            parameters.append(array: records.map(\.key))
            parameters.append(array: records.map { [UInt8]($0.record.fingerprint) })
            parameters.append(array: records.map { [UInt8]($0.record.body) })
            parameters.append(times: records.map(\.record.at))
            parameters.append(IdempotencyKey.lifetime.milliseconds)
        }
    }

    static let usage = PostgresCall(
        "idempotency_usage", "SELECT count(*), coalesce(sum(octet_length(body)), 0)::bigint FROM idempotency")

    /// Reads a number of responses and their bytes from two columns.
    static func usage(_ rows: PostgresRows) throws(PostgresError) -> IdempotencyUsage {
        IdempotencyUsage(
            records: Int(try rows.value(0, 0, as: Int64.self)), bytes: Int(try rows.value(0, 1, as: Int64.self)))
    }

    private static let findSQL = "SELECT i.fingerprint, i.body, i.at FROM idempotency i WHERE i.key = $1 AND i.at > $2"

    private static let storeSQL = """
        WITH replaced AS MATERIALIZED (
            SELECT count(*) AS records, coalesce(sum(octet_length(i.body)), 0)::bigint AS bytes
            FROM idempotency i WHERE i.key = ANY($1)),
        stored AS (
            INSERT INTO idempotency (key, fingerprint, body, at)
            SELECT v.key, v.fingerprint, v.body, v.at
            FROM unnest($1, $2, $3, $4) AS v(key, fingerprint, body, at) ORDER BY v.key
            ON CONFLICT (key) DO UPDATE
            SET fingerprint = excluded.fingerprint, body = excluded.body, at = excluded.at
            WHERE idempotency.at + $5 <= excluded.at
            RETURNING key)
        SELECT r.records, r.bytes,
            CASE WHEN (SELECT count(*) FROM stored) < cardinality($1) THEN refuse_idempotency_key() END
        FROM replaced r
        """
}
#endif
