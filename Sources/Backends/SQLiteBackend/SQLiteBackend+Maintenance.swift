import Foundation
import GRDB
import GRDBSQLite
package import PushModel
package import PushStore
import Synchronization

extension SQLiteBackend: StoreMaintenance {
    package func prune(
        endedBefore moment: WallTime, batchesMax: Int, now: WallTime
    ) async throws(QueueError) -> Bool {
        reserve.renew()
        return try await commits.perform { db, _ in
            try Prune(db: db, now: now).run(endedBefore: moment, batchesMax: batchesMax)
        }
    }

    /// The database with its log, and what its file system has left for us.
    package func usage() -> StoreUsage? {
        let path = connections.writer.path
        var file = stat()
        guard let bytesFree = Disk.bytesFree(path), stat(path, &file) == 0 else { return nil }
        var bytesUsed = Int(file.st_size)
        // A log that is not there takes nothing.
        if stat(path + "-wal", &file) == 0 { bytesUsed += Int(file.st_size) }
        return StoreUsage(bytesFree: bytesFree, bytesUsed: bytesUsed)
    }

    package func settled() -> OutcomeCounts { outcomes.tally }
}

extension SQLiteBackend {
    /// Shows that this process works, and looks whether the database is still there and still ours; if not, all later
    /// writes are refused as `broken`. To be called about once a second, from anywhere: it touches one file and does
    /// not wait for the writer. More often is harmless.
    package func heartbeat() {
        let now = clock.monotonic()
        let isDue = lastHeartbeat.withLock { last in
            if let last, now - last < .milliseconds(900) { return false }
            last = now
            return true
        }
        guard isDue else { return }
        lock.heartbeat()
        commits.examine()
    }

    /// Pages that the writing connection has looked at since it was opened, in memory or on the disk: what calls cost,
    /// however fast the machine.
    package func pagesLookedAt() async throws(QueueError) -> Int {
        try await commits.perform { db, _ in
            [SQLITE_DBSTATUS_CACHE_HIT, SQLITE_DBSTATUS_CACHE_MISS].reduce(0) { sum, counter in
                var current: CInt = 0
                var highest: CInt = 0
                sqlite3_db_status(db.sqliteConnection, counter, &current, &highest, 0)
                return sum + Int(current)
            }
        }
    }

    /// Reads on the reading connection: what is committed, without a place in the writer's queue.
    func look<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(QueueError) -> Value {
        do {
            return try await connections.reader.read(body)
        } catch {
            throw error.queueError
        }
    }
}
