import Foundation
import GRDB
import PushStore
import Synchronization

/// Keeps the write-ahead log short, from the writing connection and between two transactions, so that no caller
/// waits for it inside its commit.
final class Checkpointer: Sendable {
    private let path: String
    private var logPath: String { path + "-wal" }
    private let pagesMax: Int
    private let logBytesMax: Int
    /// Pages that the log has grown by since the last checkpoint, about. An estimate is enough: it only sets the pace.
    private let pages = Mutex(0)

    init(path: String, configuration: SQLiteConfiguration) {
        self.path = path
        pagesMax = configuration.checkpointPages
        logBytesMax = configuration.logBytesMax
    }

    func wrote(bytes: Int, calls: Int) {
        // Each call touches a handful of table and index pages; those of neighbours are often the same.
        pages.withLock { $0 += bytes / Self.pageBytes + 2 * calls + 4 }
    }

    /// Whether the disk has room for `bytes` of new batches, and then still for all that the log holds.
    ///
    /// Otherwise the store could lock itself in: a log that does not fit into the database, and no room to write down that
    /// something of it is done.
    func hasCapacity(for bytes: Int) -> Bool {
        guard let free = Disk.bytesFree(path), free < Self.plenty else { return true }
        // The file is not cut back when its content is in the database, and the count is an estimate.
        let log = min(2 * Self.pageBytes * pages.withLock { $0 }, logBytes)
        return free >= log + 2 * bytes + Self.margin
    }

    /// The disk is full: the next round makes a checkpoint, after which the log starts again from its beginning.
    func forceShutdown() {
        pages.withLock { $0 = pagesMax }
    }

    /// Copies the log into the database when it is long enough.
    ///
    /// A reader in the middle of a look-up holds the end of the log back; the next round gets it.
    ///
    /// - Returns: the error after which the store cannot be trusted. Others pass: the log grows until a later round.
    func checkpoint(_ db: Database, isIdle: Bool) -> QueueError? {
        guard pages.withLock({ $0 >= pagesMax }) else { return nil }
        pages.withLock { $0 = 0 }
        do {
            // TRUNCATE waits for readers, so it is left to idle moments.
            let mode: Database.CheckpointMode = isIdle && logBytes > logBytesMax ? .truncate : .passive
            try db.checkpoint(mode)
            return nil
        } catch {
            if case .broken = error.queueError { return error.queueError }
            return nil
        }
    }

    private var logBytes: Int {
        var status = stat()
        return stat(logPath, &status) == 0 ? Int(status.st_size) : 0
    }

    static let pageBytes = 4096
    /// For pages that are written besides the batches themselves.
    private static let margin = 1 << 20
    /// With this much nobody needs to count.
    private static let plenty = 1 << 30
}
