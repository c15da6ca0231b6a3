#if Postgres
import APNSWire
import Foundation
import PostgresLink
import PushModel
import PushStore

/// Returns dead letters of one batch to the queue: the same IDs, no attempts, due immediately.
struct ReplayStep: Sendable {
    let connection: PostgresConnection
    let key: TokenHashKey
    let now: WallTime
    let isAllowed: ReplayFilter

    /// Attempts for a batch that changes meanwhile.
    private static let attemptsMax = 8

    /// - Parameter ids: dead letters of one batch.
    func run(_ ids: [PushID]) async throws(QueueError) -> ReplayCount {
        for _ in 0..<Self.attemptsMax {
            // Another instance may have replayed some.
            let letters = try await DeadLetters.find(ids, connection).map(\.id)
            guard let id = letters.first?.batch else { return ReplayCount() }
            if let count = try await attempt(letters, of: id) { return count }
        }
        throw .unavailable("the batch of a dead letter keeps changing", isOutcomeKnown: true)
    }

    /// - Returns: nil if the batch has changed meanwhile.
    private func attempt(_ ids: [PushID], of id: BatchID) async throws(QueueError) -> ReplayCount? {
        let unreadable = ReplayCount(unreadable: ids.count)
        if let batch = try await BatchRow.load([id], connection)[id] {
            guard batch.problem == nil, let content = batch.content else { return unreadable }
            let allowed = self.allowed(ids, content)
            let count = ReplayCount(replayed: allowed.count, refused: ids.count - allowed.count)
            guard !allowed.isEmpty else { return count }
            var write = BatchWrite(edit: batch, update(allowed))
            if batch.isLeased { write.kind = .replayWhileHeld }
            // Earlier crashes over the push do not count, and its lifetime begins again.
            write.resetsIsolated = true
            write.deadline = WallTime(milliseconds: 0)
            return try await Write.run([write], key: key, connection).contains(id) ? count : nil
        }
        guard let ended = try await ended(id) else { return nil }
        guard let content = ended.content, let ledger = ended.ledger else { return unreadable }
        let allowed = self.allowed(ids, content)
        let count = ReplayCount(replayed: allowed.count, refused: ids.count - allowed.count)
        guard !allowed.isEmpty else { return count }
        return try await requeue(ended, content, ledger, update(allowed)) ? count : nil
    }

    private func allowed(_ ids: [PushID], _ content: Batch) -> [PushID] {
        ids.filter { $0.index < content.count && isAllowed(content.notifications, $0.index) }
    }

    private func update(_ ids: [PushID]) -> BatchUpdate {
        BatchUpdate(at: now, replays: ids.map { UInt16($0.index) })
    }

    // MARK: - A batch that has ended

    private struct Ended {
        var id: BatchID
        var epoch: Int32
        /// nil if it cannot be read.
        var content: Batch?
        var ledger: BatchLedger?
    }

    private func ended(_ id: BatchID) async throws(QueueError) -> Ended? {
        let call = PostgresCall("replay_ended", Self.endedSQL) { $0.append(PostgresUUID(id)) }
        let rows = try await connection.execute(call)
        guard rows.count == 1 else { return nil }
        return try mappingErrors { () throws(PostgresError) in
            let content = try? BatchCodec.decode(rows.withBytes(0, 1) { Data($0) })
            var ended = Ended(id: id, epoch: try rows.value(0, 0), content: content?.id == id ? content : nil)
            guard let content = ended.content else { return ended }
            var ledger = BatchLedger(count: content.count, acceptedAt: content.acceptedAt, dueTimes: content.dueTimes)
            for bytes in try rows.array(0, 2, of: [UInt8].self) {
                guard let record = try? ProgressCodec.decode(Data(bytes ?? []), of: id, pushes: content.count) else {
                    return ended
                }
                ledger.apply(record)
            }
            ended.ledger = ledger
            return ended
        }
    }

    /// - Returns: false if another instance was faster.
    private func requeue(
        _ ended: Ended, _ content: Batch, _ before: BatchLedger, _ update: BatchUpdate
    ) async throws(QueueError) -> Bool {
        var ledger = before
        var update = update
        ledger.record(&update)
        let call = PostgresCall("replay_requeue", Self.requeueSQL) { parameters in
            parameters.append(PostgresUUID(ended.id))
            parameters.append(ended.epoch)
            parameters.append(Int16(ledger.unsettled))
            parameters.append(ledger.nextDue.milliseconds)
            parameters.append(content.dueTimes.isAbsent ? nil : content.firstDue.milliseconds)
            parameters.append(content.dueTimes.isAbsent ? nil : content.lastDue.milliseconds)
            parameters.append(CollapsingPush.keys(of: content, key: key).isEmpty ? Int16(2) : 3)
            parameters.append(content.clients.shared?.replacing("\0", with: ""))
            parameters.append(content.requestID?.replacing("\0", with: ""))
            parameters.append([UInt8](ProgressCodec.encode(update, of: ended.id)))
            parameters.append(ids: update.replays.map { ended.id.push(Int($0)) })
        }
        return try await connection.execute(call).count == 1
    }

    private static let endedSQL = """
        SELECT r.epoch, o.body, r.updates FROM records r LEFT JOIN bodies o ON o.id = r.id WHERE r.id = $1
        """

    // The epoch rises, so that a late settlement of the last lease is refused.
    private static let requeueSQL = """
        WITH ended AS (
            DELETE FROM records r WHERE r.id = $1 AND r.epoch = $2
            RETURNING r.id, r.app_lane, r.count, r.accepted_at, r.epoch, r.updates),
        content AS (DELETE FROM bodies o USING ended e WHERE o.id = e.id RETURNING o.id, o.body),
        queued AS (
            INSERT INTO batches (id, app_lane, count, unsettled, accepted_at, due_at, first_due, last_due, epoch, marks,
                client, request, body)
            SELECT e.id, e.app_lane, e.count, $3, e.accepted_at, $4, $5, $6, e.epoch + 1, $7, $8, $9, c.body
            FROM ended e JOIN content c ON c.id = e.id RETURNING id, app_lane),
        added_progress AS (
            INSERT INTO progress (id, body)
            SELECT e.id, u.body FROM ended e
            CROSS JOIN LATERAL unnest(e.updates || $10) WITH ORDINALITY AS u(body, place) ORDER BY u.place),
        removed_letters AS (DELETE FROM dead_letters d USING ended e WHERE d.id = ANY($11)),
        depths AS (
            INSERT INTO depth_log (app_lane, batches, pushes) SELECT q.app_lane, 1, $3 FROM queued q)
        SELECT q.id FROM queued q
        """
}
#endif
