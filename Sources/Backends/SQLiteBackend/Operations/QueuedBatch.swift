import Foundation
import GRDB
import PushModel
import PushStore

/// What else is stored of a batch, so that ordinary batches need no look.
struct BatchMarks: OptionSet {
    let rawValue: Int

    /// Pushes of it are in `collapses`.
    static let collapses = BatchMarks(rawValue: 1)
    /// Pushes of it are, or were, in `dead_letters`.
    static let deadLetters = BatchMarks(rawValue: 2)
}

/// A batch of the queue as the writer knows it while it changes it.
struct QueuedBatch: Sendable {
    let key: Int64
    let id: BatchID
    let place: AppLane
    let acceptedAt: WallTime
    var epoch: UInt64
    var ledger: BatchLedger
    /// How many rows of progress the batch has.
    var progressRows: Int64
    var marks: BatchMarks

    /// Writes what is new of `news`, and what follows from it: dead letters, and the end of a finished batch. What is
    /// not new is dropped. The row of a batch that is not finished is left to the caller.
    mutating func record(_ news: inout BatchUpdate, _ db: Database, _ state: inout QueueState) throws {
        let unsettledBefore = ledger.unsettled
        ledger.record(&news)
        guard !news.isEmpty else { return }
        try db.cachedStatement(sql: "INSERT INTO progress (key, body) VALUES (?, ?)").execute(arguments: [
            ProgressKey.key(ofBatch: key, row: progressRows), ProgressCodec.encode(news),
        ])
        progressRows += 1
        try DeadLetters.keep(news, of: &self, db)
        if marks.contains(.collapses) { try Collapses.forget(news, of: key, db) }
        state.change(place, batches: ledger.isFinished ? -1 : 0, pushes: ledger.unsettled - unsettledBefore)
        state.outcomes.add(news.outcomes, of: place.app)
        if ledger.isFinished { try leave(db) }
    }

    /// Takes the finished batch out of the queue. Its payloads go, unless dead letters need them.
    private func leave(_ db: Database) throws {
        try db.cachedStatement(sql: "DELETE FROM batches WHERE key = ?").execute(arguments: [key])
        if marks.contains(.collapses) {
            try db.cachedStatement(sql: "DELETE FROM collapses WHERE key = ?").execute(arguments: [key])
        }
        // Should dead letters of it be put back, the epochs go on from here.
        try db.cachedStatement(sql: "UPDATE records SET ended_at = ?, last_epoch = ? WHERE id = ?")
            .execute(arguments: [since.milliseconds, Int64(epoch), id.bytes])
        if try !marks.contains(.deadLetters) || !DeadLetters.exist(of: id, db) {
            try db.cachedStatement(sql: "DELETE FROM bodies WHERE key = ?").execute(arguments: [key])
        }
    }

    /// Brings the row of a batch that waits up to date; a finished one has none.
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

    /// The moment of its last news, or of its acceptance.
    private var since: WallTime { ledger.lastUpdateAt ?? acceptedAt }
}

extension QueuedBatch {
    /// What there is of a batch in the queue.
    enum Found {
        /// Not in the queue.
        case none
        case leased
        /// Some of its news cannot be read, so nobody knows which of its pushes are settled. The next claim ends it.
        case damaged
        case waiting(QueuedBatch)
    }

    static func find(_ key: Int64, _ db: Database) throws -> Found {
        let statement = try db.cachedStatement(
            sql: """
                SELECT id, app, lane, count, coalesce(not_before, accepted_at), accepted_at, epoch, progress_rows, marks,
                    leased FROM batches WHERE key = ?
                """
        )
        guard let row = try Row.fetchOne(statement, arguments: [key]) else { return .none }
        guard row[9] == 0 else { return .leased }
        var batch = QueuedBatch(
            key: key, id: try BatchID(stored: row[0]),
            place: AppLane(app: AppID(row[1]), lane: try Lane(stored: row[2])),
            acceptedAt: WallTime(milliseconds: row[5]), epoch: UInt64(bitPattern: row[6]),
            ledger: try BatchLedger(storedCount: row[3], firstDue: WallTime(milliseconds: row[4])),
            progressRows: row[7], marks: BatchMarks(rawValue: row[8])
        )
        let isReadable = try batch.progressRows == 0 || batch.applyUpdates(db)
        return isReadable ? .waiting(batch) : .damaged
    }

    /// Takes the stored news into the ledger.
    ///
    /// - Returns: false when a row is missing or cannot be read; the others are folded in all the same.
    mutating func applyUpdates(_ db: Database) throws -> Bool {
        let stored = try storedUpdates(db)
        var isReadable = stored.count == Int(progressRows)
        for bytes in stored {
            if var news = try? ProgressCodec.decode(bytes, pushes: ledger.count) {
                ledger.record(&news)
            } else {
                isReadable = false
            }
        }
        return isReadable
    }

    /// `godwit.v1.Progress`, in the order in which it was written.
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

    /// All keys that rows of the batch may have.
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
