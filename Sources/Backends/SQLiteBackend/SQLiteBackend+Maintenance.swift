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
        return try await commits.perform { db, _ in
            try Prune(db: db, now: now).run(endedBefore: cutoff, batchesMax: batchesMax)
        }
    }

    /// The size of the database with its log, and the free space of its file system.
    package func usage() -> StoreUsage? {
        let path = connections.writer.path
        var file = stat()
        guard let bytesFree = Disk.bytesFree(path), stat(path, &file) == 0 else { return nil }
        var bytesUsed = Int(file.st_size)
        // There may be no log.
        if stat(path + "-wal", &file) == 0 { bytesUsed += Int(file.st_size) }
        return StoreUsage(bytesFree: bytesFree, bytesUsed: bytesUsed)
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
