import Foundation
import PushModel
import PushStore

extension MemoryState {
    /// Adds all batches and idempotency records, or throws and adds none.
    mutating func append(
        _ batches: [NewBatch], recording records: [IdempotencyKey: IdempotencyRecord], by owner: Int, bytesMax: Int,
        policy: DeliveryPolicy, now: Moment
    ) throws(QueueError) -> [Lease?] {
        let added = batches.enumerated().map {
            BatchEntry($1.batch, key: newestKey + 1 + $0, tokenHashKey: tokenHashKey, policy: policy)
        }
        try check(added, records, bytesMax: bytesMax)
        for (key, record) in records {
            bytesUsed += record.bytes - (idempotencyRecords[key]?.bytes ?? 0)
            idempotencyRecords[key] = record
        }
        newestKey += added.count
        return zip(added, batches).map { append($0, claim: $1.claim, by: owner, now: now) }
    }

    private func check(
        _ added: [BatchEntry], _ records: [IdempotencyKey: IdempotencyRecord], bytesMax: Int
    ) throws(QueueError) {
        var ids: Set<BatchID> = []
        var bytes = 0
        for entry in added {
            guard entries[entry.id] == nil, ids.insert(entry.id).inserted else {
                throw .unavailable("\(entry.id): a batch of this ID exists", isOutcomeKnown: true)
            }
            bytes += entry.bytes
        }
        for (key, record) in records {
            guard idempotencyRecord(of: key, at: record.at) == nil else { throw .idempotencyKeyUsed }
            bytes += record.bytes
        }
        guard bytesUsed + bytes <= bytesMax else {
            throw .full("\(bytesUsed) of \(bytesMax) bytes are used, \(bytes) more do not fit")
        }
    }

    private mutating func append(_ added: BatchEntry, claim: Duration?, by owner: Int, now: Moment) -> Lease? {
        var entry = added
        let dueTimes = entry.batch?.dueTimes ?? PushColumn()
        let isScheduled = !dueTimes.isAbsent && (entry.batch?.lastDue ?? now.wall) > now.wall
        var lease: Lease?
        if let claim, !isScheduled, paused[entry.appLane.app] == nil {
            entry.lease(to: owner, until: now.monotonic + claim)
            lease = Lease(batch: entry.id, epoch: entry.epoch)
        }
        insert(entry)
        if !entry.collapsible.isEmpty {
            supersedeOlder(than: entry, dueTimes: dueTimes, now: now.wall)
            if lease == nil { change(entry.id) { state, entry in state.enterCollapses(of: &entry, now: now.wall) } }
        }
        return lease
    }

    /// nil when there is none, or when its lifetime is over.
    func idempotencyRecord(of key: IdempotencyKey, at now: WallTime) -> IdempotencyRecord? {
        idempotencyRecords[key].flatMap { $0.at + IdempotencyKey.lifetime > now ? $0 : nil }
    }
}

extension IdempotencyRecord {
    /// About how many bytes it takes, its key included.
    var bytes: Int { body.count + fingerprint.count + 64 }
}
