import GRDB
import PushModel
import PushStore

extension Claim {
    /// Claims pushes of quarantined batches of one app; the apps take turns.
    ///
    /// First come batches that were not part of a trial whose holder crashed, several in one trial. The others are
    /// isolated: claimed one push at a time. A push over which holders crash then is poison and given up here; its
    /// neighbours go on. A batch stays in this mode until it is finished, so a second poisonous push in it does no harm
    /// either.
    func claimQuarantined(_ result: inout Result, _ state: inout QueueState) throws -> [EncodedClaim] {
        guard request.quarantinedMax > 0, try QuarantinedBatches.exist(db) else { return [] }
        let appsByLane = Lane.allCases.map { lane in
            (lane, Set(state.claimableApps(in: lane, request)).subtracting(request.excludedQuarantined))
        }
        // By app and not by lane: urgent batches of one app must not go ahead of all batches of another.
        let apps = appsByLane.reduce(into: Set<AppEnvironment>()) { $0.formUnion($1.1) }.sorted()
        for app in rotate(apps, after: state.lastQuarantined) {
            for (lane, claimable) in appsByLane where claimable.contains(app) {
                let claims = try claimQuarantined(of: AppLane(app, lane: lane), &result, &state)
                guard !claims.isEmpty else { continue }
                state.lastQuarantined = app
                return claims
            }
        }
        return []
    }

    /// - Parameter apps: ascending.
    private func rotate(_ apps: [AppEnvironment], after last: AppEnvironment?) -> [AppEnvironment] {
        guard let last, let next = apps.firstIndex(where: { $0 > last }) else { return apps }
        return Array(apps[next...] + apps[..<next])
    }

    private func claimQuarantined(
        of appLane: AppLane, _ result: inout Result, _ state: inout QueueState
    ) throws -> [EncodedClaim] {
        for kind in [DueBatches.Kind.quarantined, .isolated] {
            var claims: [EncodedClaim] = []
            var due = DueBatches(appLane: appLane, until: wall, kind)
            // With a single push a crash shows which push caused it.
            let isIsolated = kind == .isolated || request.quarantinedMax == 1
            var left = isIsolated ? 1 : request.quarantinedMax
            while left > 0, claims.count < Self.trialBatchesMax, let batch = try due.first(db) {
                _ = due.popFirst()
                guard
                    let claim = try claimQuarantined(
                        batch, pushesMax: left, isIsolated: isIsolated, &result, &state
                    )
                else { continue }
                claims.append(claim)
                left -= claim.pending?.count ?? 0
            }
            if !claims.isEmpty { return claims }
        }
        return []
    }

    /// The most batches of one trial: bounds the duration of the write.
    private static let trialBatchesMax = 256

    /// - Returns: nil if none of its pushes is due; the batch then waits, or is finished.
    private func claimQuarantined(
        _ queued: QueuedBatch, pushesMax: Int, isIsolated: Bool, _ result: inout Result, _ state: inout QueueState
    ) throws -> EncodedClaim? {
        var batch = queued
        let problem = try batch.load(db)
        if problem == nil, let tried = batch.isolated, tried.crashes >= PoisonLimits.isolatedRedeliveriesMax {
            try giveUp(tried.index, of: &batch, &result, &state)
            batch.isolated = nil
        }
        let due = batch.ledger.pending(until: wall)
        guard !due.isEmpty else {
            if let problem { return try claimUnreadable(batch, problem, &state) }
            try batch.updateWaiting(db)
            return nil
        }
        let pending: [PendingPush]
        if isIsolated {
            let push = due.first { Int($0.index) == batch.isolated?.index } ?? due[0]
            if Int(push.index) != batch.isolated?.index { batch.isolated = (Int(push.index), 0) }
            pending = [push]
        } else {
            // A crash will not show which of the pushes caused it.
            batch.isolated = nil
            pending = Array(due.prefix(pushesMax))
        }
        batch.epoch += 1
        try db.cachedStatement(
            sql: """
                UPDATE batches SET leased = 1, epoch = ?, isolated_index = ?, isolated_crashes = ?, unsettled = ?,
                    progress_rows = ?, marks = ? WHERE key = ?
                """
        ).execute(arguments: [
            Int64(batch.epoch), batch.isolated?.index, batch.isolated?.crashes ?? 0, batch.ledger.unsettled,
            batch.progressRows, batch.marks.rawValue, batch.key,
        ])
        return try hold(batch, pending, isQuarantined: true, problem: problem, &state)
    }

    /// Claims a batch whose updates cannot be read, even if no push is due, so that the caller ends it.
    private func claimUnreadable(
        _ queued: QueuedBatch, _ problem: CodecError, _ state: inout QueueState
    ) throws -> EncodedClaim {
        var batch = queued
        batch.epoch += 1
        try db.cachedStatement(sql: "UPDATE batches SET leased = 1, epoch = ? WHERE key = ?")
            .execute(arguments: [Int64(batch.epoch), batch.key])
        return try hold(batch, [], problem: problem, &state)
    }

    private func giveUp(
        _ index: Int, of batch: inout QueuedBatch, _ result: inout Result, _ state: inout QueueState
    ) throws {
        var update = BatchUpdate(
            at: wall,
            outcomes: [
                Outcome(
                    index: UInt16(index), verdict: .givenUp, code: .poison, attempts: batch.ledger.attempts(of: index)
                )
            ]
        )
        try batch.record(&update, db, &state)
        if !update.isEmpty { result.poison.append(batch.id.push(index)) }
    }
}
