#if Postgres
import PostgresLink
import PushModel
import PushStore

/// Claims pushes of quarantined batches of one app; the apps take turns.
///
/// A batch whose holder crashed over such a group as well is isolated: its pushes are claimed one at a time. A push over
/// which its holder crashes then is poison and is given up here, and the other pushes continue.
struct ClaimQuarantined: Sendable {
    /// A batch and those of its pushes that are tried.
    struct Trial: Sendable {
        var batch: BatchRow
        var pending: [PendingPush]
    }

    let connection: PostgresConnection
    let owner: Int32
    let key: TokenHashKey
    let request: ClaimRequest

    /// Batches of one trial.
    private static let batchesMax = 256

    struct Result: Sendable {
        var trials: [Trial] = []
        /// Of pushes that were given up.
        var writes: [BatchWrite] = []
    }

    /// - Parameter lastApp: whose turn it was last.
    func run(_ work: [LaneWork], lastApp: AppEnvironment?) async throws(QueueError) -> Result {
        let lanes = work.filter {
            $0.hasQuarantined && request.allows($0.appLane)
                && !request.excludedQuarantined.contains($0.appLane.appEnvironment)
        }
        // Not lane by lane: urgent batches of one app must not be claimed before all of another.
        let apps = Set(lanes.map(\.appLane.appEnvironment)).sorted()
        let next = lastApp.flatMap { last in apps.firstIndex { $0 > last } } ?? 0
        var result = Result()
        for app in apps[next...] + apps[..<next] {
            let lanes = lanes.filter { $0.appLane.appEnvironment == app }
            for lane in lanes.sorted(by: { $0.appLane.lane < $1.appLane.lane }) {
                // First those that were in no group when its holder crashed: most of them are harmless and leave fast.
                for isIsolated in [false, true] {
                    try await claim(lane, isIsolated: isIsolated, &result)
                    if !result.trials.isEmpty { return result }
                }
            }
        }
        return result
    }

    private func claim(_ lane: LaneWork, isIsolated: Bool, _ result: inout Result) async throws(QueueError) {
        let call = PostgresCall("claim_quarantined_look", Self.lookSQL) { parameters in
            parameters.append(lane.number)
            parameters.append(isIsolated)
            parameters.append(Int32(Self.batchesMax))
        }
        let rows = try await connection.execute(call)
        let now = try mappingErrors { () throws(PostgresError) in
            rows.count > 0 ? try rows.time(0, BatchRow.columnCount) : WallTime(milliseconds: 0)
        }
        let isAlone = isIsolated || request.quarantinedMax == 1
        var pushesLeft = isAlone ? 1 : request.quarantinedMax
        for batch in try BatchRow.all(rows) {
            guard pushesLeft > 0 else { break }
            guard let trial = try await prepare(batch, pushesLeft, isAlone: isAlone, now, &result),
                let claimed = try await claim(trial)
            else { continue }
            result.trials.append(claimed)
            pushesLeft -= claimed.pending.count
        }
    }

    /// Gives up a poisonous push, and selects those that are tried.
    ///
    /// - Returns: nil if none is due.
    private func prepare(
        _ stored: BatchRow, _ pushesMax: Int, isAlone: Bool, _ now: WallTime, _ result: inout Result
    ) async throws(QueueError) -> Trial? {
        var batch = stored
        var pushesMax = pushesMax
        // Unreadable: claimed whole, and given up by the claim.
        if batch.problem != nil { pushesMax = .max }
        if batch.problem == nil, let tried = batch.isolated,
            tried.crashes >= PoisonLimits.isolatedRedeliveriesMax, !batch.ledger.isSettled(tried.index)
        {
            let poison = Outcome(
                index: UInt16(tried.index), verdict: .givenUp, code: .poison,
                attempts: batch.ledger.attempts(of: tried.index))
            var write = BatchWrite(edit: batch, BatchUpdate(at: now, outcomes: [poison]))
            write.resetsIsolated = true
            guard try await Write.run([write], key: key, connection).contains(batch.id) else { return nil }
            result.writes.append(write)
            guard !write.ledger.isFinished, let changed = try await BatchRow.load([batch.id], connection)[batch.id]
            else { return nil }
            batch = changed
        }
        let due = batch.ledger.pending(until: now)
        guard !due.isEmpty else {
            // `due_at` is a lower bound.
            _ = try await Write.run([BatchWrite(edit: batch, BatchUpdate(at: now))], key: key, connection)
            return nil
        }
        guard isAlone, batch.problem == nil else {
            // If the holder crashes, any push of the group may be the cause.
            batch.isolated = nil
            return Trial(batch: batch, pending: Array(due.prefix(pushesMax)))
        }
        let push = due.first { Int($0.index) == batch.isolated?.index } ?? due[0]
        if Int(push.index) != batch.isolated?.index { batch.isolated = (Int(push.index), 0) }
        return Trial(batch: batch, pending: [push])
    }

    private func claim(_ trial: Trial) async throws(QueueError) -> Trial? {
        let call = PostgresCall("claim_quarantined", Self.claimSQL) { parameters in
            parameters.append(PostgresUUID(trial.batch.id))
            parameters.append(Int32(truncatingIfNeeded: trial.batch.epoch))
            parameters.append(Int32(trial.batch.storedUnsettled))
            parameters.append(owner)
            parameters.append(request.lease.milliseconds)
            parameters.append(trial.batch.isolated.map { Int16($0.index) })
            parameters.append(trial.batch.isolated.map { Int16($0.crashes) } ?? 0)
        }
        guard try await connection.execute(call).count == 1 else { return nil }
        var claimed = trial
        claimed.batch.epoch += 1
        return claimed
    }

    private static let lookSQL = """
        SELECT \(BatchRow.columns), store_ms() FROM batches b JOIN app_lanes al ON al.id = b.app_lane
        WHERE b.app_lane = $1 AND b.owner IS NULL AND b.crashes >= 3 AND (b.crashes > 3) = $2 AND b.due_at <= store_ms()
        ORDER BY b.due_at, b.key LIMIT $3
        """

    private static let claimSQL = """
        UPDATE batches b SET owner = $4, lease_until = store_time() + $5 * interval '1 ms', epoch = b.epoch + 1,
            update_no = 0, has_update = false, isolated_index = $6, isolated_crashes = $7
        WHERE b.id = $1 AND b.epoch = $2 AND b.unsettled = $3 AND b.owner IS NULL
            AND NOT EXISTS (SELECT 1 FROM app_lanes al JOIN pauses p ON p.app = al.app WHERE al.id = b.app_lane)
        RETURNING b.id
        """
}
#endif
