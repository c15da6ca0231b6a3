#if Postgres
import APNSWire
import Foundation
import PostgresLink
import PushModel
import PushStore

/// A change of the pushes of one batch: outcomes, retries, announced sends, replays, and the end of its lease.
struct BatchWrite: Sendable {
    enum Kind: Int16, Sendable {
        /// By the holder of the lease. The epoch is its fence.
        case holder = 0
        /// By any instance, of a batch that waits and has not changed since it was read. Raises the epoch, because a
        /// holder whose lease ran out no longer knows which pushes are settled.
        case edit = 1
        /// By any instance, a replay of pushes of a claimed batch. Its holder does not learn of it, and its last
        /// settlement releases the batch.
        case replayWhileHeld = 2
    }

    var kind: Kind
    var lease: Lease
    /// Of an edit: `update_no` of the row that was read. Of a holder: the number of the settlement, nil if it has none.
    var updateNo: Int64?
    var storedUnsettled: Int
    /// What is new.
    var update: BatchUpdate
    /// With the update.
    var ledger: BatchLedger
    var content: Batch?
    var app: AppID
    var release = Settlement.Release.keep
    /// nil: unchanged.
    var deadline: WallTime?
    /// Earlier crashes over a push that is tried alone no longer count.
    var resetsIsolated = false

    /// An edit of a batch that waits.
    init(edit batch: BatchRow, _ update: BatchUpdate) {
        kind = .edit
        lease = batch.lease
        updateNo = batch.updateNo
        storedUnsettled = batch.storedUnsettled
        ledger = batch.ledger
        self.update = update
        ledger.record(&self.update)
        content = batch.content
        app = batch.appLane.app
    }

    /// A settlement of the holder.
    init(_ held: HeldBatch, _ settlement: Settlement) {
        kind = .holder
        lease = settlement.lease
        updateNo = settlement.number.map(Int64.init)
        storedUnsettled = held.storedUnsettled
        ledger = held.ledger
        update = settlement.update
        ledger.record(&update)
        content = held.content
        app = held.app
        release = settlement.release
    }

    /// Changes nothing but the deadline: the ledger of a batch that cannot be read may contradict its row.
    mutating func keepsRow(of batch: BatchRow) {
        keptDue = batch.due
        storedUnsettled = batch.storedUnsettled
        isUnchanged = true
    }

    private var keptDue: WallTime?
    private var isUnchanged = false

    /// How many more pushes are settled.
    fileprivate var newlySettled: Int { isUnchanged ? 0 : storedUnsettled - ledger.unsettled }

    fileprivate var due: WallTime {
        if let keptDue { return keptDue }
        guard case .postpone(let until) = release else { return ledger.nextDue }
        return max(until, ledger.nextDue)
    }

    /// `due_at` of a claimed batch is a lower bound, and is written only if it matters: it is in the index of batches
    /// that wait.
    fileprivate var setsDue: Bool { kind == .edit || release.endsLease || !update.retries.isEmpty }
}

/// Records changes of many batches in one statement.
enum Write {
    /// - Returns: the batches that were changed. The others are held by another instance, have changed, or have ended.
    static func run(
        _ writes: [BatchWrite], key: TokenHashKey, _ connection: PostgresConnection
    ) async throws(QueueError) -> Set<BatchID> {
        guard !writes.isEmpty else { return [] }
        let rows = try await connection.execute(call(writes, key: key))
        return try mappingErrors { () throws(PostgresError) in
            var changed: Set<BatchID> = []
            for row in 0..<rows.count { changed.insert(try rows.batchID(row, 0)) }
            return changed
        }
    }

    /// - Precondition: no batch occurs twice.
    private static func call(_ writes: [BatchWrite], key: TokenHashKey) -> PostgresCall {
        PostgresCall("write", sql) { parameters in
            parameters.append(ids: writes.map(\.lease.batch))
            parameters.append(array: writes.map { Int32(truncatingIfNeeded: $0.lease.epoch) })
            parameters.append(array: writes.map(\.kind.rawValue))
            parameters.append(optionals: writes.map(\.updateNo))
            parameters.append(array: writes.map { Int32($0.storedUnsettled) })
            parameters.append(array: writes.map { Int32($0.newlySettled) })
            parameters.append(optionals: writes.map(progress))
            parameters.append(array: writes.map(\.release.endsLease))
            parameters.append(times: writes.map(\.due))
            parameters.append(array: writes.map(\.setsDue))
            parameters.append(optionals: writes.map { $0.deadline?.milliseconds })
            parameters.append(times: writes.map(\.update.at))
            parameters.append(array: writes.map { Int32($0.ledger.outcomeKinds.stateBits) })
            parameters.append(array: writes.map { [UInt8]($0.ledger.outcomeKinds.codeBytes) })
            parameters.append(optionals: writes.map { details($0, key) })
            parameters.append(array: writes.map { marks($0).rawValue })
            parameters.append(array: writes.map(\.resetsIsolated))
            appendDeadLetters(writes, &parameters)
            appendLeaves(writes, &parameters)
        }
    }

    private static func progress(_ write: BatchWrite) -> [UInt8]? {
        write.update.isEmpty ? nil : [UInt8](ProgressCodec.encode(write.update, of: write.lease.batch))
    }

    /// For searches, of a batch that ends.
    private static func details(_ write: BatchWrite, _ key: TokenHashKey) -> [UInt8]? {
        guard write.ledger.isFinished, let content = write.content else { return nil }
        return ByteList.encode(RecordDetails.encode(content, key: key))
    }

    private static func marks(_ write: BatchWrite) -> RowMarks {
        if write.kind == .replayWhileHeld { return .replayed }
        return write.update.outcomes.contains { $0.verdict == .givenUp } ? .deadLetters : []
    }

    /// New dead letters, and those that a replay removes.
    private static func appendDeadLetters(_ writes: [BatchWrite], _ parameters: inout PostgresParameters) {
        let letters = writes.flatMap { write in
            write.update.outcomes.filter { $0.verdict == .givenUp }.map { (batch: write.lease.batch, outcome: $0) }
        }
        parameters.append(ids: letters.map(\.batch))
        parameters.append(ids: letters.map { $0.batch.push(Int($0.outcome.index)) })
        parameters.append(array: letters.map { Int32($0.outcome.code.rawValue) })
        parameters.append(array: letters.map { Int32($0.outcome.status) })
        parameters.append(array: letters.map { $0.outcome.reason.text.replacing("\0", with: "") })
        parameters.append(array: letters.map { Int32($0.outcome.attempts) })
        let replays = writes.flatMap { write in write.update.replays.map { (write.lease.batch, Int($0)) } }
        parameters.append(ids: replays.map(\.0))
        parameters.append(ids: replays.map { $0.0.push($0.1) })
    }

    /// Cancelled and superseded pushes no longer supersede others.
    private static func appendLeaves(_ writes: [BatchWrite], _ parameters: inout PostgresParameters) {
        let leaves = writes.flatMap { write in
            write.update.outcomes.filter { $0.verdict == .cancelled || $0.verdict == .suppressed }
                .map { (write.lease.batch, Int16($0.index)) }
        }
        parameters.append(ids: leaves.map(\.0))
        parameters.append(array: leaves.map(\.1))
    }

    // `unsettled` is decremented, never set: a replay may have added to it. The rows of a batch that has ended move to
    // `records`, `bodies` and `dead_letters`. All parts see the rows as they were before the statement, except `mine`,
    // which sees each as it was when it was locked. No two parts that have a row for each batch are joined: sessions make
    // no hash joins, so that would cost the square of their number.
    private static let sql = """
        WITH s AS MATERIALIZED (
            SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) AS s(
                id, epoch, kind, update_no, expected, settled, progress, release, due, sets_due, deadline, at,
                states, codes, details, marks, resets)),
        mine AS MATERIALIZED (
            SELECT s.*, b.app_lane, b.accepted_at, s.release OR s.kind = 0 AND s.due = 9223372036854775807 AS ends
            FROM batches b JOIN s ON s.id = b.id AND s.epoch = b.epoch
            WHERE CASE s.kind
                WHEN 0 THEN s.update_no IS NULL OR b.update_no < s.update_no
                WHEN 1 THEN b.owner IS NULL AND b.update_no = s.update_no AND b.unsettled = s.expected
                ELSE b.owner IS NOT NULL AND b.unsettled = s.expected END
            ORDER BY b.id FOR UPDATE OF b),
        letters AS MATERIALIZED (
            SELECT l.*, m.app_lane, m.accepted_at, m.at
            FROM unnest($18, $19, $20, $21, $22, $23) AS l(batch, id, code, status, reason, attempts)
            JOIN mine m ON m.id = l.batch),
        gone AS (
            DELETE FROM batches b USING mine m WHERE b.id = m.id AND b.unsettled = m.settled
            RETURNING b.id, b.app_lane, b.count, b.unsettled, b.accepted_at, b.epoch, b.marks, b.body, m.kind,
                coalesce(m.update_no, b.update_no) AS update_no, m.at, m.states, m.codes, m.details, m.progress),
        old AS (
            DELETE FROM progress p USING gone g WHERE p.id = g.id RETURNING p.id, p.key, p.body),
        ended AS (
            INSERT INTO records (id, app_lane, count, accepted_at, ended_at, epoch, update_no, states, codes, details,
                updates, day)
            SELECT g.id, g.app_lane, g.count, g.accepted_at, g.at, g.epoch + (g.kind = 1)::int,
                g.update_no, g.states, g.codes, g.details,
                coalesce((SELECT array_agg(o.body ORDER BY o.key) FROM old o WHERE o.id = g.id), '{}') || g.progress,
                (to_timestamp(g.at / 1000.0) AT TIME ZONE 'UTC')::date
            FROM gone g),
        kept_bodies AS (
            INSERT INTO bodies (id, body)
            SELECT g.id, g.body FROM gone g
            WHERE EXISTS (SELECT 1 FROM letters l WHERE l.batch = g.id)
                OR g.marks & 2 <> 0 AND EXISTS (
                    SELECT 1 FROM dead_letters d
                    WHERE d.id BETWEEN g.id AND (substr(g.id::text, 1, 32) || 'ffff')::uuid)
            ON CONFLICT (id) DO NOTHING),
        added_letters AS (
            INSERT INTO dead_letters (id, app, environment, lane, code, status, reason, attempts, accepted_at,
                given_up_at)
            SELECT l.id, al.app, al.environment, al.lane, l.code, l.status, l.reason, l.attempts, l.accepted_at, l.at
            FROM letters l JOIN app_lanes al ON al.id = l.app_lane
            ON CONFLICT (id) DO NOTHING),
        removed_letters AS (
            DELETE FROM dead_letters d USING unnest($24, $25) AS r(batch, id) JOIN mine m ON m.id = r.batch
            WHERE d.id = r.id),
        kept AS (
            UPDATE batches b SET
                unsettled = b.unsettled - m.settled,
                update_no = coalesce(m.update_no, b.update_no),
                epoch = b.epoch + (m.kind = 1)::int,
                has_update = b.has_update OR m.kind = 0 AND m.progress IS NOT NULL AND b.crashes < 3,
                owner = CASE WHEN m.ends THEN NULL ELSE b.owner END,
                lease_until = CASE WHEN m.ends THEN NULL ELSE b.lease_until END,
                due_at = CASE
                    WHEN m.ends AND b.marks & 4 <> 0 THEN least(m.due, store_ms())
                    WHEN m.kind = 2 THEN b.due_at
                    WHEN m.sets_due OR m.ends OR b.owner IS NULL THEN m.due
                    ELSE b.due_at END,
                deadline = coalesce(m.deadline, b.deadline),
                marks = CASE WHEN m.ends THEN (b.marks | m.marks) & 3 ELSE b.marks | m.marks END,
                isolated_index = CASE WHEN m.resets THEN NULL ELSE b.isolated_index END,
                isolated_crashes = CASE WHEN m.resets THEN 0 ELSE b.isolated_crashes END
            FROM mine m WHERE b.id = m.id AND b.unsettled <> m.settled
            RETURNING b.id, b.app_lane, m.settled, m.progress),
        added_progress AS (
            INSERT INTO progress (id, body)
            SELECT k.id, k.progress FROM kept k WHERE k.progress IS NOT NULL),
        ended_collapses AS (
            DELETE FROM collapses c USING gone g WHERE c.batch = g.id AND g.marks & 1 <> 0),
        left_collapses AS (
            DELETE FROM collapses c USING unnest($26, $27) AS l(batch, push) JOIN kept k ON k.id = l.batch
            WHERE c.batch = l.batch AND c.push = l.push),
        depths AS (
            INSERT INTO depth_log (app_lane, batches, pushes)
            SELECT c.app_lane, sum(c.batches), sum(c.pushes) FROM (
                SELECT g.app_lane, -1 AS batches, -g.unsettled::int AS pushes FROM gone g
                UNION ALL
                SELECT k.app_lane, 0, -k.settled FROM kept k WHERE k.settled <> 0) c
            GROUP BY c.app_lane)
        SELECT m.id FROM mine m
        """
}

/// Recognises settlements that were recorded before and are repeated because their response was lost.
enum RepeatedSettlements {
    /// - Returns: those of `settlements` that were recorded.
    static func run(
        _ settlements: [Settlement], _ connection: PostgresConnection
    ) async throws(QueueError) -> Set<Lease> {
        let numbered = settlements.compactMap { settlement in settlement.number.map { (settlement.lease, $0) } }
        guard !numbered.isEmpty else { return [] }
        let call = PostgresCall("settle_repeated", sql) { parameters in
            parameters.append(ids: numbered.map(\.0.batch))
            parameters.append(array: numbered.map { Int32(truncatingIfNeeded: $0.0.epoch) })
            parameters.append(array: numbered.map { Int64($0.1) })
        }
        let rows = try await connection.execute(call)
        return try mappingErrors { () throws(PostgresError) in
            var recorded: Set<Lease> = []
            for row in 0..<rows.count {
                recorded.insert(Lease(batch: try rows.batchID(row, 0), epoch: UInt64(try rows.int32(row, 1))))
            }
            return recorded
        }
    }

    private static let sql = """
        WITH s AS MATERIALIZED (SELECT * FROM unnest($1, $2, $3) AS s(id, epoch, update_no))
        SELECT s.id, s.epoch FROM s JOIN batches b ON b.id = s.id AND b.epoch = s.epoch AND b.update_no >= s.update_no
        UNION ALL
        SELECT s.id, s.epoch FROM s JOIN records r ON r.id = s.id AND r.epoch = s.epoch AND r.update_no >= s.update_no
        """
}
#endif
