import APNSWire
import Foundation
import GRDB
import PushModel
import PushStore
import Synchronization

/// Flags for side tables; zero lets common batches skip the lookup.
struct BatchMarks: OptionSet {
    let rawValue: Int

    /// `collapses` has pushes of the batch.
    static let collapses = BatchMarks(rawValue: 1)
    /// `dead_letters` has, or had, pushes of the batch.
    static let deadLetters = BatchMarks(rawValue: 2)
}

/// The parts of `godwit.v1.RecordDetails` of a batch, made where its content is in memory, outside of the writer, which
/// writes them when the batch leaves the queue.
final class EncodedDetails: Sendable {
    private let state = Mutex<[Data]?>(nil)

    var parts: [Data]? { state.withLock { $0 } }

    func fill(_ parts: [Data]?) { state.withLock { $0 = parts } }
}

/// A batch in the queue: its row in `batches`, and a ledger of its pushes.
struct QueuedBatch: Sendable {
    let key: Int64
    let id: BatchID
    let appLane: AppLane
    /// When pushes without a due time are due. Earlier than the batch's own time if the clock moved backwards since.
    let acceptedAt: WallTime
    /// When the first and the last push are due, as accepted; nil if no push has a due time.
    let schedule: ClosedRange<WallTime>?
    /// `due_at` when the row was read.
    let due: WallTime
    /// `unsettled` when the row was read. The ledger has the number only after `load`.
    let storedUnsettled: Int
    var epoch: UInt64
    var ledger: BatchLedger
    /// The number of rows in `progress`.
    var progressRows: Int64
    var marks: BatchMarks
    /// The push that was last claimed alone, and how many crashes happened over it.
    var isolated: (index: Int, crashes: Int)?
    let details = EncodedDetails()

    /// A batch without updates.
    init(_ batch: Batch, key: Int64, epoch: UInt64) {
        self.key = key
        id = batch.id
        appLane = AppLane(batch.appEnvironment, lane: batch.lane)
        acceptedAt = batch.acceptedAt
        due = batch.firstDue
        schedule = batch.dueTimes.isAbsent ? nil : due...batch.lastDue
        storedUnsettled = batch.count
        self.epoch = epoch
        ledger = BatchLedger(count: batch.count, acceptedAt: acceptedAt, dueTimes: batch.dueTimes)
        progressRows = 0
        marks = []
    }

    static let columns = """
        key, id, app, environment, lane, count, unsettled, accepted_at, first_due, last_due, due_at, epoch,
        progress_rows, marks, isolated_index, isolated_crashes
        """
    private static let columnCount = 16

    /// Reads `columns`. The ledger is not complete yet: see `load`.
    init(_ row: Row) throws {
        key = row[0]
        id = try BatchID(stored: row[1])
        appLane = AppLane(
            AppEnvironment(AppID(row[2]), try APNSEnvironment(stored: row[3])), lane: try Lane(stored: row[4])
        )
        storedUnsettled = row[6]
        acceptedAt = WallTime(milliseconds: row[7])
        schedule = ClosedRange(storedFirst: row[8], last: row[9])
        due = WallTime(milliseconds: row[10])
        epoch = UInt64(bitPattern: row[11])
        let shared = schedule.flatMap { $0.lowerBound == $0.upperBound ? $0.upperBound : nil }
        ledger = try BatchLedger(storedCount: row[5], acceptedAt: acceptedAt, dueTimes: PushColumn(shared: shared))
        progressRows = row[12]
        marks = BatchMarks(rawValue: row[13])
        isolated = (row[14] as Int?).map { ($0, row[15]) }
    }

    var lease: Lease { Lease(batch: id, epoch: epoch) }

    /// Writes the new part of `update` and what follows from it: dead letters, and the end of a finished batch. Drops
    /// the rest of `update`. The caller writes the row of a batch that is not finished.
    mutating func record(_ update: inout BatchUpdate, _ db: Database, _ state: inout QueueState) throws {
        let unsettledBefore = ledger.unsettled
        ledger.record(&update)
        guard !update.isEmpty else { return }
        try insert(ProgressCodec.encode(update, of: id), db)
        if progressRows > Self.progressRowsMax { try compactProgress(db) }
        try DeadLetterRows.insert(update, of: &self, db)
        if marks.contains(.collapses) { try Collapses.delete(update, of: key, db) }
        state.adjustCounts(of: appLane, batches: ledger.isFinished ? -1 : 0, pushes: ledger.unsettled - unsettledBefore)
        state.outcomes.add(update.outcomes, of: appLane.app)
        if ledger.isFinished { try leaveQueue(db, state.tokenHashKey) }
    }

    /// A batch with more is compacted. It bounds what a claim reads, also of a batch that is retried very often.
    private static let progressRowsMax = 64

    private mutating func insert(_ progress: Data, _ db: Database) throws {
        try db.cachedStatement(sql: "INSERT INTO progress (key, body) VALUES (?, ?)")
            .execute(arguments: [ProgressKey.key(ofBatch: key, row: progressRows), progress])
        progressRows += 1
    }

    /// Replaces the rows in `progress` by one. Keeps rows that cannot be read, before it.
    private mutating func compactProgress(_ db: Database) throws {
        var kept: [Data] = []
        var records: [ProgressRecord] = []
        for bytes in try storedProgress(db) {
            if let record = try? ProgressCodec.decode(bytes, of: id, pushes: ledger.count) {
                records.append(record)
            } else {
                kept.append(bytes)
            }
        }
        guard records.count > 1 else { return }
        kept.append(ProgressCodec.encode(ProgressRecord(replacing: records), of: id))
        let keys = ProgressKey.updates(ofBatch: key)
        try db.cachedStatement(sql: "DELETE FROM progress WHERE key BETWEEN ? AND ?")
            .execute(arguments: [keys.lowerBound, keys.upperBound])
        progressRows = 0
        for bytes in kept { try insert(bytes, db) }
    }

    /// Removes the finished batch from the queue. Deletes its payloads, unless dead letters need them.
    private func leaveQueue(_ db: Database, _ tokenHashKey: TokenHashKey) throws {
        try db.cachedStatement(sql: "DELETE FROM batches WHERE key = ?").execute(arguments: [key])
        if marks.contains(.collapses) {
            try db.cachedStatement(sql: "DELETE FROM collapses WHERE key = ?").execute(arguments: [key])
        }
        let details = try encodedDetails(db, tokenHashKey)
        // If dead letters of the batch are replayed, its epochs continue from here.
        try db.cachedStatement(
            sql: "UPDATE records SET ended_at = ?, last_epoch = ?, states = ?, codes = ?, details = ? WHERE id = ?"
        ).execute(arguments: [
            since.milliseconds, Int64(epoch), Int(ledger.outcomeKinds.stateBits), ledger.outcomeKinds.codeBytes,
            details.first, id.bytes,
        ])
        // After a replay of dead letters they exist.
        let insert = try db.cachedStatement(sql: "INSERT OR IGNORE INTO progress (key, body) VALUES (?, ?)")
        for (part, bytes) in zip(ProgressKey.details(ofBatch: key), details.dropFirst()) {
            try insert.execute(arguments: [part, bytes])
        }
        if try !marks.contains(.deadLetters) || !DeadLetterRows.exist(of: id, db) {
            try db.cachedStatement(sql: "DELETE FROM bodies WHERE key = ?").execute(arguments: [key])
        }
    }

    /// Empty if the stored batch cannot be read.
    private func encodedDetails(_ db: Database, _ tokenHashKey: TokenHashKey) throws -> [Data] {
        if let parts = details.parts { return parts }
        // A batch that ends without a claim, for example because it is cancelled.
        let body = try storedBody(db)
        return (try? BatchCodec.decode(body)).map { RecordDetails.encode($0, key: tokenHashKey) } ?? []
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
        case leased(BatchID)
        /// The schedule or an update cannot be read, so it is unknown which of the pushes are settled. The next claim ends the batch.
        case damaged
        case waiting(QueuedBatch)
    }

    static func find(_ key: Int64, _ db: Database) throws -> Found {
        let statement = try db.cachedStatement(sql: "SELECT \(columns), leased FROM batches WHERE key = ?")
        guard let row = try Row.fetchOne(statement, arguments: [key]) else { return .none }
        var batch = try QueuedBatch(row)
        guard row[columnCount] == 0 else { return .leased(batch.id) }
        return try batch.load(db) == nil ? .waiting(batch) : .damaged
    }

    /// Completes the ledger: the due times of a batch where they differ, and the stored updates.
    ///
    /// - Returns: why a part is missing or cannot be read; the others are in the ledger nevertheless.
    mutating func load(_ db: Database) throws -> CodecError? {
        var problem: CodecError?
        if let schedule, schedule.lowerBound < schedule.upperBound {
            let body = try storedBody(db)
            do throws(CodecError) {
                let dueTimes = try BatchCodec.decodeDueTimes(body)
                guard dueTimes.covers(ledger.count) else { throw .damaged }
                ledger = BatchLedger(count: ledger.count, acceptedAt: acceptedAt, dueTimes: dueTimes)
            } catch {
                problem = error
            }
        }
        guard progressRows > 0 else { return problem }
        let stored = try storedProgress(db)
        if stored.count != Int(progressRows) { problem = .damaged }
        for bytes in stored {
            do throws(CodecError) {
                ledger.apply(try ProgressCodec.decode(bytes, of: id, pushes: ledger.count))
            } catch {
                problem = problem ?? error
            }
        }
        return problem
    }

    /// `godwit.v1.Batch`; empty if there is none.
    func storedBody(_ db: Database) throws -> Data {
        try Data.fetchOne(db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?"), arguments: [key]) ?? Data()
    }

    /// `godwit.v1.Progress`, in the order in which the rows were written.
    func storedProgress(_ db: Database) throws -> [Data] {
        try Data.fetchAll(
            db.cachedStatement(sql: "SELECT body FROM progress WHERE key BETWEEN ? AND ? ORDER BY key"),
            arguments: [ProgressKey.key(ofBatch: key, row: 0), ProgressKey.key(ofBatch: key, row: progressRows)]
        )
    }
}

/// The keys of the rows in `progress`.
enum ProgressKey {
    static let rowBits: Int64 = 20

    /// From here on, rows are parts of the record's details.
    private static let detailsRow: Int64 = 1 << 19

    static func key(ofBatch key: Int64, row: Int64) -> Int64 { key << rowBits | row }

    /// The keys of updates.
    static func updates(ofBatch key: Int64) -> ClosedRange<Int64> {
        key << rowBits...key << rowBits | (detailsRow - 1)
    }

    /// The keys of the record's details, from their second part on. The first part is in the record.
    static func details(ofBatch key: Int64) -> ClosedRange<Int64> {
        key << rowBits | detailsRow...(key + 1) << rowBits - 1
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
    init(storedCount count: Int, acceptedAt: WallTime, dueTimes: PushColumn<WallTime>) throws {
        guard (1...1000).contains(count) else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a batch of \(count) pushes")
        }
        self.init(count: count, acceptedAt: acceptedAt, dueTimes: dueTimes)
    }
}

extension ClosedRange<WallTime> {
    /// nil unless both are there.
    init?(storedFirst first: Int64?, last: Int64?) {
        guard let first, let last else { return nil }
        self = WallTime(milliseconds: Swift.min(first, last))...WallTime(milliseconds: last)
    }
}

extension APNSEnvironment {
    init(stored value: Int) throws {
        guard let environment = UInt8(exactly: value).flatMap(APNSEnvironment.init(code:)) else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "unknown environment \(value)")
        }
        self = environment
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
