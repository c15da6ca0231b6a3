import Foundation
import GRDB
import PushModel
import PushQueue

/// What the writer knows in memory beside the database: who holds which batch until when, and how much waits.
///
/// Only one process has the file, so leases end with the process and need not be written.
struct QueueState: Sendable {
    struct Held: Sendable {
        var key: Int64
        var epoch: UInt64
        /// By the monotonic clock.
        var deadline: Duration
        var place: Place
        var ledger: BatchLedger
        /// How many rows of progress the batch has.
        var progressRows: Int64
    }

    /// Where a batch waits.
    struct Place: Sendable, Hashable {
        var lane: Lane
        var app: AppID
    }

    struct Count: Sendable, Equatable {
        var batches = 0
        var pushes = 0
    }

    /// Bounded by what dispatch claims.
    var held = UndoableDictionary<BatchID, Held>()
    /// Bounded by the configured apps. A place without batches has no entry.
    var counts = UndoableDictionary<Place, Count>()
    /// The key of the next batch; keys are never used twice while a row bears them.
    var nextKey: Int64 = 1
    /// No lease runs out before.
    var earliestDeadline: Duration = .seconds(Int64.max)

    struct Mark {
        fileprivate var held: Int
        fileprivate var counts: Int
    }

    var mark: Mark { Mark(held: held.mark, counts: counts.mark) }

    mutating func rollBack(to mark: Mark) {
        held.rollBack(to: mark.held)
        counts.rollBack(to: mark.counts)
        // A lease that the roll-back brought back may run out earlier than what is noted.
        earliestDeadline = .zero
    }

    mutating func commit() {
        held.commit()
        counts.commit()
    }

    mutating func hold(_ batch: BatchID, _ held: Held) {
        self.held[batch] = held
        earliestDeadline = min(earliestDeadline, held.deadline)
    }

    mutating func change(_ place: Place, batches: Int = 0, pushes: Int) {
        var count = counts[place] ?? Count()
        count.batches += batches
        count.pushes += pushes
        counts[place] = count == Count() ? nil : count
    }

    /// Takes over a queue that another process has left, however it ended: returns its leases, counts what waits.
    static func recover(_ db: Database) throws -> QueueState {
        var state = QueueState()
        try db.inTransaction(.immediate) {
            try db.execute(sql: "UPDATE batches SET leased = 0 WHERE leased <> 0")
            return .commit
        }
        let rows = try Row.fetchCursor(
            db, sql: "SELECT lane, app, count(*), sum(unsettled) FROM batches GROUP BY lane, app"
        )
        while let row = try rows.next() {
            state.change(
                Place(lane: try Lane(stored: row[0]), app: AppID(row[1])), batches: row[2], pushes: row[3]
            )
        }
        // A finished batch has progress rows, an unfinished one is in the queue: together they show every key in use.
        let inQueue = try Int64.fetchOne(db, sql: "SELECT max(key) FROM batches") ?? 0
        let finished =
            try Int64.fetchOne(db, sql: "SELECT max(key) FROM progress").map { $0 >> ProgressKey.rowBits } ?? 0
        state.nextKey = max(inQueue, finished) + 1
        state.commit()
        return state
    }
}

/// The keys of the rows in `progress`.
enum ProgressKey {
    static let rowBits: Int64 = 20

    static func key(ofBatch key: Int64, row: Int64) -> Int64 {
        precondition(row < 1 << rowBits, "a batch has fewer than a million rows of progress")
        return key << rowBits | row
    }
}

extension Lane {
    init(stored value: Int) throws {
        guard let lane = UInt8(exactly: value).flatMap(Lane.init(rawValue:)) else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "unknown lane \(value)")
        }
        self = lane
    }
}
