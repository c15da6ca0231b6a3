import GRDB
import PushModel
import PushQueue

enum Depth {
    /// From counters in memory, and one look at the head of the index per app and lane.
    static func read(_ db: Database, _ state: QueueState, now: WallTime) throws -> QueueDepth {
        var depth = QueueDepth()
        var oldest: Int64?
        let head = try db.cachedStatement(
            sql: """
                SELECT due_at FROM batches
                WHERE leased = 0 AND crashes < \(PoisonLimits.crashDeliveriesMax) AND lane = ? AND app = ?
                    AND due_at <= ? ORDER BY due_at LIMIT 1
                """
        )
        for (place, count) in state.counts.current {
            depth.rows.append(
                QueueDepth.Row(app: place.app, lane: place.lane, batches: count.batches, pushes: count.pushes)
            )
            guard state.paused[place.app] == nil else { continue }
            let arguments: StatementArguments = [Int(place.lane.rawValue), place.app.name, now.milliseconds]
            guard let due = try Int64.fetchOne(head, arguments: arguments) else { continue }
            oldest = min(oldest ?? due, due)
        }
        depth.rows.sort { ($0.lane, $0.app) < ($1.lane, $1.app) }
        depth.oldestDue = oldest.map { WallTime(milliseconds: $0) }
        return depth
    }
}
