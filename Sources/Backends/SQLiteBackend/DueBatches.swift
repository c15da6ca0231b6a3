import Foundation
import GRDB
import PushModel
import PushQueue

/// The batches of one app and lane that are due and unclaimed, oldest first, read in small pieces.
struct DueBatches {
    struct BatchRow {
        var key: Int64
        var id: BatchID
        var place: QueueState.Place
        var count: Int
        var due: WallTime
        /// When its pushes were due before any retry.
        var firstDue: WallTime
        var epoch: UInt64
        var progressRows: Int64
    }

    private let place: QueueState.Place
    private let until: WallTime
    private let pieceMax: Int
    /// Read and not yet taken, the oldest last.
    private var piece: [BatchRow] = []
    private var isExhausted = false
    private var lastDue = Int64.min
    private var lastKey = Int64.min

    init(place: QueueState.Place, request: ClaimRequest, until: WallTime) {
        self.place = place
        self.until = until
        pieceMax = min(request.batchesMax, 16)
    }

    var first: BatchRow? { piece.last }

    mutating func dropFirst(_ db: Database) throws {
        piece.removeLast()
        if piece.isEmpty { try read(db) }
    }

    mutating func read(_ db: Database) throws {
        guard !isExhausted else { return }
        let statement = try db.cachedStatement(
            sql: """
                SELECT key, id, count, due_at, coalesce(not_before, accepted_at), epoch, progress_rows FROM batches
                WHERE leased = 0 AND lane = ? AND app = ? AND due_at <= ? AND (due_at, key) > (?, ?)
                ORDER BY due_at, key LIMIT ?
                """
        )
        let rows = try Row.fetchAll(
            statement,
            arguments: [
                Int(place.lane.rawValue), place.app.name, until.milliseconds, lastDue, lastKey, pieceMax,
            ]
        )
        isExhausted = rows.count < pieceMax
        piece = try rows.map(batchRow).reversed()
        if let newest = piece.first { (lastDue, lastKey) = (newest.due.milliseconds, newest.key) }
    }

    private func batchRow(_ row: Row) throws -> BatchRow {
        let count: Int = row[2]
        guard let id = BatchID(bytes: row[1]), (1...1000).contains(count) else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a batch without an id, or of \(count) pushes")
        }
        return BatchRow(
            key: row[0], id: id, place: place, count: count, due: WallTime(milliseconds: row[3]),
            firstDue: WallTime(milliseconds: row[4]), epoch: UInt64(bitPattern: row[5]), progressRows: row[6]
        )
    }
}

/// The due batches of several apps as one sequence, oldest first.
struct OldestFirst {
    private var sources: [DueBatches]

    init(_ sources: [DueBatches], _ db: Database) throws {
        self.sources = sources
        for index in sources.indices { try self.sources[index].read(db) }
    }

    mutating func next(_ db: Database) throws -> DueBatches.BatchRow? {
        var oldest: (index: Int, row: DueBatches.BatchRow)?
        for (index, source) in sources.enumerated() {
            guard let row = source.first else { continue }
            if let found = oldest, (found.row.due.milliseconds, found.row.key) <= (row.due.milliseconds, row.key) {
                continue
            }
            oldest = (index, row)
        }
        guard let oldest else { return nil }
        try sources[oldest.index].dropFirst(db)
        return oldest.row
    }
}
