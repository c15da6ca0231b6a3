import GRDB
import PushModel
import PushQueue

enum Depth {
    /// From counters in memory, and one look at the head of the index per app and lane.
    static func read(_ db: Database, _ state: QueueState, now: WallTime) throws -> QueueDepth {
        var depth = QueueDepth()
        var oldest: (due: Int64, acceptedAt: Int64)?
        let head = try db.cachedStatement(
            sql: """
                SELECT due_at, accepted_at FROM batches
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
            guard let row = try Row.fetchOne(head, arguments: arguments) else { continue }
            let found: (due: Int64, acceptedAt: Int64) = (row[0], row[1])
            if oldest.map({ found.due < $0.due }) ?? true { oldest = found }
        }
        depth.rows.sort { ($0.lane, $0.app) < ($1.lane, $1.app) }
        depth.oldestDue = oldest.map { WallTime(milliseconds: $0.acceptedAt) }
        return depth
    }
}
