import Foundation
import GRDB
import PushModel
import PushStore

/// Appends batches. `init` encodes them, before the call waits for the writer, so that the writer only writes.
struct Append: Sendable {
    private let batches: [NewBatch]
    /// Parallel to `batches`.
    private let bodies: [Data]
    /// Parallel to `batches`: when the first push expires.
    private let deadlines: [WallTime]
    /// Parallel to `batches`: the details of those that are claimed by their append.
    private let details: [[Data]?]
    /// Parallel to `batches`: the pushes with a collapse id.
    private let collapseKeys: [[CollapseKey]]

    init(_ batches: [NewBatch], tokenHashKey: TokenHashKey, policy: DeliveryPolicy) {
        self.batches = batches
        deadlines = batches.map { Deadlines(of: $0.batch, policy: policy).earliest }
        bodies = batches.map { BatchCodec.encode($0.batch) }
        details = batches.map { $0.claim == nil ? nil : RecordDetails.encode($0.batch, key: tokenHashKey) }
        collapseKeys = batches.map { CollapseKey.keys(of: $0.batch) }
    }

    var byteCount: Int { bodies.reduce(0) { $0 + $1.count } }

    /// - Returns: parallel to the batches: the lease of each batch that was claimed, otherwise nil.
    func run(_ db: Database, _ state: inout QueueState, clock: QueueClock) throws -> [Lease?] {
        let now = Moment(wall: clock.wall(), monotonic: clock.monotonic())
        return try batches.indices.map { index in
            let new = batches[index]
            let key = state.nextKey
            state.nextKey += 1
            var queued = QueuedBatch(new.batch, key: key, epoch: 0)
            let isDue = queued.schedule.map { $0.upperBound <= now.wall } ?? true
            let lease = isDue && state.paused[new.batch.app] == nil ? new.claim : nil
            if lease != nil { queued.epoch = 1 }
            try insert(
                queued, new.batch, body: bodies[index], deadline: deadlines[index], isClaimed: lease != nil, db)
            state.adjustCounts(of: queued.appLane, batches: 1, pushes: new.batch.count)
            let collapsible = collapseKeys[index]
            if !collapsible.isEmpty {
                try Collapses.supersedeOlder(
                    than: key, dueTimes: new.batch.dueTimes, collapsible, db, &state, now: now.wall
                )
                if lease == nil { try Collapses.insert(collapsible, of: &queued, db, &state, now: now.wall) }
            }
            guard let lease else { return nil }
            queued.details.fill(details[index])
            state.hold(QueueState.Held(batch: queued, deadline: now.monotonic + lease, collapsible: collapsible))
            return Lease(batch: queued.id, epoch: queued.epoch)
        }
    }

    private func insert(
        _ queued: QueuedBatch, _ batch: Batch, body: Data, deadline: WallTime, isClaimed: Bool, _ db: Database
    ) throws {
        let id = queued.id.bytes
        let (lane, app, environment) = (Int(batch.lane.rawValue), batch.app.name, Int(batch.environment.code))
        let acceptedAt = batch.acceptedAt.milliseconds
        try db.cachedStatement(
            sql: """
                INSERT INTO records (id, key, app, environment, lane, accepted_at, count) VALUES (?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [id, queued.key, app, environment, lane, acceptedAt, batch.count])
        try db.cachedStatement(
            sql: """
                INSERT INTO batches (key, id, app, environment, lane, count, unsettled, accepted_at, first_due, last_due,
                    due_at, since, leased, epoch, progress_rows, client, request, deadline)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)
                """
        ).execute(arguments: [
            queued.key, id, app, environment, lane, batch.count, batch.count, acceptedAt,
            queued.schedule?.lowerBound.milliseconds, queued.schedule?.upperBound.milliseconds,
            queued.due.milliseconds, acceptedAt, isClaimed, Int64(queued.epoch), batch.clients.shared, batch.requestID,
            deadline.milliseconds,
        ])
        try db.cachedStatement(sql: "INSERT INTO bodies (key, body) VALUES (?, ?)").execute(arguments: [
            queued.key, body,
        ])
    }
}
