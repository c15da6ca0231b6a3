import GRDB
import PushModel
import PushQueue

extension Claim {
    /// One push of a batch whose leases ended too often because their holders died. What kills its holder alone as
    /// well is poison and given up here; its neighbours go on.
    ///
    /// The batch stays in this mode until it is finished, so a second poisonous push in it harms nobody either.
    func claimAlone(_ result: inout Result, _ state: inout QueueState) throws -> RawClaim? {
        guard try SuspectedBatches.exist(db) else { return nil }
        for lane in Lane.allCases {
            let places = state.claimableApps(in: lane, request).map { QueuePlace(app: $0, lane: lane) }
            while let row = try oldest(in: places) {
                if let claim = try claimAlone(row, &result, &state) { return claim }
            }
        }
        return nil
    }

    private func oldest(in places: [QueuePlace]) throws -> BatchRow? {
        try places.compactMap { try SuspectedBatches.first(in: $0, until: wall, db) }
            .min { ($0.due.milliseconds, $0.batch.key) < ($1.due.milliseconds, $1.batch.key) }
    }

    /// - Returns: nil when nothing of it is due; it then waits, or is finished.
    private func claimAlone(_ row: BatchRow, _ result: inout Result, _ state: inout QueueState) throws -> RawClaim? {
        var batch = row.batch
        let isReadable = try batch.progressRows == 0 || batch.foldProgress(db)
        var alone = row.alone
        if isReadable, let tried = alone, tried.crashes >= PoisonLimits.aloneDeliveriesMax {
            try giveUp(tried.index, of: &batch, &result, &state)
            alone = nil
        }
        let pending = batch.ledger.pending(at: wall)
        guard let push = pending.first(where: { Int($0.index) == alone?.index }) ?? pending.first else {
            guard isReadable else { return try end(batch, row, &state) }
            try batch.updateWaiting(db)
            return nil
        }
        if Int(push.index) != alone?.index { alone = (Int(push.index), 0) }
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
        var claim = try hold(batch, row, [push], isReadable: isReadable, &state)
        claim.isAlone = true
        return claim
    }

    /// What is left of a batch whose news cannot be read is nobody's to send, whenever it is due.
    private func end(_ batch: QueuedBatch, _ row: BatchRow, _ state: inout QueueState) throws -> RawClaim {
        var batch = batch
        batch.epoch += 1
        try db.cachedStatement(sql: "UPDATE batches SET leased = 1, epoch = ? WHERE key = ?")
            .execute(arguments: [Int64(batch.epoch), batch.key])
        return try hold(batch, row, [], isReadable: false, &state)
    }

    private func giveUp(
        _ index: Int, of batch: inout QueuedBatch, _ result: inout Result, _ state: inout QueueState
    ) throws {
        var news = BatchNews(
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
