import PushModel
import PushStore

/// Cancels waiting pushes. Claimed pushes may be on their way and are left alone.
extension MemoryState {
    /// - Returns: parallel to `ids`.
    mutating func cancel(_ ids: [PushID], at now: WallTime) -> [CancelResult] {
        let results: [CancelResult] = ids.map { id in
            guard let entry = entries[id.batch], id.index < entry.ledger.count else { return .unknown }
            if case .outcome(let outcome, _)? = entry.update(of: id.index) { return .settled(outcome.verdict) }
            return entry.isWaiting ? .cancelled : .tooLate
        }
        let cancelled = ids.indices.filter { results[$0] == .cancelled }
        for (id, positions) in Dictionary(grouping: cancelled, by: { ids[$0].batch }) {
            change(id) { state, entry in
                state.cancel(Set(positions.map { ids[$0].index }).sorted(), of: &entry, at: now)
            }
        }
        return results
    }

    /// Cancels all unsettled pushes of those batches that still wait.
    ///
    /// - Returns: how many there were.
    mutating func cancelAll(of batches: some Sequence<BatchID>, at now: WallTime) -> Int {
        batches.reduce(0) { total, id in
            let count = change(id) { state, entry in
                guard entry.isWaiting else { return 0 }
                let left = (0..<entry.ledger.count).filter { !entry.ledger.isSettled($0) }
                state.cancel(left, of: &entry, at: now)
                return left.count
            }
            return total + (count ?? 0)
        }
    }

    private mutating func cancel(_ indexes: [Int], of entry: inout BatchEntry, at now: WallTime) {
        let outcomes = indexes.map { index in
            Outcome(
                index: UInt16(index), verdict: .cancelled, code: .cancelled, attempts: entry.ledger.attempts(of: index)
            )
        }
        var update = BatchUpdate(at: now, outcomes: outcomes)
        record(&update, of: &entry)
        entry.wait()
    }

    /// The batches of a target that wait, up to the batch of `key`, and how many of its pushes are claimed.
    func waiting(for target: CancelTarget, upTo key: Int) -> (batches: [BatchID], claimedPushes: Int) {
        var (batches, claimedPushes) = ([TimedBatch](), 0)
        for entry in entries.values where entry.key <= key && !entry.isEnded {
            let isMeant =
                switch target {
                case .request(let id): entry.requestID == id
                case .app(let app): entry.appLane.app == app
                }
            guard isMeant else { continue }
            if entry.isWaiting {
                batches.append(TimedBatch(at: entry.acceptedAt, key: entry.key, id: entry.id))
            } else {
                claimedPushes += entry.ledger.unsettled
            }
        }
        return (batches.sorted().map(\.id), claimedPushes)
    }
}

/// Settles waiting pushes whose deadline has passed. Claimed pushes may be on their way and are left alone.
extension MemoryState {
    /// - Returns: whether there may be more.
    mutating func expire(by policy: DeliveryPolicy, batchesMax: Int, at now: WallTime) -> Bool {
        let due = expiring.elements.prefix { $0.at <= now }.prefix(batchesMax)
        for batch in due { change(batch.id) { state, entry in state.expire(&entry, by: policy, at: now) } }
        return due.count == batchesMax
    }

    private mutating func expire(_ entry: inout BatchEntry, by policy: DeliveryPolicy, at now: WallTime) {
        guard let batch = entry.batch else { return }
        let deadlines = Deadlines(of: entry.ledger.restartingLifetimes(of: batch), policy: policy)
        let waiting = entry.ledger.pending(until: .distantFuture)
        var update = BatchUpdate(
            at: now, outcomes: waiting.filter { deadlines[$0.index] <= now }.map { $0.expired() })
        record(&update, of: &entry)
        entry.deadline = waiting.lazy.map { deadlines[$0.index] }.filter { $0 > now }.min() ?? .distantFuture
        if !update.isEmpty { entry.wait() }
    }
}
