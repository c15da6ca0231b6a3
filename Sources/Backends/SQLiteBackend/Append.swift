import Foundation
import GRDB
import PushModel
import PushQueue

/// A batch on its way into the database; encoded before it meets the writer, so that the writer only writes.
struct Appendix: Sendable {
    let id: BatchID
    let place: QueueState.Place
    let count: Int
    let acceptedAt: WallTime
    let notBefore: WallTime?
    let claim: Duration?
    let body: Data

    init(_ new: NewBatch) {
        id = new.batch.id
        place = QueueState.Place(lane: new.batch.lane, app: new.batch.app)
        count = new.batch.count
        acceptedAt = new.batch.acceptedAt
        notBefore = new.batch.notBefore
        claim = new.claim
        body = BatchCodec.encode(new.batch)
    }

    var firstDue: WallTime { notBefore ?? acceptedAt }
}

enum Append {
    static func run(
        _ batches: [Appendix], _ db: Database, _ state: inout QueueState, clock: QueueClock
    ) throws -> [Lease?] {
        let records = try db.cachedStatement(
            sql: "INSERT INTO records (id, key, app, lane, accepted_at, count) VALUES (?, ?, ?, ?, ?, ?)"
        )
        let queue = try db.cachedStatement(
            sql: """
                INSERT INTO batches (key, id, app, lane, count, unsettled, accepted_at, not_before, due_at, leased, epoch,
                    progress_rows) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
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
            let isClaimed = batch.claim != nil && (batch.notBefore.map { $0 <= wall } ?? true)
            let epoch: Int64 = isClaimed ? 1 : 0
            try records.execute(arguments: [id, key, app, lane, batch.acceptedAt.milliseconds, batch.count])
            try queue.execute(arguments: [
                key, id, app, lane, batch.count, batch.count, batch.acceptedAt.milliseconds,
                batch.notBefore?.milliseconds, batch.firstDue.milliseconds, isClaimed, epoch,
            ])
            try bodies.execute(arguments: [key, batch.body])
            state.change(batch.place, batches: 1, pushes: batch.count)
            guard isClaimed, let duration = batch.claim else { return nil }
            state.hold(
                batch.id,
                QueueState.Held(
                    key: key, epoch: UInt64(epoch), deadline: now + duration, place: batch.place,
                    ledger: BatchLedger(count: batch.count, firstDue: batch.firstDue), progressRows: 0
                )
            )
            return Lease(batch: batch.id, epoch: UInt64(epoch))
        }
    }
}
