#if Postgres
import PostgresLink
package import PushModel
package import PushStore
import Synchronization

extension PostgresBackend: IdempotentQueue {
    package func append(_ batches: [NewBatch]) async throws(QueueError) -> [Lease?] {
        try checkOpen()
        guard !batches.isEmpty else { return [] }
        let append = try await encode(batches)
        let result = await withCheckedContinuation { continuation in
            appends.submit(AppendItem(append: append) { continuation.resume(returning: $0) })
        }
        return await finish(append, try result.get())
    }

    package func append(
        _ batches: [NewBatch], storing records: [IdempotencyKey: IdempotencyRecord]
    ) async throws(QueueError) -> [Lease?] {
        guard !records.isEmpty else { return try await append(batches) }
        try checkOpen()
        let append = try await encode(batches)
        let appending = Appending(connection: connections.append[0], owner: owner)
        let (leases, result) = try await appending.run(append, before: ResponseRows.store(records))
        let replaced = try mappingErrors { () throws(PostgresError) in
            try result.map { rows throws(PostgresError) in try ResponseRows.usage(rows) } ?? IdempotencyUsage()
        }
        responses.withLock { usage in
            usage.records += records.count - replaced.records
            usage.bytes += records.values.reduce(0) { $0 + $1.body.count } - replaced.bytes
        }
        return await finish(append, leases)
    }

    private func encode(_ batches: [NewBatch]) async throws(QueueError) -> EncodedAppend {
        let lanes = try await appLanes.numbers(
            of: Set(batches.map { AppLane($0.batch.appEnvironment, lane: $0.batch.lane) }))
        return EncodedAppend(batches, appLanes: lanes, policy: policy, key: key)
    }

    private func finish(_ append: EncodedAppend, _ leases: [Lease?]) async -> [Lease?] {
        for (row, lease) in zip(append.rows, leases) {
            if let lease { held.hold(row.batch, epoch: lease.epoch) }
        }
        let collapsing = append.rows.filter { !$0.collapses.isEmpty }.map(\.batch.id)
        if !collapsing.isEmpty {
            // The batches are durable whatever happens here, and a claim of the older ones checks them again.
            let collapses = CollapseRows(connection: connections.control, key: key)
            count((try? await collapses.supersede(by: collapsing)) ?? [])
        }
        return leases
    }

    package func idempotencyRecord(
        for key: IdempotencyKey, now: WallTime
    ) async throws(QueueError) -> IdempotencyRecord? {
        try checkOpen()
        return try await ResponseRows.find(key, at: now, connections.read)
    }

    package func idempotencyUsage() -> IdempotencyUsage { responses.withLock { $0 } }

    // MARK: - Leases

    package func begun(_ leases: [Lease]) {
        let known = leases.filter { held[$0] != nil }
        if !known.isEmpty { begunNotes.submit(known) }
    }

    package func renew(_ leases: [Lease], for duration: Duration) async throws(QueueError) -> [Lease] {
        try checkOpen()
        let known = leases.filter { held[$0] != nil }
        let renewed = try await Leases.renew(known, for: duration, owner: owner, connections.lease)
        let lost = leases.filter { held[$0] == nil || !renewed.contains($0.batch) }
        held.drop(lost)
        return lost
    }

    package func settle(_ settlements: [Settlement]) async throws(QueueError) -> [Lease] {
        try checkOpen()
        guard !settlements.isEmpty else { return [] }
        let result = await withCheckedContinuation { continuation in
            self.settlements.submit(
                SettleItem(settlements: settlements) { continuation.resume(returning: $0) })
        }
        return try result.get()
    }

    package func depth() async throws(QueueError) -> QueueDepth {
        try checkOpen()
        return try await DepthRows.read(connections.read)
    }

    // MARK: - Claims

    package func claim(_ request: ClaimRequest) async throws(QueueError) -> [ClaimedBatch] {
        try checkOpen()
        guard request.batchesMax > 0 else { return [] }
        let batchesMax = min(request.batchesMax, 1000)
        let work = try await LaneWork.read(batchesMax: batchesMax, connections.claim)
        guard !work.isEmpty else { return [] }
        let quarantined = try await claimQuarantined(request, work)
        let plan = turns.withLock { turns in
            TurnPlan(
                work, request,
                // All quarantined batches together count as one.
                batchesMax: batchesMax - (quarantined.isEmpty ? 0 : 1),
                pushesMax: request.pushesMax - quarantined.reduce(0) { $0 + $1.pendingCount }, &turns.apps)
        }
        guard !plan.takes.isEmpty else { return quarantined }
        let claimed = try await ClaimRows.run(plan, owner: owner, lease: request.lease, connections.claim)
        return await prepare(claimed, lookahead: request.lookahead) + quarantined
    }

    private func claimQuarantined(
        _ request: ClaimRequest, _ work: [LaneWork]
    ) async throws(QueueError) -> [ClaimedBatch] {
        guard request.quarantinedMax > 0, work.contains(where: \.hasQuarantined) else { return [] }
        let claim = ClaimQuarantined(connection: connections.claim, owner: owner, key: key, request: request)
        let result = try await claim.run(work, lastApp: turns.withLock { $0.lastQuarantined })
        count(result.writes)
        if let app = result.trials.first?.batch.appLane.appEnvironment { turns.withLock { $0.lastQuarantined = app } }
        var claims: [ClaimedBatch] = []
        for trial in result.trials {
            held.hold(trial.batch)
            guard trial.batch.problem == nil, let content = trial.batch.content else {
                await giveUp([trial.batch], at: clock.wall())
                continue
            }
            claims.append(
                ClaimedBatch(
                    lease: trial.batch.lease, batch: trial.batch.ledger.restartingLifetimes(of: content),
                    pending: trial.pending, isQuarantined: true))
        }
        return claims
    }

    /// Gives up what cannot be read and what a newer push replaces, releases what is not due, and lists the rest.
    private func prepare(_ claimed: ClaimRows.Batches, lookahead: Duration) async -> [ClaimedBatch] {
        for batch in claimed.batches { held.hold(batch) }
        // Without it the next claim reads as much as this one.
        if let compaction = Compaction.call(claimed.batches) { _ = try? await connections.claim.execute(compaction) }
        let unreadable = claimed.batches.filter { $0.problem != nil }
        if !unreadable.isEmpty { await giveUp(unreadable, at: claimed.now) }
        let superseded = await supersede(
            claimed.batches.filter { $0.marks.contains(.collapses) && $0.problem == nil }, at: claimed.now)
        var claims: [ClaimedBatch] = []
        var waiting: [Settlement] = []
        for batch in claimed.batches where batch.problem == nil {
            guard let content = batch.content, let ledger = held[batch.lease]?.ledger else { continue }
            let ahead = batch.marks.contains(.collapses) ? .zero : lookahead
            let isFresh = batch.isFresh(at: claimed.now) && !superseded.contains(batch.id)
            let pending = isFresh ? nil : ledger.pending(until: claimed.now + ahead)
            if let pending, !pending.contains(where: { $0.due <= claimed.now }) {
                // `due_at` is a lower bound.
                waiting.append(Settlement(lease: batch.lease, release: .release, at: claimed.now))
                continue
            }
            claims.append(
                ClaimedBatch(lease: batch.lease, batch: ledger.restartingLifetimes(of: content), pending: pending))
        }
        await record(waiting)
        return claims
    }

    private func giveUp(_ batches: [BatchRow], at now: WallTime) async {
        await record(
            batches.map { Settlement(lease: $0.lease, outcomes: $0.givenUp, release: .release, at: now) })
    }

    /// - Returns: the batches with superseded pushes.
    private func supersede(_ batches: [BatchRow], at now: WallTime) async -> Set<BatchID> {
        guard !batches.isEmpty else { return [] }
        let collapses = CollapseRows(connection: connections.claim, key: key)
        // Without a response they are sent: a duplicate is better than none.
        guard let superseded = try? await collapses.superseded(batches), !superseded.isEmpty else { return [] }
        await record(
            batches.compactMap { batch in
                superseded[batch.id].map { pushes in
                    Settlement(lease: batch.lease, outcomes: CollapseRows.outcomes(pushes, batch.ledger), at: now)
                }
            })
        return Set(superseded.keys)
    }

    /// Records settlements of this instance's own. If that fails, the leases run out.
    private func record(_ settlements: [Settlement]) async {
        guard !settlements.isEmpty else { return }
        let writes = settlements.compactMap { settlement in held[settlement.lease].map { BatchWrite($0, settlement) } }
        guard let changed = try? await Write.run(writes, key: key, connections.claim) else {
            return held.drop(settlements.map(\.lease))
        }
        for write in writes where changed.contains(write.lease.batch) { held.record(write) }
        count(writes.filter { changed.contains($0.lease.batch) })
        held.drop(writes.filter { !changed.contains($0.lease.batch) }.map(\.lease))
    }
}
#endif
