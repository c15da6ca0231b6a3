import GRDB
import PushModel
import PushStore

enum Depth {
    /// From the writer's counters, and one look at the head of the index per app and lane.
    static func read(
        _ db: Database, counts: [AppLane: QueueState.Count], paused: some Sequence<AppID>, now: WallTime
    ) throws -> QueueDepth {
        var depth = QueueDepth()
        let paused = Set(paused)
        let head = try db.cachedStatement(
            sql: """
                SELECT due_at FROM batches
                WHERE leased = 0 AND crashes < \(PoisonLimits.redeliveriesBeforeQuarantine) AND lane = ? AND app = ?
                    AND due_at <= ? ORDER BY due_at LIMIT 1
                """
        )
        for (place, count) in counts {
            depth.rows.append(
                QueueDepth.Row(app: place.app, lane: place.lane, batches: count.batches, pushes: count.pushes)
            )
            guard !paused.contains(place.app) else { continue }
            let arguments: StatementArguments = [Int(place.lane.rawValue), place.app.name, now.milliseconds]
            guard let due = try Int64.fetchOne(head, arguments: arguments) else { continue }
            let moment = WallTime(milliseconds: due)
            depth.oldestDue[place.app] = min(depth.oldestDue[place.app] ?? moment, moment)
        }
        depth.rows.sort { ($0.lane, $0.app) < ($1.lane, $1.app) }
        return depth
    }
}
