#if Postgres
import PostgresLink
import PushModel
import PushStore

/// Looks up the states of pushes.
enum StatusLookup {
    /// Batches of one statement.
    private static let batchesMax = 1000

    /// - Returns: parallel to `ids`.
    static func run(_ ids: [PushID], _ connection: PostgresConnection) async throws(QueueError) -> [PushStatus?] {
        var statuses = [PushStatus?](repeating: nil, count: ids.count)
        let positions = Dictionary(grouping: ids.indices, by: { ids[$0].batch })
        let batches = Array(positions.keys)
        for start in stride(from: 0, to: batches.count, by: batchesMax) {
            let some = batches[start..<min(start + batchesMax, batches.count)]
            let rows = try await connection.execute(PostgresCall("find", sql) { $0.append(ids: some) })
            for record in try StoredRecord.all(rows) {
                let positions = positions[record.id] ?? []
                for (position, status) in zip(positions, record.statuses(of: positions.map { ids[$0].index })) {
                    statuses[position] = status
                }
            }
        }
        return statuses
    }

    private static let sql = StoredRecord.query("x.id = ANY($1)")
}

/// One page of a search: reads records from the newest to the oldest.
struct SearchStep: Sendable {
    let connection: PostgresConnection
    let query: MessageQuery
    let limits: SearchLimits
    let key: TokenHashKey

    /// Records of one statement.
    private static let recordsPerStep = 50

    /// - Parameter isTimeUp: called after each record.
    func run(after: PushID?, isTimeUp: () -> Bool) async throws(QueueError) -> MessagePage {
        var page = MessagePage(limits: limits)
        let tokenHash = query.token.map { $0.withUnsafeBytes(key.hash) }
        var end = after
        var recordsLeft = limits.recordsMax
        while true {
            let wanted = min(Self.recordsPerStep, recordsLeft)
            let records = try await read(after: end, wanted)
            for record in records {
                let indexEnd = end?.batch == record.id ? min(end?.index ?? 0, record.count) : record.count
                page.append(
                    matches(record, tokenHash, in: 0..<indexEnd), of: record.id, acceptedAt: record.acceptedAt)
                recordsLeft -= 1
                if page.capacity == 0 || recordsLeft == 0 || isTimeUp() { return page }
            }
            guard records.count == wanted else {
                page.next = nil
                return page
            }
            end = page.next
        }
    }

    private func read(after: PushID?, _ limit: Int) async throws(QueueError) -> [StoredRecord] {
        let needsContent = query.token != nil || query.requestID != nil
        let call = PostgresCall("search", Self.sql) { parameters in
            parameters.append(after.map(PostgresUUID.init) ?? PostgresUUID(high: .max, low: .max))
            parameters.append(query.oldestBatch.map(PostgresUUID.init) ?? PostgresUUID(high: 0, low: 0))
            parameters.append(Int32(limit))
            parameters.append(needsContent)
        }
        return try StoredRecord.all(try await connection.execute(call))
    }

    private static let records = StoredRecord.query(
        "x.id IN (SELECT n.id FROM newest n)", bodyInQueue: "$4", bodyOfEnded: "$4", details: "$4")

    // The newest IDs first: then only their rows are read.
    private static let sql = """
        WITH newest AS MATERIALIZED (
            SELECT i.id FROM (
                (SELECT b.id FROM batches b WHERE b.id < $1 AND b.id >= $2 ORDER BY b.id DESC LIMIT $3)
                UNION ALL
                (SELECT r.id FROM records r WHERE r.id < $1 AND r.id >= $2 ORDER BY r.id DESC LIMIT $3)) i
            ORDER BY i.id DESC LIMIT $3)
        SELECT * FROM (\(records)) f
        ORDER BY 1 DESC
        """

    /// The matches of one batch, by descending index.
    private func matches(_ record: StoredRecord, _ tokenHash: UInt32?, in range: Range<Int>) -> [FoundMessage] {
        if let app = query.app, app != record.appLane.app { return [] }
        if record.hasEnded, let outcomes = record.outcomes, !query.canMatch(outcomes) { return [] }
        let (indexes, match) = record.indexes(query, tokenHash, in: range)
        guard !indexes.isEmpty else { return [] }
        return record.statuses(of: indexes.reversed()).compactMap { status in
            guard let status, query.matches(status) else { return nil }
            return FoundMessage(status: status, tokenMatch: tokenHash.map { _ in match })
        }
    }
}
#endif
