#if Postgres
import APNSWire
import Foundation
import PostgresLink
import PushModel
import PushStore

/// A batch in the queue as a statement returned it, with a ledger of its pushes.
struct BatchRow: Sendable {
    let id: BatchID
    /// Ascending in the order of appends.
    let key: Int64
    let appLane: AppLane
    var epoch: UInt64
    /// The number of the last settlement of the lease.
    let updateNo: Int64
    /// `unsettled` of the row, also if its progress cannot be read.
    let storedUnsettled: Int
    let isLeased: Bool
    let due: WallTime
    let marks: RowMarks
    let crashes: Int
    /// The push that was last claimed alone, and how many crashes happened over it.
    var isolated: (index: Int, crashes: Int)?
    /// nil if it cannot be read.
    let content: Batch?
    var ledger: BatchLedger
    /// Rows in `progress`, if one row is to replace them because of their number, and the key of the last one.
    let compactable: (records: [ProgressRecord], lastKey: Int64)?
    /// Why a part cannot be read.
    let problem: CodecError?

    /// Of `batches b` and `app_lanes al`.
    static let columns = """
        b.id, b.key, al.app, al.environment, al.lane, b.epoch, b.update_no, b.unsettled, b.owner IS NOT NULL, b.due_at,
        b.marks, b.crashes, b.isolated_index, b.isolated_crashes, b.accepted_at, b.count, b.body,
        ARRAY(SELECT p.body FROM progress p WHERE p.id = b.id ORDER BY p.key),
        (SELECT max(p.key) FROM progress p WHERE p.id = b.id)
        """
    /// The number of `columns`.
    static let columnCount = 19

    /// A batch with more rows in `progress` is compacted. It bounds what a claim reads, also of a batch that is retried very
    /// often.
    private static let progressRowsMax = 64

    /// Reads `columns`.
    init(_ rows: PostgresRows, _ row: Int) throws(PostgresError) {
        id = try rows.batchID(row, 0)
        key = try rows.value(row, 1)
        appLane = try rows.appLane(row, 2)
        epoch = UInt64(try rows.int32(row, 5))
        updateNo = try rows.value(row, 6)
        storedUnsettled = try rows.int16(row, 7)
        isLeased = try rows.value(row, 8)
        due = try rows.time(row, 9)
        marks = RowMarks(rawValue: try rows.value(row, 10))
        crashes = try rows.int16(row, 11)
        if let index = try rows.optional(row, 12, as: Int16.self) {
            isolated = (Int(index), try rows.int16(row, 13))
        }
        let acceptedAt = try rows.time(row, 14)
        let count = try rows.int16(row, 15)
        guard (1...1000).contains(count) else { throw PostgresError(.invalid, "a batch of \(count) pushes") }
        let body = rows.withBytes(row, 16) { Data($0) }
        let progress = try rows.array(row, 17, of: [UInt8].self)

        var problem: CodecError?
        var content: Batch?
        do throws(CodecError) {
            let batch = try BatchCodec.decode(body)
            guard batch.id == id, batch.count == count, AppLane(batch.appEnvironment, lane: batch.lane) == appLane
            else { throw .damaged }
            content = batch
        } catch {
            problem = error
        }
        ledger = BatchLedger(count: count, acceptedAt: acceptedAt, dueTimes: content?.dueTimes ?? PushColumn())
        var records: [ProgressRecord] = []
        for bytes in progress {
            do throws(CodecError) {
                let record = try ProgressCodec.decode(Data(bytes ?? []), of: id, pushes: count)
                ledger.apply(record)
                records.append(record)
            } catch {
                problem = problem ?? error
            }
        }
        let lastKey = try rows.optional(row, 18, as: Int64.self)
        compactable =
            problem == nil && records.count > Self.progressRowsMax ? lastKey.map { (records, $0) } : nil
        self.content = content
        self.problem = problem
    }

    static func all(_ rows: PostgresRows) throws(QueueError) -> [BatchRow] {
        try mappingErrors { () throws(PostgresError) in
            var batches: [BatchRow] = []
            batches.reserveCapacity(rows.count)
            for row in 0..<rows.count { batches.append(try BatchRow(rows, row)) }
            return batches
        }
    }

    /// Reads batches that are in the queue, claimed or not.
    static func load(_ ids: some Collection<BatchID>, _ connection: PostgresConnection) async throws(QueueError)
        -> [BatchID: BatchRow]
    {
        guard !ids.isEmpty else { return [:] }
        let call = PostgresCall("queued_load", loadSQL) { $0.append(ids: ids) }
        let batches = try all(try await connection.execute(call))
        return Dictionary(uniqueKeysWithValues: batches.map { ($0.id, $0) })
    }

    private static let loadSQL = """
        SELECT \(columns) FROM batches b JOIN app_lanes al ON al.id = b.app_lane WHERE b.id = ANY($1)
        """

    var lease: Lease { Lease(batch: id, epoch: epoch) }

    /// Whether a claim returns all pushes: none was tried before, and all are due.
    func isFresh(at now: WallTime) -> Bool {
        ledger.lastUpdateAt == nil && (content.map { $0.lastDue <= now } ?? false)
    }

    /// What ends a batch that cannot be read.
    var givenUp: [Outcome] { ledger.givenUp(problem == .damaged ? .storedDataDamaged : .serialisation) }
}
#endif
