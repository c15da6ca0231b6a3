import Foundation
import GRDB
import PushModel
import PushStore

/// A batch on its way into the database; encoded before it meets the writer, so that the writer only writes.
struct EncodedBatch: Sendable {
    let id: BatchID
    let place: AppLane
    let count: Int
    let acceptedAt: WallTime
    let notBefore: WallTime?
    let requestID: String?
    let claim: Duration?
    let body: Data
    /// Its pushes with a collapse id.
    let collapsible: [CollapseKey]

    init(_ new: NewBatch) {
        id = new.batch.id
        place = AppLane(app: new.batch.app, lane: new.batch.lane)
        count = new.batch.count
        acceptedAt = new.batch.acceptedAt
        // One that was over when the push came is "at once": it must not overtake what waits.
        notBefore = new.batch.notBefore.map { max($0, new.batch.acceptedAt) }
        requestID = new.batch.requestID
        claim = new.claim
        body = BatchCodec.encode(new.batch)
        collapsible = CollapseKey.keys(of: new.batch)
    }

    var firstDue: WallTime { notBefore ?? acceptedAt }
}

enum Append {
    static func run(
        _ batches: [EncodedBatch], _ db: Database, _ state: inout QueueState, clock: QueueClock
    ) throws -> [Lease?] {
        let records = try db.cachedStatement(
            sql: "INSERT INTO records (id, key, app, lane, accepted_at, count) VALUES (?, ?, ?, ?, ?, ?)"
        )
        let queue = try db.cachedStatement(
            sql: """
                INSERT INTO batches (key, id, app, lane, count, unsettled, accepted_at, not_before, due_at, leased, epoch,
                    progress_rows, request, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)
                """
        )
        let bodies = try db.cachedStatement(sql: "INSERT INTO bodies (key, body) VALUES (?, ?)")
        let wall = clock.wall()
        let now = clock.monotonic()
        return try batches.map { batch in
            let key = state.nextKey
            state.nextKey += 1
            let id = batch.id.bytes
            let (lane, app) = (Int(batch.place.lane.rawValue), batch.place.app.name)
            let isClaimed =
                batch.claim != nil && (batch.notBefore.map { $0 <= wall } ?? true)
                && state.paused[batch.place.app] == nil
            let epoch: UInt64 = isClaimed ? 1 : 0
            try records.execute(arguments: [id, key, app, lane, batch.acceptedAt.milliseconds, batch.count])
            try queue.execute(arguments: [
                key, id, app, lane, batch.count, batch.count, batch.acceptedAt.milliseconds,
                batch.notBefore?.milliseconds, batch.firstDue.milliseconds, isClaimed, Int64(epoch), batch.requestID,
                batch.acceptedAt.milliseconds,
            ])
            try bodies.execute(arguments: [key, batch.body])
            state.change(batch.place, batches: 1, pushes: batch.count)
            var queued = QueuedBatch(
                key: key, id: batch.id, place: batch.place, acceptedAt: batch.acceptedAt, epoch: epoch,
                ledger: BatchLedger(count: batch.count, firstDue: batch.firstDue), progressRows: 0, marks: []
            )
            if !batch.collapsible.isEmpty {
                let due = batch.notBefore ?? wall
                try Collapses.supersedeOlder(than: key, dueAt: due, batch.collapsible, db, &state, now: wall)
                if !isClaimed { try Collapses.enter(batch.collapsible, of: &queued, db, &state, now: wall) }
            }
            guard isClaimed, let duration = batch.claim else { return nil }
            state.hold(QueueState.Held(batch: queued, deadline: now + duration, collapsible: batch.collapsible))
            return Lease(batch: batch.id, epoch: epoch)
        }
    }
}
