import APNSWire
import Foundation
import GRDB
import PushModel
import PushStore

/// One step of a search: reads records from the newest to the oldest.
///
/// Waiting pushes are compared with their stored content, settled ones with the details in the record of their batch. The
/// states of a batch's pushes are only read if the batch can have a match.
struct Search {
    let db: Database
    let query: MessageQuery
    let tokenHashKey: TokenHashKey
    let now: WallTime
    /// Called after each record.
    let isTimeUp: () -> Bool

    /// Adds matches to `page` until it is full, the step has read its share, or no record is left.
    ///
    /// - Parameters:
    ///   - after: where the search begins.
    ///   - recordsMax: the most records that the step reads.
    /// - Returns: the number of records that it has read; nil if none is left.
    func run(_ page: inout MessagePage, after: PushID?, recordsMax: Int) throws -> Int? {
        let tokenHash = query.token.map { $0.withUnsafeBytes(tokenHashKey.hash) }
        let statement = try db.cachedStatement(
            sql: """
                SELECT r.id, r.key, r.app, r.accepted_at, r.count, r.ended_at IS NOT NULL, r.states, r.codes, b.request,
                    \(needsContent ? "r.details" : "NULL")
                FROM records r LEFT JOIN batches b ON b.key = r.key
                WHERE r.id < ? AND r.id >= ? ORDER BY r.id DESC LIMIT ?
                """
        )
        let end = after?.bytes ?? Data(repeating: 0xFF, count: 16)
        let rows = try Row.fetchCursor(
            statement, arguments: [end, query.oldestBatch?.bytes ?? Data(), recordsMax]
        )
        var records = 0
        while let row = try rows.next() {
            records += 1
            guard let id = BatchID(bytes: row[0]) else {
                // A damaged ID must not end the search.
                page.next = try PushID(stored: row[0])
                continue
            }
            let record = Record(id: id, row)
            let end = after?.batch == id ? after?.index ?? 0 : record.count
            let found = try matches(record, tokenHash, until: min(end, record.count), max: page.capacity)
            page.append(found, of: id, acceptedAt: record.acceptedAt)
            if page.capacity == 0 || isTimeUp() { return records }
        }
        return records < recordsMax ? nil : records
    }

    private var needsContent: Bool { query.token != nil || query.requestID != nil }

    private struct Record {
        let id: BatchID
        let key: Int64
        let app: AppID
        let acceptedAt: WallTime
        let count: Int
        let hasEnded: Bool
        /// nil if the batch has not ended, or a code is unknown to this version.
        let outcomes: OutcomeKinds?
        /// Of all pushes, while the batch is in the queue.
        let requestID: String?
        /// The first part of the details.
        let details: Data?

        init(id: BatchID, _ row: Row) {
            self.id = id
            key = row[1]
            app = AppID(row[2])
            acceptedAt = WallTime(milliseconds: row[3])
            count = min(row[4], NotificationBatch.countMax)
            hasEnded = row[5]
            let states: Int = row[6]
            let codes: Data? = row[7]
            outcomes = codes.flatMap { try? OutcomeKinds(stateBits: UInt8(truncatingIfNeeded: states), codes: $0) }
            requestID = row[8]
            details = row[9]
        }
    }

    /// The matches of one batch with an index below `end`, by descending index; at least `max`, if there are.
    private func matches(
        _ record: Record, _ tokenHash: UInt32?, until end: Int, max: Int
    ) throws -> [FoundMessage] {
        if let app = query.app, app != record.app { return [] }
        if record.hasEnded, let outcomes = record.outcomes, !query.canMatch(outcomes) { return [] }
        let (indexes, match) = try indexes(record, tokenHash, in: 0..<end)
        // Only a filter by state or code can drop some of them.
        let wanted = query.states.isEmpty && query.codes.isEmpty ? indexes.suffix(max) : indexes[...]
        guard !wanted.isEmpty else { return [] }
        let statuses = try Find(db: db, now: now).run(wanted.reversed().map(record.id.push))
        return statuses.compactMap { status in
            guard let status, query.matches(status) else { return nil }
            return FoundMessage(status: status, tokenMatch: tokenHash.map { _ in match })
        }
    }

    /// The pushes that have the token and come from the request of the query, by ascending index. None if the stored
    /// bytes cannot be read.
    private func indexes(
        _ record: Record, _ tokenHash: UInt32?, in range: Range<Int>
    ) throws -> ([Int], FoundMessage.TokenMatch) {
        guard needsContent else { return (Array(range), .exact) }
        if record.hasEnded {
            guard let details = try details(record) else { return ([], .hash) }
            let indexes = details.matchingIndexes(query, tokenHash: tokenHash, in: range)
            // Dead letters keep the content of their batch.
            guard !indexes.isEmpty, tokenHash != nil, let batch = try content(record) else { return (indexes, .hash) }
            return (query.matchingIndexes(of: batch, in: range), .exact)
        }
        if let requestID = record.requestID {
            guard query.requestID == nil || query.requestID == requestID else { return ([], .exact) }
            if query.token == nil { return (Array(range), .exact) }
        }
        return (try content(record).map { query.matchingIndexes(of: $0, in: range) } ?? [], .exact)
    }

    /// nil if there are none, or they cannot be read.
    private func details(_ record: Record) throws -> RecordDetails? {
        guard let first = record.details else { return nil }
        var parts = [first]
        if record.count > RecordDetails.pushesPerPart {
            let keys = ProgressKey.details(ofBatch: record.key)
            parts += try Data.fetchAll(
                db.cachedStatement(sql: "SELECT body FROM progress WHERE key BETWEEN ? AND ? ORDER BY key"),
                arguments: [keys.lowerBound, keys.upperBound]
            )
        }
        return try? RecordDetails(stored: parts, pushes: record.count)
    }

    private func content(_ record: Record) throws -> Batch? {
        let statement = try db.cachedStatement(sql: "SELECT body FROM bodies WHERE key = ?")
        guard let body = try Data.fetchOne(statement, arguments: [record.key]),
            let batch = try? BatchCodec.decode(body), batch.id == record.id, batch.count == record.count
        else { return nil }
        return batch
    }
}
