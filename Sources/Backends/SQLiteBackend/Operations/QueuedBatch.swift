import Foundation
import GRDB
import PushModel
import PushStore

/// Flags for side tables; zero lets common batches skip the lookup.
struct BatchMarks: OptionSet {
    let rawValue: Int

    /// `collapses` has pushes of the batch.
    static let collapses = BatchMarks(rawValue: 1)
    /// `dead_letters` has, or had, pushes of the batch.
    static let deadLetters = BatchMarks(rawValue: 2)
}

/// A batch in the queue: its row in `batches`, and a ledger of its pushes.
struct QueuedBatch: Sendable {
    let key: Int64
    let id: BatchID
    let appLane: AppLane
    let acceptedAt: WallTime
    /// Not always that of the appended batch: a replay moves it.
    let notBefore: WallTime?
    /// `due_at` when the row was read.
    let due: WallTime
    /// `unsettled` when the row was read. The ledger has the number only after `applyUpdates`.
    let storedUnsettled: Int
    var epoch: UInt64
    var ledger: BatchLedger
    /// The number of rows in `progress`.
    var progressRows: Int64
    var marks: BatchMarks
    /// The push that was last claimed alone, and how many crashes happened over it.
    var isolated: (index: Int, crashes: Int)?

    /// A batch without updates.
    init(_ batch: Batch, key: Int64, epoch: UInt64) {
        self.key = key
        id = batch.id
        appLane = AppLane(batch.appEnvironment, lane: batch.lane)
        acceptedAt = batch.acceptedAt
        notBefore = batch.lastDue > batch.acceptedAt ? batch.lastDue : nil
        due = notBefore ?? acceptedAt
        storedUnsettled = batch.count
        self.epoch = epoch
        ledger = BatchLedger(count: batch.count, firstDue: due)
        progressRows = 0
        marks = []
    }

    static let columns = """
        key, id, app, lane, count, unsettled, accepted_at, not_before, due_at, epoch, progress_rows, marks, alone_index,
        alone_crashes
        """

    /// Reads `columns`. The ledger has no updates yet: see `applyUpdates`.
    init(_ row: Row) throws {
        key = row[0]
        id = try BatchID(stored: row[1])
        appLane = AppLane(AppEnvironment(AppID(row[2])), lane: try Lane(stored: row[3]))
        storedUnsettled = row[5]
        acceptedAt = WallTime(milliseconds: row[6])
        notBefore = (row[7] as Int64?).map { WallTime(milliseconds: $0) }
        due = WallTime(milliseconds: row[8])
        epoch = UInt64(bitPattern: row[9])
        ledger = try BatchLedger(storedCount: row[4], firstDue: notBefore ?? acceptedAt)
        progressRows = row[10]
        marks = BatchMarks(rawValue: row[11])
        isolated = (row[12] as Int?).map { ($0, row[13]) }
    }

    var lease: Lease { Lease(batch: id, epoch: epoch) }

    /// Writes the new part of `update` and what follows from it: dead letters, and the end of a finished batch. Drops
    /// the rest of `update`. The caller writes the row of a batch that is not finished.
    mutating func record(_ update: inout BatchUpdate, _ db: Database, _ state: inout QueueState) throws {
        let unsettledBefore = ledger.unsettled
        ledger.record(&update)
        guard !update.isEmpty else { return }
        try db.cachedStatement(sql: "INSERT INTO progress (key, body) VALUES (?, ?)").execute(arguments: [
            ProgressKey.key(ofBatch: key, row: progressRows), ProgressCodec.encode(update),
        ])
        progressRows += 1
        try DeadLetterRows.insert(update, of: &self, db)
        if marks.contains(.collapses) { try Collapses.delete(update, of: key, db) }
        state.adjustCounts(of: appLane, batches: ledger.isFinished ? -1 : 0, pushes: ledger.unsettled - unsettledBefore)
        state.outcomes.add(update.outcomes, of: appLane.app)
        if ledger.isFinished { try leaveQueue(db) }
    }

    /// Removes the finished batch from the queue. Deletes its payloads, unless dead letters need them.
    private func leaveQueue(_ db: Database) throws {
        try db.cachedStatement(sql: "DELETE FROM batches WHERE key = ?").execute(arguments: [key])
        if marks.contains(.collapses) {
            try db.cachedStatement(sql: "DELETE FROM collapses WHERE key = ?").execute(arguments: [key])
        }
        // If dead letters of the batch are replayed, its epochs continue from here.
        try db.cachedStatement(sql: "UPDATE records SET ended_at = ?, last_epoch = ? WHERE id = ?")
            .execute(arguments: [since.milliseconds, Int64(epoch), id.bytes])
        if try !marks.contains(.deadLetters) || !DeadLetterRows.exist(of: id, db) {
            try db.cachedStatement(sql: "DELETE FROM bodies WHERE key = ?").execute(arguments: [key])
        }
    }

    /// Writes the row of a batch that waits. A finished batch has none.
    func updateWaiting(_ db: Database) throws {
        guard !ledger.isFinished else { return }
        try db.cachedStatement(
            sql: """
                UPDATE batches SET unsettled = ?, progress_rows = ?, marks = ?, due_at = ?, since = ?, leased = 0
                WHERE key = ?
                """
        ).execute(arguments: [
            ledger.unsettled, progressRows, marks.rawValue, ledger.nextDue.milliseconds, since.milliseconds, key,
        ])
    }

    /// When it was last updated, or accepted.
    private var since: WallTime { ledger.lastUpdateAt ?? acceptedAt }
}

extension QueuedBatch {
    enum Found {
        /// Not in the queue.
        case none
        case leased
        /// An update cannot be read, so it is unknown which of the pushes are settled. The next claim ends the batch.
        case damaged
        case waiting(QueuedBatch)
    }

    static func find(_ key: Int64, _ db: Database) throws -> Found {
        let statement = try db.cachedStatement(sql: "SELECT \(columns), leased FROM batches WHERE key = ?")
        guard let row = try Row.fetchOne(statement, arguments: [key]) else { return .none }
        guard row[14] == 0 else { return .leased }
        var batch = try QueuedBatch(row)
        return try batch.applyUpdates(db) ? .waiting(batch) : .damaged
    }

    /// Folds the stored updates into the ledger.
    ///
    /// - Returns: false if a row is missing or cannot be read; the others are folded nevertheless.
    mutating func applyUpdates(_ db: Database) throws -> Bool {
        guard progressRows > 0 else { return true }
        let stored = try storedUpdates(db)
        var isReadable = stored.count == Int(progressRows)
        for bytes in stored {
            if var update = try? ProgressCodec.decode(bytes, pushes: ledger.count) {
                ledger.record(&update)
            } else {
                isReadable = false
            }
        }
        return isReadable
    }

    /// `godwit.v1.Progress`, in the order in which the rows were written.
    func storedUpdates(_ db: Database) throws -> [Data] {
        try Data.fetchAll(
            db.cachedStatement(sql: "SELECT body FROM progress WHERE key BETWEEN ? AND ? ORDER BY key"),
            arguments: [ProgressKey.key(ofBatch: key, row: 0), ProgressKey.key(ofBatch: key, row: progressRows)]
        )
    }
}

/// The keys of the rows in `progress`.
enum ProgressKey {
    static let rowBits: Int64 = 20

    static func key(ofBatch key: Int64, row: Int64) -> Int64 {
        precondition(row < 1 << rowBits, "a batch has fewer than a million rows of progress")
        return key << rowBits | row
    }

    /// All keys that rows of the batch can have.
    static func keys(ofBatch key: Int64) -> ClosedRange<Int64> { key << rowBits...(key + 1) << rowBits - 1 }
}

extension BatchID {
    init(stored value: Data) throws {
        guard let id = BatchID(bytes: value) else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a batch without an id")
        }
        self = id
    }
}

extension BatchLedger {
    init(storedCount count: Int, firstDue: WallTime) throws {
        guard (1...1000).contains(count) else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a batch of \(count) pushes")
        }
        self.init(count: count, firstDue: firstDue)
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

extension PushID {
    /// The 16 bytes of the UUID, big-endian.
    var bytes: Data {
        var bytes = batch.bytes
        bytes[14] = UInt8(index >> 8)
        bytes[15] = UInt8(index & 255)
        return bytes
    }

    init(stored value: Data) throws {
        let id = try BatchID(stored: value.prefix(14) + [0, 0])
        guard value.count == 16 else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a push without an id")
        }
        self = id.push(Int(value[value.startIndex + 14]) << 8 | Int(value[value.startIndex + 15]))
    }
}
