#if Postgres
import Foundation
import PostgresLink
import PushModel
import PushStore

/// The batches of one call, encoded by the caller's thread.
struct EncodedAppend: Sendable {
    struct Row: Sendable {
        let batch: Batch
        let claim: Duration?
        let body: [UInt8]
        let deadline: WallTime
        let collapses: [CollapsingPush]
    }

    let rows: [Row]
    let appLanes: [AppLane: Int16]
    let bytes: Int

    init(_ batches: [NewBatch], appLanes: [AppLane: Int16], policy: DeliveryPolicy, key: TokenHashKey) {
        rows = batches.map { new in
            Row(
                batch: new.batch, claim: new.claim, body: [UInt8](BatchCodec.encode(new.batch)),
                deadline: Deadlines(of: new.batch, policy: policy).earliest,
                collapses: CollapsingPush.keys(of: new.batch, key: key))
        }
        self.appLanes = appLanes
        bytes = rows.reduce(0) { $0 + $1.body.count }
    }
}

/// Inserts batches.
enum BatchInsertion {
    /// The calls of one transaction: the batches, and the collapse IDs of those that wait.
    ///
    /// - Parameter isRepeated: whether an earlier attempt may have taken place. Then batches that have ended are left
    ///   out, and the caller compares the number of rows.
    static func calls(_ appends: [EncodedAppend], owner: Int32, isRepeated: Bool) -> [PostgresCall] {
        var calls: [PostgresCall] = []
        let rows = appends.flatMap { append in
            append.rows.map { row in
                (row: row, appLane: append.appLanes[AppLane(row.batch.appEnvironment, lane: row.batch.lane)] ?? 0)
            }
        }
        guard !rows.isEmpty else { return [] }
        calls.append(
            PostgresCall("append", sql) { parameters in
                let batches = rows.map(\.row.batch)
                parameters.append(ids: batches.map(\.id))
                parameters.append(array: rows.map(\.appLane))
                parameters.append(array: batches.map { Int16($0.count) })
                parameters.append(times: batches.map(\.acceptedAt))
                parameters.append(times: batches.map(\.firstDue))
                parameters.append(optionals: batches.map { $0.dueTimes.isAbsent ? nil : $0.firstDue.milliseconds })
                parameters.append(optionals: batches.map { $0.dueTimes.isAbsent ? nil : $0.lastDue.milliseconds })
                parameters.append(optionals: rows.map { $0.row.claim?.milliseconds })
                parameters.append(times: rows.map(\.row.deadline))
                parameters.append(array: rows.map { ($0.row.collapses.isEmpty ? RowMarks() : .collapses).rawValue })
                parameters.append(optionals: batches.map { $0.clients.shared?.replacing("\0", with: "") })
                parameters.append(optionals: batches.map { $0.requestID?.replacing("\0", with: "") })
                parameters.append(array: rows.map(\.row.body))
                parameters.append(owner)
                parameters.append(isRepeated)
            })
        if let collapses = CollapseRows.insertion(of: rows.map { ($0.row.batch.id, $0.row.collapses) }) {
            calls.append(collapses)
        }
        return calls
    }

    /// The leases of the inserted batches by ID; nil for one that waits.
    static func leases(_ rows: PostgresRows) throws(PostgresError) -> [BatchID: Lease?] {
        var leases: [BatchID: Lease?] = [:]
        for row in 0..<rows.count {
            let id = try rows.batchID(row, 0)
            leases[id] = .some(try rows.value(row, 1) ? Lease(batch: id, epoch: UInt64(try rows.int32(row, 2))) : nil)
        }
        return leases
    }

    /// Looks for batches whose append has an unknown outcome. `owner` has the leases that it made.
    static func readBack(_ ids: [BatchID], owner: Int32) -> PostgresCall {
        PostgresCall("append_read_back", readBackSQL) { parameters in
            parameters.append(ids: ids)
            parameters.append(owner)
        }
    }

    // The rows keep the order of the arrays, and so do their keys.
    private static let sql = """
        WITH new AS (
            INSERT INTO batches (id, app_lane, count, unsettled, accepted_at, due_at, first_due, last_due, owner,
                lease_until, epoch, deadline, marks, client, request, body)
            SELECT v.id, v.app_lane, v.count, v.count, v.accepted_at, v.due_at, v.first_due, v.last_due,
                CASE WHEN c.claims THEN $14 END,
                CASE WHEN c.claims THEN store_time() + v.claim * interval '1 ms' END,
                c.claims::int, v.deadline, v.marks, v.client, v.request, v.body
            FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) WITH ORDINALITY AS v(
                id, app_lane, count, accepted_at, due_at, first_due, last_due, claim, deadline, marks, client, request,
                body, place)
            CROSS JOIN LATERAL (
                SELECT v.claim IS NOT NULL AND coalesce(v.last_due <= store_ms(), true) AND NOT EXISTS (
                    SELECT 1 FROM app_lanes al JOIN pauses p ON p.app = al.app WHERE al.id = v.app_lane) AS claims) c
            WHERE NOT ($15 AND EXISTS (SELECT 1 FROM records r WHERE r.id = v.id))
            ORDER BY v.place
            RETURNING id, app_lane, count, owner, epoch),
        depths AS (
            INSERT INTO depth_log (app_lane, batches, pushes)
            SELECT n.app_lane, count(*), sum(n.count) FROM new n GROUP BY n.app_lane)
        SELECT n.id, n.owner IS NOT NULL, n.epoch FROM new n
        """

    private static let readBackSQL = """
        SELECT b.id, b.owner IS NOT DISTINCT FROM $2, b.epoch FROM batches b WHERE b.id = ANY($1)
        UNION ALL
        SELECT r.id, false, r.epoch FROM records r WHERE r.id = ANY($1)
        """
}
#endif
