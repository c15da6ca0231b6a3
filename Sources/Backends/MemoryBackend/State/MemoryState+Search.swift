import PushModel
import PushStore

extension MemoryState {
    /// - Parameter isTimeUp: called after each batch.
    func search(
        _ query: MessageQuery, after: PushID?, limits: SearchLimits, at now: WallTime, isTimeUp: () -> Bool
    ) -> MessagePage {
        var page = MessagePage(limits: limits)
        let tokenHash = query.token.map { $0.withUnsafeBytes(tokenHashKey.hash) }
        // Sorted for each page: this store has no index by ID, because it is for tests.
        let ids = entries.keys.filter { id in
            (after.map { id.push(0) < $0 } ?? true) && (query.oldestBatch.map { id >= $0 } ?? true)
        }
        var records = 0
        for id in ids.sorted(by: >) {
            guard let entry = entries[id] else { continue }
            let end = after?.batch == id ? after?.index ?? 0 : entry.ledger.count
            page.append(
                matches(query, tokenHash, of: entry, until: min(end, entry.ledger.count), at: now), of: id,
                acceptedAt: entry.acceptedAt
            )
            records += 1
            if page.capacity == 0 || records == limits.recordsMax || isTimeUp() { return page }
        }
        page.next = nil
        return page
    }

    private func matches(
        _ query: MessageQuery, _ tokenHash: UInt32?, of entry: BatchEntry, until end: Int, at now: WallTime
    ) -> [FoundMessage] {
        if entry.isEnded, !query.canMatch(entry.ledger.outcomeKinds) { return [] }
        let indexes =
            entry.batch.map { query.matchingIndexes(of: $0, in: 0..<end) }
            ?? entry.details.matchingIndexes(query, tokenHash: tokenHash, in: 0..<end)
        let match: FoundMessage.TokenMatch? = tokenHash.map { _ in entry.batch == nil ? .hash : .exact }
        return indexes.reversed().compactMap { index in
            let status = status(of: entry.id.push(index), entry, at: now)
            return query.matches(status) ? FoundMessage(status: status, tokenMatch: match) : nil
        }
    }
}
