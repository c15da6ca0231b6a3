import Foundation
import GRDB
import PushModel

/// The connections to one database file: one writes and checkpoints, the other only reads.
struct Connections: Sendable {
    let writer: DatabaseQueue
    let reader: DatabaseQueue
    let durability: SQLiteDurability
    let pageBytes: Int

    /// Opens the file, creates it if necessary, and migrates its schema.
    static func open(path: String, configuration: SQLiteConfiguration) throws(SQLiteOpenError) -> Connections {
        do {
            try inspect(path)
            createPrivately(path)
            let isNew = Disk.size(path) == 0
            let writer = try DatabaseQueue(path: path, configuration: writing(configuration, isNew: isNew))
            let (durability, pageBytes) = try writer.inDatabase { db in
                // GRDB's WAL setup, which has just run, sets `synchronous = NORMAL`: a power failure would lose
                // acknowledged commits.
                try db.execute(sql: "PRAGMA synchronous = FULL")
                // `Checkpointer` runs checkpoints between transactions, when no call waits for the commit.
                try db.execute(sql: "PRAGMA wal_autocheckpoint = 0")
                // Debian's SQLite overwrites deleted content by default, which would write each body a second time when
                // its batch is finished. FAST overwrites only what needs no additional page write; `reclaim` returns
                // freed pages with their content, and clears what both leave in pages in use (`LeafGaps`).
                try db.execute(sql: "PRAGMA secure_delete = FAST")
                try db.execute(sql: "PRAGMA cache_size = -\(configuration.cacheKiB)")
                try Schema.migrate(db)
                return (try SQLiteDurability.read(db), try Int.fetchOne(db, sql: "PRAGMA page_size") ?? 4096)
            }
            try requireDurability(durability, path: path)
            let reader = try DatabaseQueue(path: path, configuration: reading(configuration))
            return Connections(writer: writer, reader: reader, durability: durability, pageBytes: pageBytes)
        } catch let error as SQLiteOpenError {
            throw error
        } catch let error as DatabaseError where error.resultCode == .SQLITE_NOTADB {
            throw .notADatabase(path)
        } catch let error as DatabaseError {
            throw .failed(path, reason: error.brief)
        } catch {
            throw .failed(path, reason: "\(error)")
        }
    }

    /// Checks an existing file through a connection that cannot change it.
    private static func inspect(_ path: String) throws {
        var status = stat()
        guard stat(path, &status) == 0, status.st_size > 0 else { return }
        do {
            try check(path, reading())
        } catch let error as DatabaseError where error.extendedResultCode == .SQLITE_READONLY_ROLLBACK {
            // A crash while the file was created, before it had a write-ahead log, has left a rollback journal. The
            // file is unreadable until a writing connection has rolled it back.
            try check(path, plain(SQLiteConfiguration()))
        }
    }

    private static func check(_ path: String, _ configuration: Configuration) throws {
        let connection = try DatabaseQueue(path: path, configuration: configuration)
        try connection.inDatabase { try Schema.check($0, path: path) }
        try connection.close()
    }

    /// Makes the database readable by its owner only. SQLite gives its log the same mode.
    private static func createPrivately(_ path: String) {
        let descriptor = Foundation.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        // After a failure SQLite cannot open the file either, and reports the reason.
        if descriptor >= 0 { Foundation.close(descriptor) }
    }

    private static func requireDurability(_ durability: SQLiteDurability, path: String) throws {
        guard durability.journalMode == "wal" else {
            throw SQLiteOpenError.noLog(path, mode: durability.journalMode)
        }
        guard durability.synchronous == 2 else {
            throw SQLiteOpenError.notDurable(
                path, setting: "synchronous", found: "\(durability.synchronous)", wanted: "2 (FULL)"
            )
        }
    }

    private static func writing(_ configuration: SQLiteConfiguration, isNew: Bool) -> Configuration {
        var settings = plain(configuration)
        settings.label = "godwit.sqlite.writer"
        settings.journalMode = .wal
        // Only possible before the first table, and before the journal mode is written.
        if isNew { settings.prepareDatabase { try $0.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL") } }
        return settings
    }

    static func reading(_ configuration: SQLiteConfiguration = SQLiteConfiguration()) -> Configuration {
        var settings = plain(configuration)
        settings.label = "godwit.sqlite.reader"
        settings.readonly = true
        return settings
    }

    /// Settings of all connections.
    static func plain(_ configuration: SQLiteConfiguration) -> Configuration {
        var settings = Configuration()
        settings.foreignKeysEnabled = false
        // The folder lock excludes other processes, so locks inside the file are held only briefly.
        settings.busyMode = .timeout(Double(configuration.busyTimeout.milliseconds) / 1000)
        return settings
    }
}
