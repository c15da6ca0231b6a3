import Foundation
import GRDB
import PushModel
import PushStore

/// The batches of one app and lane that are due and unclaimed, oldest first, read in small pieces: those that are suspected
/// of killing their holders, or the others.
struct DueBatches {
    private let place: AppLane
    private let until: WallTime
    private let query: String
    /// Grows with each piece: where apps take turns a claim takes little from each, else it takes all from one.
    private var stepMax = 2
    /// Read and not yet taken, the oldest last.
    private var piece: [BatchRow] = []
    private var isExhausted = false
    private var lastDue = Int64.min
    private var lastKey = Int64.min

    enum Kind {
        case ordinary
        /// Suspected of killing its holders.
        case quarantined
        /// Suspected, and to be tried push by push.
        case triedAlone
    }

    init(place: AppLane, until: WallTime, _ kind: Kind = .ordinary) {
        self.place = place
        self.until = until
        switch kind {
        case .ordinary: query = Self.query
        case .quarantined: query = Self.quarantinedQuery
        case .triedAlone: query = Self.triedAloneQuery
        }
    }

    mutating func first(_ db: Database) throws -> BatchRow? {
        if piece.isEmpty { try read(db) }
        return piece.last
    }

    mutating func popFirst() -> BatchRow? { piece.popLast() }

    private mutating func read(_ db: Database) throws {
        guard !isExhausted else { return }
        let rows = try Row.fetchAll(
            db.cachedStatement(sql: query),
            arguments: [Int(place.lane.rawValue), place.app.name, until.milliseconds, lastDue, lastKey, stepMax]
        )
        isExhausted = rows.count < stepMax
        stepMax = min(2 * stepMax, 16)
        piece = try rows.map { try BatchRow($0, place) }.reversed()
        if let newest = piece.first { (lastDue, lastKey) = (newest.due.milliseconds, newest.batch.key) }
    }

    /// Served by the index `batches_claimable`.
    static let query = query(where: "crashes < \(PoisonLimits.redeliveriesBeforeQuarantine)")
    /// Served by the index `batches_suspected`.
    static let quarantinedQuery = query(where: "crashes >= \(suspicion) AND crashes = \(suspicion)")
    static let triedAloneQuery = query(where: "crashes >= \(suspicion) AND crashes > \(suspicion)")
    private static let suspicion = PoisonLimits.redeliveriesBeforeQuarantine

    private static func query(where crashes: String) -> String {
        """
        SELECT \(BatchRow.columns) FROM batches
        WHERE leased = 0 AND \(crashes) AND lane = ? AND app = ? AND due_at <= ? AND (due_at, key) > (?, ?)
        ORDER BY due_at, key LIMIT ?
        """
    }
}

enum QuarantinedBatches {
    /// Whether any batch that waits is suspected of killing its holders.
    static func exist(_ db: Database) throws -> Bool {
        let statement = try db.cachedStatement(
            sql: """
                SELECT EXISTS (
                    SELECT 1 FROM batches INDEXED BY batches_suspected
                    WHERE leased = 0 AND crashes >= \(PoisonLimits.redeliveriesBeforeQuarantine)
                )
                """
        )
        return try Bool.fetchOne(statement) ?? false
    }
}

/// The row of a batch that waits.
struct BatchRow {
    /// Its news are not taken into the ledger yet.
    var batch: QueuedBatch
    var due: WallTime
    /// Not always that of the batch as it was appended: a replay moves it.
    var notBefore: WallTime?
    var unsettled: Int
    /// The push that was last handed out alone, and how often its holder died over it.
    var alone: (index: Int, crashes: Int)?

    static let columns = """
        key, id, count, due_at, not_before, accepted_at, epoch, progress_rows, marks, unsettled, alone_index, alone_crashes
        """

    init(_ row: Row, _ place: AppLane) throws {
        due = WallTime(milliseconds: row[3])
        notBefore = (row[4] as Int64?).map { WallTime(milliseconds: $0) }
        let acceptedAt = WallTime(milliseconds: row[5])
        unsettled = row[9]
        alone = (row[10] as Int?).map { ($0, row[11]) }
        batch = QueuedBatch(
            key: row[0], id: try BatchID(stored: row[1]), place: place, acceptedAt: acceptedAt,
            epoch: UInt64(bitPattern: row[6]),
            ledger: try BatchLedger(storedCount: row[2], firstDue: notBefore ?? acceptedAt), progressRows: row[7],
            marks: BatchMarks(rawValue: row[8])
        )
    }
}
