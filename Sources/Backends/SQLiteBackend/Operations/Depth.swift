import GRDB
import PushModel
import PushStore

enum Depth {
    /// Combines the writer's counters with one index lookup per app and lane.
    static func read(
        _ db: Database, counts: [AppLane: QueueState.Count], paused: some Sequence<AppID>, now: WallTime
    ) throws -> QueueDepth {
        var depth = QueueDepth()
        let paused = Set(paused)
        let head = try db.cachedStatement(
            sql: """
                SELECT due_at FROM batches
                WHERE leased = 0 AND crashes < \(PoisonLimits.redeliveriesBeforeQuarantine) AND lane = ? AND app = ?
                    AND environment = ? AND due_at <= ? ORDER BY due_at LIMIT 1
                """
        )
        for (appLane, count) in counts {
            depth.add(batches: count.batches, pushes: count.pushes, of: appLane)
            guard !paused.contains(appLane.app) else { continue }
            let arguments: StatementArguments = [
                Int(appLane.lane.rawValue), appLane.app.name, Int(appLane.appEnvironment.environment.code),
                now.milliseconds,
            ]
            guard let due = try Int64.fetchOne(head, arguments: arguments) else { continue }
            let dueAt = WallTime(milliseconds: due)
            depth.oldestDue[appLane.app] = min(depth.oldestDue[appLane.app] ?? dueAt, dueAt)
        }
        return depth
    }
}
