#if Postgres
import APNSWire
import PostgresLink
import PushModel
import PushStore

/// The batches that wait in one lane of an app, as a claim sees them first.
struct LaneWork: Sendable {
    let number: Int16
    let appLane: AppLane
    /// Unsettled pushes and bytes of the batches that are due, the oldest first.
    let heads: [(pushes: Int, bytes: Int)]
    let hasQuarantined: Bool

    /// Batches of a lane that one claim looks at.
    private static let headsMax = 256

    /// Looks at all lanes of apps that are not paused. The cost depends on the number of lanes.
    static func read(batchesMax: Int, _ connection: PostgresConnection) async throws(QueueError) -> [LaneWork] {
        let call = PostgresCall("claim_look", sql) { $0.append(Int32(min(batchesMax, headsMax))) }
        let rows = try await connection.execute(call)
        return try mappingErrors { () throws(PostgresError) in
            var lanes: [LaneWork] = []
            for row in 0..<rows.count {
                let pushes = try rows.array(row, 4, of: Int16.self)
                let bytes = try rows.array(row, 5, of: Int32.self)
                lanes.append(
                    LaneWork(
                        number: try rows.value(row, 0), appLane: try rows.appLane(row, 1),
                        heads: zip(pushes, bytes).map { (Int($0 ?? 0), Int($1 ?? 0)) },
                        hasQuarantined: try rows.value(row, 6)))
            }
            return lanes
        }
    }

    private static let sql = """
        WITH now AS MATERIALIZED (SELECT store_ms() AS ms)
        SELECT al.id, al.app, al.environment, al.lane, h.pushes, h.bytes, q.has_quarantined
        FROM now CROSS JOIN app_lanes al
        CROSS JOIN LATERAL (
            SELECT array_agg(w.unsettled) AS pushes, array_agg(w.bytes) AS bytes FROM (
                SELECT b.unsettled, octet_length(b.body) AS bytes FROM batches b
                WHERE b.app_lane = al.id AND b.owner IS NULL AND b.crashes < 3 AND b.due_at <= now.ms
                ORDER BY b.due_at, b.key LIMIT $1) w) h
        CROSS JOIN LATERAL (
            SELECT EXISTS (
                SELECT 1 FROM batches b
                WHERE b.app_lane = al.id AND b.owner IS NULL AND b.crashes >= 3 AND b.due_at <= now.ms
            ) AS has_quarantined) q
        WHERE (h.pushes IS NOT NULL OR q.has_quarantined) AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.app = al.app)
        """
}

/// How many batches of which lane a claim takes. Pure.
struct TurnPlan {
    /// The lane of each batch, in the order in which the claim returns them.
    private(set) var order: [AppLane] = []
    private(set) var takes: [AppLane: (number: Int16, batches: Int, pushes: Int)] = [:]

    /// Bytes of batches that one claim returns. The last batch of a claim may exceed it.
    private static let bytesMax = 16 << 20

    /// - Parameters:
    ///   - turns: by lane; continued from one claim to the next.
    ///   - batchesMax: of ordinary batches.
    init(
        _ work: [LaneWork], _ request: ClaimRequest, batchesMax: Int, pushesMax: Int,
        _ turns: inout [DeficitRoundRobin<AppEnvironment>]
    ) {
        var wanted = request.enough
        var pushesLeft = pushesMax
        var bytes = 0
        lanes: for lane in Lane.allCases {
            let lanes = work.filter { $0.appLane.lane == lane && request.allows($0.appLane) }
            let byApp = Dictionary(uniqueKeysWithValues: lanes.map { ($0.appLane.appEnvironment, $0) })
            let apps = byApp.keys.sorted()
            while order.count < batchesMax, bytes < Self.bytesMax, pushesLeft > 0 {
                func head(_ app: AppEnvironment) -> (pushes: Int, bytes: Int)? {
                    guard let lane = byApp[app] else { return nil }
                    let taken = takes[lane.appLane]?.batches ?? 0
                    return taken < lane.heads.count ? lane.heads[taken] : nil
                }
                let app = turns[Int(lane.rawValue)].next(among: apps) { app in
                    if let left = wanted[app], left <= 0 { return nil }
                    return head(app)?.pushes
                }
                guard let app, let work = byApp[app], let next = head(app) else { continue lanes }
                // None overtakes it: it is claimed when there is capacity for all of its pushes.
                guard next.pushes <= pushesLeft else { break lanes }
                pushesLeft -= next.pushes
                bytes += next.bytes
                wanted[app]? -= next.pushes
                let take = takes[work.appLane] ?? (work.number, 0, 0)
                takes[work.appLane] = (take.number, take.batches + 1, take.pushes + next.pushes)
                order.append(work.appLane)
            }
        }
    }
}

extension ClaimRequest {
    func allows(_ appLane: AppLane) -> Bool {
        !excludedApps.contains(appLane.appEnvironment) && !excludedLanes.contains(appLane)
    }
}

/// Claims the oldest batches of lanes.
enum ClaimRows {
    struct Batches: Sendable {
        var batches: [BatchRow]
        var now: WallTime
    }

    /// - Returns: in the order of the plan. Fewer than planned if another instance was faster.
    static func run(
        _ plan: TurnPlan, owner: Int32, lease: Duration, _ connection: PostgresConnection
    ) async throws(QueueError) -> Batches {
        let takes = plan.takes.values.sorted { $0.number < $1.number }
        let call = PostgresCall("claim", sql) { parameters in
            parameters.append(array: takes.map(\.number))
            parameters.append(array: takes.map { Int32($0.batches) })
            parameters.append(array: takes.map { Int32($0.pushes) })
            parameters.append(owner)
            parameters.append(lease.milliseconds)
        }
        let rows = try await connection.execute(call)
        var byLane = Dictionary(grouping: try BatchRow.all(rows), by: \.appLane)
        for lane in byLane.keys { byLane[lane]?.sort { ($0.due, $0.key) > ($1.due, $1.key) } }
        let batches = plan.order.compactMap { byLane[$0]?.popLast() }
        let now = try mappingErrors { () throws(PostgresError) in
            rows.count > 0 ? try rows.time(0, BatchRow.columnCount) : WallTime(milliseconds: 0)
        }
        return Batches(batches: batches, now: now)
    }

    // The lock comes before the sum, so that rows of other claims do not count.
    private static let sql = """
        WITH now AS MATERIALIZED (SELECT store_ms() AS ms),
        picked AS MATERIALIZED (
            SELECT c.id FROM now CROSS JOIN unnest($1, $2, $3) AS w(app_lane, batches, pushes)
            CROSS JOIN LATERAL (
                SELECT l.id, sum(l.unsettled) OVER (ORDER BY l.due_at, l.key) AS pushes FROM (
                    SELECT b.id, b.unsettled, b.due_at, b.key FROM batches b
                    WHERE b.app_lane = w.app_lane AND b.owner IS NULL AND b.crashes < 3 AND b.due_at <= now.ms
                        AND NOT EXISTS (
                            SELECT 1 FROM app_lanes al JOIN pauses p ON p.app = al.app WHERE al.id = w.app_lane)
                    ORDER BY b.due_at, b.key LIMIT w.batches FOR UPDATE OF b SKIP LOCKED) l) c
            WHERE c.pushes <= w.pushes)
        UPDATE batches b SET owner = $4, lease_until = store_time() + $5 * interval '1 ms', epoch = b.epoch + 1,
            update_no = 0, has_update = false
        FROM picked k, app_lanes al WHERE b.id = k.id AND al.id = b.app_lane
        RETURNING \(BatchRow.columns), store_ms()
        """
}
#endif
