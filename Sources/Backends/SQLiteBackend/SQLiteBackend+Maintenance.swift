import Foundation
import GRDB
import GRDBSQLite
package import PushModel
package import PushStore
import Synchronization

extension SQLiteBackend: StoreMaintenance {
    package func prune(
        endedBefore cutoff: WallTime, batchesMax: Int, now: WallTime
    ) async throws(QueueError) -> Bool {
        reserve.renew()
        return try await commits.perform { db, state in
            try Prune(db: db, now: now).run(endedBefore: cutoff, batchesMax: batchesMax, &state)
        }
    }

    /// The size of the database with its log; the free space of its file system, plus free pages of the database.
    package func usage() async -> StoreUsage? {
        let path = connections.writer.path
        guard let bytesFree = Disk.bytesFree(path), let pages = try? await read(PageCounts.read) else { return nil }
        return StoreUsage(
            bytesFree: bytesFree + pages.free * connections.pageBytes,
            bytesUsed: Disk.size(path) + Disk.size(path + "-wal")
        )
    }

    package func reclaim() async throws(QueueError) -> Bool {
        reserve.renew()
        return try await commits.perform { [self] db, _ in
            // Not before: a truncation that the last step requested runs after its transaction.
            let logBytes = Disk.size(connections.writer.path + "-wal")
            var pages = try PageCounts.read(db)
            // An older database cannot shrink until it is restored from a backup.
            if try Int.fetchOne(db.cachedStatement(sql: "PRAGMA auto_vacuum")) != 2 { pages.free = 0 }
            let sample = ReclaimPlan.Sample(
                changes: db.totalChangesCount, pages: pages, pageBytes: connections.pageBytes, logBytes: logBytes,
                now: clock.monotonic()
            )
            switch reclaimPlan.withLock({ $0.next(sample) }) {
            case .nothing: return false
            case .returnPages(let count, let isUrgent):
                try db.cachedStatement(sql: "PRAGMA incremental_vacuum(\(count))").execute()
                return isUrgent
            case .truncateLog:
                commits.requestTruncation()
                return false
            case .clearGaps(let key):
                let (rows, next) = try LeafGaps.clear(db, pageBytes: connections.pageBytes, from: key)
                reclaimPlan.withLock { $0.cleared(rows: rows, next: next) }
                return true
            }
        }
    }

    package func expire(batchesMax: Int) async throws(QueueError) -> Bool {
        let (policy, bytesMax, now) = (configuration.policy, configuration.claimBytesMax, clock.wall())
        let due = try await read { db in
            try Expiry.due(db, until: now, batchesMax: batchesMax, bytesMax: bytesMax)
        }
        guard !due.isEmpty else { return false }
        let candidates = due.map { key, body in
            let content = try? BatchCodec.decode(body)
            let details = content.map { RecordDetails.encode($0, key: tokenHashKey) }
            return Expiry.Candidate(key: key, content: content, details: details)
        }
        try await commits.perform { db, state in
            try Expiry(db: db, policy: policy, now: now).run(candidates, &state)
        }
        return due.count == batchesMax || due.reduce(0) { $0 + $1.body.count } >= bytesMax
    }

    package func settled() -> OutcomeCounts { outcomes.counts }
}

extension SQLiteBackend {
    /// Writes the heartbeat, and checks that the database still exists and belongs to this process; otherwise all later
    /// writes are refused as `broken`. Call it about once a second; more often is harmless. It updates the timestamp of
    /// one file and does not wait for the writer.
    package func heartbeat() {
        let now = clock.monotonic()
        let isDue = lastHeartbeat.withLock { last in
            if let last, now - last < .milliseconds(900) { return false }
            last = now
            return true
        }
        guard isDue else { return }
        lock.heartbeat()
        commits.checkOwnership()
    }

    /// Pages that the writing connection has read since it was opened, from memory or disk: the cost of calls,
    /// independent of the speed of the machine.
    package func pagesRead() async throws(QueueError) -> Int {
        try await commits.perform { db, _ in
            [SQLITE_DBSTATUS_CACHE_HIT, SQLITE_DBSTATUS_CACHE_MISS].reduce(0) { sum, counter in
                var current: CInt = 0
                var highest: CInt = 0
                sqlite3_db_status(db.sqliteConnection, counter, &current, &highest, 0)
                return sum + Int(current)
            }
        }
    }

    /// Reads committed data on the reading connection, without waiting for the writer.
    func read<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(QueueError) -> Value {
        do {
            return try await connections.reader.read(body)
        } catch {
            throw error.queueError
        }
    }
}
