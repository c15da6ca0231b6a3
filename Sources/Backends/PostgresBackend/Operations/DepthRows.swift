#if Postgres
import APNSWire
import PostgresLink
import PushModel
import PushStore

/// The numbers of batches and pushes that wait. Each write adds a row with its change to `depth_log`, so that no writer
/// waits for the counter of another one; they are folded into `depth` every second.
enum DepthRows {
    static func read(_ connection: PostgresConnection) async throws(QueueError) -> QueueDepth {
        let rows = try await connection.execute(PostgresCall("depth", sql))
        return try mappingErrors { () throws(PostgresError) in
            var depth = QueueDepth()
            for row in 0..<rows.count {
                let appLane = try rows.appLane(row, 0)
                depth.add(
                    batches: Int(try rows.value(row, 3, as: Int64.self)),
                    pushes: Int(try rows.value(row, 4, as: Int64.self)), of: appLane)
                guard let due = try rows.optional(row, 5, as: Int64.self).map(WallTime.init(milliseconds:)) else {
                    continue
                }
                depth.oldestDue[appLane.app] = min(depth.oldestDue[appLane.app] ?? due, due)
            }
            return depth
        }
    }

    private static let sql = """
        WITH changes AS (
            SELECT d.app_lane, d.batches, d.pushes FROM depth d
            UNION ALL SELECT l.app_lane, l.batches, l.pushes FROM depth_log l),
        sums AS (
            SELECT c.app_lane, sum(c.batches)::bigint AS batches, sum(c.pushes)::bigint AS pushes FROM changes c
            GROUP BY c.app_lane)
        SELECT al.app, al.environment, al.lane, s.batches, s.pushes, o.due_at
        FROM sums s JOIN app_lanes al ON al.id = s.app_lane
        LEFT JOIN LATERAL (
            SELECT b.due_at FROM batches b
            WHERE b.app_lane = al.id AND b.owner IS NULL AND b.crashes < 3 AND b.due_at <= store_ms()
                AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.app = al.app)
            ORDER BY b.due_at, b.key LIMIT 1) o ON true
        WHERE s.batches <> 0
        """

    /// Folds the log. One instance does it at a time; the others skip it.
    static let fold = PostgresCall(
        "depth_fold",
        """
        WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(\(AdvisoryLock.depth)) AS is_mine),
        folded AS (DELETE FROM depth_log l WHERE (SELECT is_mine FROM turn) RETURNING l.app_lane, l.batches, l.pushes)
        INSERT INTO depth (app_lane, batches, pushes)
        SELECT f.app_lane, sum(f.batches), sum(f.pushes) FROM folded f GROUP BY f.app_lane
        ON CONFLICT (app_lane) DO UPDATE
        SET batches = depth.batches + excluded.batches, pushes = depth.pushes + excluded.pushes
        """)
}
#endif
