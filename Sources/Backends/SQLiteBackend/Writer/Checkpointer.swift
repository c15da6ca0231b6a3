import Foundation
import GRDB
import GRDBSQLite
import PushModel
import PushStore
import Synchronization

/// Bounds the write-ahead log. Checkpoints run on the writing connection between two transactions, so that no call
/// waits for one inside its commit.
final class Checkpointer: Sendable {
    private let path: String
    private let marks: StoreMarks
    private let pagesMax: Int
    private let logBytesMax: Int
    private let busyTimeout: Duration
    /// Pages written to the log since the last checkpoint. An estimate is enough: it only sets the pace.
    private let pages = Mutex(0)
    private let isTruncationRequested = Atomic(false)
    /// Until when the disk need not be asked for its free space again.
    private let ampleUntil = Mutex(ContinuousClock.now)

    init(path: String, marks: StoreMarks, configuration: SQLiteConfiguration) {
        self.path = path
        self.marks = marks
        pagesMax = configuration.checkpointPages
        logBytesMax = configuration.logBytesMax
        busyTimeout = configuration.busyTimeout
    }

    func wrote(bytes: Int, calls: Int) {
        // Each call changes a handful of table and index pages, often the same ones as other calls.
        pages.withLock { $0 += bytes / Self.pageBytes + 2 * calls + 4 }
    }

    /// Whether the disk has space for `bytes` of new batches in the log, and for a checkpoint of the whole log after that.
    ///
    /// Without the reserve the store could reach a state in which the log does not fit into the database, and no space
    /// is left to record that pushes in it are done.
    func hasCapacity(for bytes: Int, _ reserve: DiskReserve, _ db: Database) throws -> Bool {
        let now = ContinuousClock.now
        if now < ampleUntil.withLock({ $0 }) { return true }
        guard let free = Disk.bytesFree(path), free < Self.ampleBytes else {
            ampleUntil.withLock { $0 = now + Self.ampleTime }
            return true
        }
        let space = try PageCounts.read(db)
        // A checkpoint extends the file to all pages of the database; the batches go to free pages first.
        let extensionBytes = max(0, space.total * Self.pageBytes - Disk.size(path))
        let growth = max(0, bytes - space.free * Self.pageBytes)
        // Its space was used for outcomes, which go before new pushes.
        let reserveBytes = reserve.isHeld ? 0 : DiskReserve.bytes
        return free >= bytes + extensionBytes + growth + Self.marginBytes + reserveBytes
    }

    /// Copies the log that a previous process left into the database, and truncates it.
    ///
    /// - Throws: an error after which the store cannot be trusted. On a full disk the log stays.
    func start(_ db: Database) throws {
        requestTruncation()
        if let error = checkpoint(db, isIdle: true) { throw error }
    }

    /// Makes the next `checkpoint` run, whatever the length of the log, and truncate it.
    func requestTruncation() { isTruncationRequested.store(true, ordering: .relaxed) }

    /// Whether the next call of `checkpoint` does something.
    var isDue: Bool { isTruncationRequested.load(ordering: .relaxed) || pages.withLock { $0 >= pagesMax } }

    /// Copies the log into the database if it is long enough.
    ///
    /// A reader in the middle of a query holds back the end of the log, which the next checkpoint copies.
    ///
    /// - Returns: an error after which the store cannot be trusted. After other errors the log grows until a later
    ///   checkpoint succeeds.
    func checkpoint(_ db: Database, isIdle: Bool) -> QueueError? {
        let isTruncationRequested = isTruncationRequested.exchange(false, ordering: .relaxed)
        guard isTruncationRequested || pages.withLock({ $0 >= pagesMax }) else { return nil }
        pages.withLock { $0 = 0 }
        do {
            let log = try db.checkpoint(.passive)
            guard isTruncationRequested || isIdle && Disk.size(path + "-wal") > logBytesMax else { return nil }
            // A reader, for example a backup, keeps the log as it is.
            if log.checkpointedFrameCount == log.walFrameCount { try truncate(db) }
            return nil
        } catch {
            if case .broken = error.queueError { return error.queueError }
            return nil
        }
    }

    private func truncate(_ db: Database) throws {
        try marks.forgetPosition()
        // TRUNCATE would wait for readers, and all writes for it.
        sqlite3_busy_timeout(db.sqliteConnection, 0)
        defer { sqlite3_busy_timeout(db.sqliteConnection, CInt(clamping: busyTimeout.milliseconds)) }
        try db.checkpoint(.truncate)
    }

    private static let pageBytes = 4096
    /// For pages other than those of the batches.
    private static let marginBytes = 1 << 20
    /// Free space above which the estimate is skipped.
    private static let ampleBytes = 1 << 30
    /// No disk is filled with `ampleBytes` within this time.
    private static let ampleTime: Duration = .milliseconds(100)
}

/// The pages of the database, as the writing connection sees them.
struct PageCounts: Sendable {
    var total: Int
    /// Pages without content, which the next writes use first.
    var free: Int

    static func read(_ db: Database) throws -> PageCounts {
        PageCounts(
            total: try Int.fetchOne(db.cachedStatement(sql: "PRAGMA page_count")) ?? 0,
            free: try Int.fetchOne(db.cachedStatement(sql: "PRAGMA freelist_count")) ?? 0
        )
    }
}
