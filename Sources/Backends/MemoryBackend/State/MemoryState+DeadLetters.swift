import APNSWire
import PushModel
import PushStore

/// Pushes that were given up. The payloads of their batch stay until the last of them is replayed, purged or pruned.
extension MemoryState {
    mutating func keep(_ outcome: Outcome, of entry: inout BatchEntry, at now: WallTime) {
        let id = entry.id.push(Int(outcome.index))
        letters[id] = DeadLetter(
            id: id, app: entry.appLane.app, lane: entry.appLane.lane, code: outcome.code, status: outcome.status,
            reason: outcome.reason, attempts: outcome.attempts, acceptedAt: entry.acceptedAt, givenUpAt: now
        )
        letterIDs.insert(id)
        entry.letters += 1
    }

    private mutating func dropLetter(_ id: PushID, of entry: inout BatchEntry) {
        letters[id] = nil
        letterIDs.remove(id)
        entry.letters -= 1
    }

    /// By ID, ascending, after `after`.
    func deadLetters(of app: AppID?, after: PushID?, limit: Int) -> [DeadLetter] {
        var page: [DeadLetter] = []
        for id in letterIDs.suffix(after: after) {
            guard page.count < limit else { break }
            if let letter = letters[id], app == nil || letter.app == app { page.append(letter) }
        }
        return page
    }

    func deadPush(_ id: PushID) -> DeadLetterContent? {
        entries[id.batch]?.batch.map { batch in
            let entry = batch.notifications.entries[id.index]
            let headers = batch.notifications.headers[Int(entry.headersIndex)]
            return DeadLetterContent(
                topic: headers.topic, pushType: headers.pushType.description, tokenBytes: Int(entry.tokenLength),
                payloadBytes: Int(entry.payloadLength),
                expiration: entry.expiration == NotificationBatch.noExpiration ? nil : entry.expiration,
                collapseID: headers.collapseID
            )
        }
    }

    func mayReplay(_ id: PushID, _ isAllowed: ReplayFilter) -> Bool {
        guard let batch = entries[id.batch]?.batch, id.index < batch.count else { return true }
        return isAllowed(batch.notifications, id.index)
    }

    /// Puts those of `ids` that are dead letters back into the queue: the same IDs, no attempts, due now.
    ///
    /// - Returns: how many there were.
    mutating func replay(_ ids: [PushID], at now: WallTime) -> Int {
        forEachBatch(of: ids) { state, entry, ids in
            for id in ids { state.dropLetter(id, of: &entry) }
            if entry.isEnded { entry.crashes = 0 }
            var update = BatchUpdate(at: now, replays: ids.map { UInt16($0.index) })
            state.record(&update, of: &entry)
            // Earlier deaths over the push do not count.
            entry.isolated = nil
            // Its lifetime begins again.
            entry.deadline = now
            guard !entry.isLeased else { return }
            entry.phase = .waiting(due: now)
            entry.wait()
        }
    }

    /// - Returns: how many of `ids` were dead letters.
    mutating func purge(_ ids: [PushID]) -> Int {
        forEachBatch(of: ids) { state, entry, ids in
            for id in ids { state.dropLetter(id, of: &entry) }
            if entry.isEnded, entry.letters == 0 { entry.batch = nil }
        }
    }

    private mutating func forEachBatch(
        of ids: [PushID], _ body: (inout MemoryState, inout BatchEntry, [PushID]) -> Void
    ) -> Int {
        let found = ids.filter { letters[$0] != nil }
        for (id, ids) in Dictionary(grouping: found, by: \.batch) {
            change(id) { state, entry in body(&state, &entry, ids) }
        }
        return found.count
    }
}

extension MemoryState {
    /// Drops records of batches that ended before `cutoff`, with their dead letters, and idempotency records whose
    /// lifetime is over: at most `batchesMax` of each.
    ///
    /// - Returns: whether there may be more.
    mutating func prune(endedBefore cutoff: WallTime, batchesMax: Int, now: WallTime) -> Bool {
        let expired = idempotencyRecords.filter { $0.value.at + IdempotencyKey.lifetime <= now }.prefix(batchesMax)
        for (key, record) in expired {
            idempotencyRecords[key] = nil
            bytesUsed -= record.bytes
        }
        let batches = ended.elements.prefix { $0.at < cutoff }.prefix(batchesMax)
        for batch in batches {
            if let entry = entries[batch.id], entry.letters > 0 {
                for index in 0..<entry.ledger.count where letters.removeValue(forKey: batch.id.push(index)) != nil {
                    letterIDs.remove(batch.id.push(index))
                }
            }
            remove(batch.id)
        }
        return batches.count == batchesMax || expired.count == batchesMax
    }
}
