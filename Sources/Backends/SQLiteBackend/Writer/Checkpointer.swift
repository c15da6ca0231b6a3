import Foundation
import GRDB
import PushStore
import Synchronization

/// Bounds the write-ahead log. Checkpoints run on the writing connection between two transactions, so that no call
/// waits for one inside its commit.
final class Checkpointer: Sendable {
    private let path: String
    private var logPath: String { path + "-wal" }
    private let pagesMax: Int
    private let logBytesMax: Int
    /// Pages written to the log since the last checkpoint. An estimate is enough: it only sets the pace.
    private let pages = Mutex(0)

    init(path: String, configuration: SQLiteConfiguration) {
        self.path = path
        pagesMax = configuration.checkpointPages
        logBytesMax = configuration.logBytesMax
    }

    func wrote(bytes: Int, calls: Int) {
        // Each call changes a handful of table and index pages, often the same ones as other calls.
        pages.withLock { $0 += bytes / Self.pageBytes + 2 * calls + 4 }
    }

    /// Whether the disk has space for `bytes` of new batches, and for a checkpoint of the whole log after that.
    ///
    /// Without the reserve the store could reach a state in which the log does not fit into the database, and no space
    /// is left to record that pushes in it are done.
    func hasCapacity(for bytes: Int) -> Bool {
        guard let free = Disk.bytesFree(path), free < Self.ampleBytes else { return true }
        // The log file does not shrink when its content was copied, and the count is an estimate: use the smaller.
        let log = min(2 * Self.pageBytes * pages.withLock { $0 }, logBytes)
        return free >= log + 2 * bytes + Self.marginBytes
    }

    /// Makes the next `checkpoint` run, whatever the length of the log. Afterwards the log is reused from its
    /// beginning.
    func requestCheckpoint() {
        pages.withLock { $0 = pagesMax }
    }

    /// Copies the log into the database if it is long enough.
    ///
    /// A reader in the middle of a query holds back the end of the log, which the next checkpoint copies.
    ///
    /// - Returns: an error after which the store cannot be trusted. After other errors the log grows until a later
    ///   checkpoint succeeds.
    func checkpoint(_ db: Database, isIdle: Bool) -> QueueError? {
        guard pages.withLock({ $0 >= pagesMax }) else { return nil }
        pages.withLock { $0 = 0 }
        do {
            // TRUNCATE waits for readers, so it runs only when no call waits.
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

    private static let pageBytes = 4096
    /// For pages other than those of the batches.
    private static let marginBytes = 1 << 20
    /// Free space above which the estimate is skipped.
    private static let ampleBytes = 1 << 30
}
