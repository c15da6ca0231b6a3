#if Postgres
import PostgresLink
import PushModel
import PushStore

/// A call of `settle` that waits for its group.
struct SettleItem: Sendable {
    let settlements: [Settlement]
    let completion: @Sendable (Result<[Lease], QueueError>) -> Void
}

/// Writes settlements in the order of their calls.
struct Settling: Sendable {
    let connection: PostgresConnection
    let key: TokenHashKey
    let held: HeldBatches
    let tally: SettledTally

    /// Batches of one statement.
    private static let batchesMax = 1000

    func run(_ items: [SettleItem]) async {
        var stale = [[Lease]](repeating: [], count: items.count)
        let all = items.enumerated().flatMap { item, call in call.settlements.map { (item: item, settlement: $0) } }
        var start = 0
        while start < all.count {
            let wave = all[start..<end(of: all.map(\.settlement), from: start)]
            do {
                let refused = try await write(wave.map(\.settlement))
                for (item, settlement) in wave where refused.contains(settlement.lease) {
                    stale[item].append(settlement.lease)
                }
            } catch {
                // Items that end before this wave are recorded.
                let first = wave[start].item
                for item in items.indices {
                    items[item].completion(item < first ? .success(stale[item]) : .failure(error))
                }
                return
            }
            start = wave.endIndex
        }
        for (item, stale) in zip(items, stale) { item.completion(.success(stale)) }
    }

    /// The end of the settlements from `start` on that have different batches.
    private func end(of settlements: [Settlement], from start: Int) -> Int {
        var batches: Set<BatchID> = []
        var end = start
        while end < settlements.count, batches.count < Self.batchesMax,
            batches.insert(settlements[end].lease.batch).inserted
        {
            end += 1
        }
        return end
    }

    /// - Returns: the refused leases.
    private func write(_ settlements: [Settlement]) async throws(QueueError) -> Set<Lease> {
        var writes: [Lease: BatchWrite] = [:]
        var returning: [BatchID] = []
        for settlement in settlements {
            guard let batch = held[settlement.lease] else { continue }
            let write = BatchWrite(batch, settlement)
            writes[settlement.lease] = write
            if batch.hasCollapses, settlement.release.endsLease, !write.ledger.isFinished {
                returning.append(settlement.lease.batch)
            }
        }
        let changed = try await Write.run(settlements.compactMap { writes[$0.lease] }, key: key, connection)
        func record(_ settlement: Settlement) {
            guard let write = writes[settlement.lease] else { return }
            held.record(write)
            tally.count([write])
        }
        var open: [Settlement] = []
        for settlement in settlements {
            if writes[settlement.lease] != nil, changed.contains(settlement.lease.batch) {
                record(settlement)
            } else {
                open.append(settlement)
            }
        }
        let repeated = try await RepeatedSettlements.run(open, connection)
        var refused: Set<Lease> = []
        for settlement in open {
            if repeated.contains(settlement.lease) {
                record(settlement)
            } else {
                refused.insert(settlement.lease)
            }
        }
        held.drop(refused)
        let returned = returning.filter { id in !refused.contains { $0.batch == id } }
        if !returned.isEmpty {
            // A claim checks them again, so an error here delays nothing.
            tally.count((try? await CollapseRows(connection: connection, key: key).returned(returned)) ?? [])
        }
        return refused
    }
}
#endif
