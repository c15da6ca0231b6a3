import Foundation
import GRDB
import PushModel
import PushQueue

extension SQLiteBackend: StoreUpkeep {
    package func prune(
        acceptedBefore moment: WallTime, batchesMax: Int, now: WallTime
    ) async throws(QueueError) -> Bool {
        try await commits.perform { db, state in
            try Prune(db: db, now: now).run(acceptedBefore: moment, batchesMax: batchesMax, &state)
        }
    }

    /// The database with its log, and what its file system has left for us.
    package func usage() -> StoreUsage? {
        let path = connections.writer.path
        var disk = statvfs()
        var file = stat()
        guard statvfs(path, &disk) == 0, stat(path, &file) == 0 else { return nil }
        var bytesUsed = Int(file.st_size)
        // A log that is not there takes nothing.
        if stat(path + "-wal", &file) == 0 { bytesUsed += Int(file.st_size) }
        return StoreUsage(bytesFree: Int(disk.f_bavail) * Int(disk.f_frsize), bytesUsed: bytesUsed)
    }
}

extension SQLiteBackend {
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
