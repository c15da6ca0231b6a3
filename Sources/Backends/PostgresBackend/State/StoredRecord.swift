#if Postgres
import APNSWire
import Foundation
import PostgresLink
import PushModel
import PushStore

/// What the store knows of a batch, in the queue or ended, for look-ups and searches.
struct StoredRecord: Sendable {
    let id: BatchID
    let appLane: AppLane
    let acceptedAt: WallTime
    let count: Int
    let isLeased: Bool
    let hasEnded: Bool
    private let firstDue: WallTime?
    private let lastDue: WallTime?
    private let updates: [[UInt8]?]
    /// nil if the batch has not ended, or a code is unknown to this version.
    let outcomes: OutcomeKinds?
    private let details: [UInt8]?
    /// Empty unless it was asked for.
    private let body: Data
    let now: WallTime

    /// A query over the records of batches.
    ///
    /// - Parameters:
    ///   - condition: of the ID `x.id`.
    ///   - bodyInQueue, bodyOfEnded: whether the body of such a batch is read, in addition to where the due times need it.
    static func query(
        _ condition: String, bodyInQueue: String = "false", bodyOfEnded: String = "false", details: String = "false"
    ) -> String {
        """
        SELECT b.id, al.app, al.environment, al.lane, b.accepted_at, b.count, b.owner IS NOT NULL, false, b.first_due,
            b.last_due, ARRAY(SELECT p.body FROM progress p WHERE p.id = b.id ORDER BY p.key), 0, NULL::bytea,
            NULL::bytea, CASE WHEN b.first_due < b.last_due OR \(bodyInQueue) THEN b.body END, store_ms()
        FROM batches b JOIN app_lanes al ON al.id = b.app_lane WHERE \(condition.replacing("x.", with: "b."))
        UNION ALL
        SELECT r.id, al.app, al.environment, al.lane, r.accepted_at, r.count, false, true, NULL::bigint, NULL::bigint,
            r.updates, r.states, r.codes, CASE WHEN \(details) THEN r.details END,
            CASE WHEN \(bodyOfEnded) THEN (SELECT o.body FROM bodies o WHERE o.id = r.id) END, store_ms()
        FROM records r JOIN app_lanes al ON al.id = r.app_lane WHERE \(condition.replacing("x.", with: "r."))
        """
    }

    init(_ rows: PostgresRows, _ row: Int) throws(PostgresError) {
        id = try rows.batchID(row, 0)
        appLane = try rows.appLane(row, 1)
        acceptedAt = try rows.time(row, 4)
        count = min(try rows.int16(row, 5), NotificationBatch.countMax)
        isLeased = try rows.value(row, 6)
        hasEnded = try rows.value(row, 7)
        firstDue = try rows.optional(row, 8, as: Int64.self).map(WallTime.init(milliseconds:))
        lastDue = try rows.optional(row, 9, as: Int64.self).map(WallTime.init(milliseconds:))
        updates = try rows.array(row, 10, of: [UInt8].self)
        let states = try rows.int32(row, 11)
        let codes = try rows.optional(row, 12, as: [UInt8].self)
        outcomes = codes.flatMap {
            try? OutcomeKinds(stateBits: UInt8(truncatingIfNeeded: states), codes: Data($0))
        }
        details = try rows.optional(row, 13, as: [UInt8].self)
        body = rows.withBytes(row, 14) { Data($0) }
        now = try rows.time(row, 15)
    }

    static func all(_ rows: PostgresRows) throws(QueueError) -> [StoredRecord] {
        try mappingErrors { () throws(PostgresError) in
            var records: [StoredRecord] = []
            for row in 0..<rows.count { records.append(try StoredRecord(rows, row)) }
            return records
        }
    }

    // MARK: - States

    private enum LatestUpdate {
        case outcome(Outcome, at: WallTime)
        case retry(Retry, at: WallTime)
        case replay(at: WallTime)
    }

    /// The states of pushes, parallel to `indexes`; nil for one that the batch does not have.
    func statuses(of indexes: [Int]) -> [PushStatus?] {
        var latest: [Int: LatestUpdate] = [:]
        let wanted = Set(indexes)
        for bytes in updates {
            // Skip an unreadable update. The next claim ends the batch.
            guard let stored = try? ProgressCodec.decode(Data(bytes ?? []), of: id, pushes: count) else { continue }
            for update in stored.updates {
                for index in update.replays where wanted.contains(Int(index)) {
                    latest[Int(index)] = .replay(at: update.at)
                }
                for retry in update.retries where wanted.contains(Int(retry.index)) {
                    latest[Int(retry.index)] = .retry(retry, at: update.at)
                }
                for outcome in update.outcomes where wanted.contains(Int(outcome.index)) {
                    latest[Int(outcome.index)] = .outcome(outcome, at: update.at)
                }
            }
        }
        let dueTimes = dueTimes
        return indexes.map { index in
            guard index < count else { return nil }
            return status(of: id.push(index), due: dueTimes[index], latest[index])
        }
    }

    private var dueTimes: PushColumn<WallTime> {
        guard let firstDue, let lastDue, firstDue < lastDue else { return PushColumn(shared: firstDue) }
        guard let times = try? BatchCodec.decodeDueTimes(body), times.covers(count) else { return PushColumn() }
        return times
    }

    private func status(of id: PushID, due: WallTime?, _ update: LatestUpdate?) -> PushStatus {
        var status = PushStatus(
            id: id, app: appLane.app, environment: appLane.appEnvironment.environment, lane: appLane.lane,
            state: isLeased ? .sending : .queued, acceptedAt: acceptedAt, updatedAt: acceptedAt
        )
        switch update {
        case .retry where hasEnded, .replay where hasEnded, nil where hasEnded:
            // The record of its outcome cannot be read.
            status.state = .settled(.givenUp)
            status.code = .storedDataDamaged
        case .outcome(let outcome, let at):
            status.state = .settled(outcome.verdict)
            status.code = outcome.code
            status.status = outcome.status
            status.reason = outcome.reason
            status.attempts = outcome.attempts
            status.updatedAt = at
            status.uniqueID = outcome.uniqueID
            if outcome.tokenDeadAt != 0 { status.tokenDeadAt = WallTime(milliseconds: outcome.tokenDeadAt) }
        case .retry(let retry, let at):
            let isSending = isLeased && retry.due <= now
            status.state = isSending ? .sending : .retrying
            status.code = retry.code
            status.status = retry.status
            status.reason = retry.reason
            status.attempts = retry.attempts
            status.updatedAt = at
            status.nextAttemptAt = isSending ? nil : retry.due
        case .replay(let at):
            status.updatedAt = at
        case nil:
            if let due, due > now {
                status.state = .scheduled
                status.nextAttemptAt = due
            }
        }
        return status
    }

    // MARK: - Content

    /// nil if it was not read, is deleted, or cannot be read.
    var content: Batch? {
        guard !body.isEmpty, let batch = try? BatchCodec.decode(body), batch.id == id, batch.count == count else {
            return nil
        }
        return batch
    }

    /// The pushes that have the token and come from the request of the query, by ascending index, and whether the token
    /// itself was compared. None if the stored bytes cannot be read.
    func indexes(
        _ query: MessageQuery, _ tokenHash: UInt32?, in range: Range<Int>
    ) -> ([Int], FoundMessage.TokenMatch) {
        guard query.token != nil || query.requestID != nil else { return (Array(range), .exact) }
        guard hasEnded else { return (content.map { query.matchingIndexes(of: $0, in: range) } ?? [], .exact) }
        guard let details, let parts = ByteList.decode(details),
            let columns = try? RecordDetails(stored: parts, pushes: count)
        else { return ([], .hash) }
        let indexes = columns.matchingIndexes(query, tokenHash: tokenHash, in: range)
        // Dead letters keep the content of their batch.
        guard !indexes.isEmpty, tokenHash != nil, let content else { return (indexes, .hash) }
        return (query.matchingIndexes(of: content, in: range), .exact)
    }
}
#endif
