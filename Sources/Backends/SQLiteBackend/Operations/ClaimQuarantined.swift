import GRDB
import PushModel
import PushStore

extension Claim {
    /// Pushes of batches whose leases ended too often because their holders died, of one app: the apps take turns. A batch
    /// that saw its holder die over such a piece as well comes by itself and push by push; what kills its holder then is
    /// poison and given up here, and its neighbours go on.
    ///
    /// The batch stays in this mode until it is finished, so a second poisonous push in it harms nobody either.
    func claimQuarantined(_ result: inout Result, _ state: inout QueueState) throws -> [EncodedClaim] {
        guard request.quarantinedMax > 0, try QuarantinedBatches.exist(db) else { return [] }
        let places = Lane.allCases.map { lane in
            (lane, Set(state.claimableApps(in: lane, request)).subtracting(request.excludedQuarantined))
        }
        // Not lane by lane: urgent suspects of one app must not go before all of another.
        let apps = places.reduce(into: Set<AppID>()) { $0.formUnion($1.1) }.sorted()
        for app in inTurn(apps, after: state.lastQuarantined) {
            for (lane, claimable) in places where claimable.contains(app) {
                let claims = try claimQuarantined(of: AppLane(app: app, lane: lane), &result, &state)
                guard !claims.isEmpty else { continue }
                state.lastQuarantined = app
                return claims
            }
        }
        return []
    }

    /// - Parameter apps: ascending.
    private func inTurn(_ apps: [AppID], after last: AppID?) -> [AppID] {
        guard let last, let next = apps.firstIndex(where: { $0 > last }) else { return apps }
        return Array(apps[next...] + apps[..<next])
    }

    private func claimQuarantined(
        of place: AppLane, _ result: inout Result, _ state: inout QueueState
    ) throws -> [EncodedClaim] {
        // Those that were not in a piece when it killed its holder first: many innocents go fast there.
        for kind in [DueBatches.Kind.quarantined, .triedAlone] {
            var claims: [EncodedClaim] = []
            var due = DueBatches(place: place, until: wall, kind)
            // A death tells then which it was.
            let isAlone = kind == .triedAlone || request.quarantinedMax == 1
            var left = isAlone ? 1 : request.quarantinedMax
            while left > 0, claims.count < Self.quarantinedBatchesMax, let row = try due.first(db) {
                _ = due.popFirst()
                guard let claim = try claimQuarantined(row, pushesMax: left, isAlone: isAlone, &result, &state) else {
                    continue
                }
                claims.append(claim)
                left -= claim.pending?.count ?? 0
            }
            if !claims.isEmpty { return claims }
        }
        return []
    }

    /// Batches of a piece: what one write can change in a moment.
    private static let quarantinedBatchesMax = 256

    /// - Returns: nil when nothing of it is due; it then waits, or is finished.
    private func claimQuarantined(
        _ row: BatchRow, pushesMax: Int, isAlone: Bool, _ result: inout Result, _ state: inout QueueState
    ) throws -> EncodedClaim? {
        var batch = row.batch
        let isReadable = try batch.progressRows == 0 || batch.applyUpdates(db)
        var alone = row.alone
        if isReadable, let tried = alone, tried.crashes >= PoisonLimits.isolatedRedeliveriesMax {
            try giveUp(tried.index, of: &batch, &result, &state)
            alone = nil
        }
        let due = batch.ledger.pending(at: wall)
        guard !due.isEmpty else {
            guard isReadable else { return try end(batch, row, &state) }
            try batch.updateWaiting(db)
            return nil
        }
        let pending: [PendingPush]
        if isAlone {
            let push = due.first { Int($0.index) == alone?.index } ?? due[0]
            if Int(push.index) != alone?.index { alone = (Int(push.index), 0) }
            pending = [push]
        } else {
            // Nobody could tell which of them it was.
            alone = nil
            pending = Array(due.prefix(pushesMax))
        }
        batch.epoch += 1
        try db.cachedStatement(
            sql: """
                UPDATE batches SET leased = 1, epoch = ?, alone_index = ?, alone_crashes = ?, unsettled = ?,
                    progress_rows = ?, marks = ? WHERE key = ?
                """
        ).execute(arguments: [
            Int64(batch.epoch), alone?.index, alone?.crashes ?? 0, batch.ledger.unsettled, batch.progressRows,
            batch.marks.rawValue, batch.key,
        ])
        var claim = try hold(batch, row, pending, isReadable: isReadable, &state)
        claim.isQuarantined = true
        return claim
    }

    /// What is left of a batch whose news cannot be read is nobody's to send, whenever it is due.
    private func end(_ batch: QueuedBatch, _ row: BatchRow, _ state: inout QueueState) throws -> EncodedClaim {
        var batch = batch
        batch.epoch += 1
        try db.cachedStatement(sql: "UPDATE batches SET leased = 1, epoch = ? WHERE key = ?")
            .execute(arguments: [Int64(batch.epoch), batch.key])
        return try hold(batch, row, [], isReadable: false, &state)
    }

    private func giveUp(
        _ index: Int, of batch: inout QueuedBatch, _ result: inout Result, _ state: inout QueueState
    ) throws {
        var news = BatchUpdate(
            at: wall,
            outcomes: [
                Outcome(
                    index: UInt16(index), verdict: .givenUp, code: .poison, attempts: batch.ledger.attempts(of: index)
                )
            ]
        )
        try batch.record(&news, db, &state)
        if !news.isEmpty { result.poison.append(batch.id.push(index)) }
    }
}
