import Foundation
import GRDB
import PushModel
import PushStore
import PushStoreConformance
import SQLiteBackend

/// An SQLite database under a manual clock.
final class SQLiteHarness: QueueHarness {
    private var folder: TemporaryFolder
    private let clock = ManualClock()
    private var backend: SQLiteBackend
    /// Instances that "crashed". They are kept open, so that none of them cleans up before the test ends.
    private var crashed: [(SQLiteBackend, TemporaryFolder)] = []

    init() throws {
        folder = try TemporaryFolder()
        backend = try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
    }

    var queue: any QueueInstance { backend }
    var now: WallTime { clock.now }

    func advance(by duration: Duration) {
        clock.advance(by: duration)
    }

    /// Opens a copy of the files as they are on the disk now, including the log.
    func crash() throws {
        let copy = try TemporaryFolder()
        for suffix in ["", "-wal", "-marks"] {
            let name = SQLiteBackend.fileName + suffix
            try FileManager.default.copyItem(atPath: folder.path + "/" + name, toPath: copy.path + "/" + name)
        }
        crashed.append((backend, folder))
        folder = copy
        backend = try SQLiteBackend.open(folder: copy.path, clock: clock.queueClock, logger: silence)
    }

    func damage(_ batch: BatchID, _ part: StoredPart) throws -> Bool {
        let database = try DatabaseQueue(path: folder.path + "/" + SQLiteBackend.fileName)
        try database.writeWithoutTransaction { db in
            let key = try Int64.fetchOne(db, sql: "SELECT key FROM batches WHERE id = ?", arguments: [batch.bytes])!
            let (table, row) = part == .body ? ("bodies", key) : ("progress", key << 20)
            var bytes = try Data.fetchOne(db, sql: "SELECT body FROM \(table) WHERE key = ?", arguments: [row])!
            bytes[bytes.count / 2] ^= 4
            try db.execute(sql: "UPDATE \(table) SET body = ? WHERE key = ?", arguments: [bytes, row])
        }
        try database.close()
        return true
    }

    func openSecond() -> (any QueueInstance)? { nil }

    func close() async {
        await backend.close()
        for (backend, _) in crashed { await backend.close() }
    }
}
