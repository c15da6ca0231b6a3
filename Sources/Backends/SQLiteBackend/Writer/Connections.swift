import Foundation
import GRDB
import PushModel

/// What SQLite says about its own settings: for the start-up log, and for the refusal to start with weaker ones.
package struct SQLiteDurability: Sendable, Equatable {
    package var sqliteVersion: String
    /// "wal".
    package var journalMode: String
    /// 2 is FULL: each commit waits for the disk.
    package var synchronous: Int

    package init(sqliteVersion: String, journalMode: String, synchronous: Int) {
        self.sqliteVersion = sqliteVersion
        self.journalMode = journalMode
        self.synchronous = synchronous
    }

    /// Whether this SQLite has the fix of the WAL-reset race (3.51.3, 3.50.7, 3.44.6). Without it two connections that
    /// write and checkpoint at the same moment may damage the file; here one connection does both.
    package var hasWALResetFix: Bool {
        let parts = sqliteVersion.split(separator: ".").compactMap { Int($0) }
        guard parts.count >= 3 else { return false }
        switch (parts[0], parts[1]) {
        case (3, 44): return parts[2] >= 6
        case (3, 50): return parts[2] >= 7
        case (3, 51): return parts[2] >= 3
        default: return (parts[0], parts[1]) > (3, 51)
        }
    }

    static func read(_ db: Database) throws -> SQLiteDurability {
        SQLiteDurability(
            sqliteVersion: try String.fetchOne(db, sql: "SELECT sqlite_version()") ?? "",
            journalMode: try String.fetchOne(db, sql: "PRAGMA journal_mode") ?? "",
            synchronous: try Int.fetchOne(db, sql: "PRAGMA synchronous") ?? -1
        )
    }
}

/// The connections to one database file: one that writes and checkpoints, one that only reads.
struct Connections: Sendable {
    let writer: DatabaseQueue
    let reader: DatabaseQueue
    let durability: SQLiteDurability

    /// Opens the file, creating it if need be, and brings its schema up to date.
    static func open(
        path: String, configuration: SQLiteConfiguration, now: WallTime
    ) throws(SQLiteOpenError) -> Connections {
        do {
            try inspect(path)
            createPrivately(path)
            let writer = try DatabaseQueue(path: path, configuration: writing(configuration))
            let durability = try writer.inDatabase { db in
                // GRDB's WAL set-up, which has just run, sets `synchronous = NORMAL`: a power cut would take
                // acknowledged commits. So this comes after it.
                try db.execute(sql: "PRAGMA synchronous = FULL")
                // Checkpoints are made between transactions, when nobody waits for the commit.
                try db.execute(sql: "PRAGMA wal_autocheckpoint = 0")
                // Debian's SQLite overwrites what is deleted by default, which would write each body a second time
                // when its batch is finished. FAST overwrites what costs no further page; freed pages are soon used
                // again.
                try db.execute(sql: "PRAGMA secure_delete = FAST")
                try db.execute(sql: "PRAGMA cache_size = -\(configuration.cacheKiB)")
                try Schema.migrate(db, at: now)
                return try SQLiteDurability.read(db)
            }
            try demand(durability, path: path)
            let reader = try DatabaseQueue(path: path, configuration: reading(configuration))
            return Connections(writer: writer, reader: reader, durability: durability)
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

    /// Looks at an existing file through a connection that cannot change it.
    private static func inspect(_ path: String) throws {
        var status = stat()
        guard stat(path, &status) == 0, status.st_size > 0 else { return }
        do {
            try check(path, reading())
        } catch let error as DatabaseError where error.extendedResultCode == .SQLITE_READONLY_ROLLBACK {
            // A crash while the file was being made, before it had a write-ahead log, has left a rollback journal; nobody
            // can read the file until a connection that may write has undone what is in it.
            try check(path, plain(SQLiteConfiguration()))
        }
    }

    private static func check(_ path: String, _ configuration: Configuration) throws {
        let connection = try DatabaseQueue(path: path, configuration: configuration)
        try connection.inDatabase { try Schema.check($0, path: path) }
        try connection.close()
    }

    /// SQLite gives its log the mode of the database; what lies in them is for the owner's eyes only.
    private static func createPrivately(_ path: String) {
        let descriptor = Foundation.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        // A failure shows, with its reason, when SQLite opens the file.
        if descriptor >= 0 { Foundation.close(descriptor) }
    }

    private static func demand(_ durability: SQLiteDurability, path: String) throws {
        guard durability.journalMode == "wal" else {
            throw SQLiteOpenError.noLog(path, mode: durability.journalMode)
        }
        guard durability.synchronous == 2 else {
            throw SQLiteOpenError.notDurable(
                path, setting: "synchronous", found: "\(durability.synchronous)", wanted: "2 (FULL)"
            )
        }
    }

    private static func writing(_ configuration: SQLiteConfiguration) -> Configuration {
        var settings = plain(configuration)
        settings.label = "godwit.sqlite.writer"
        settings.journalMode = .wal
        return settings
    }

    static func reading(_ configuration: SQLiteConfiguration = SQLiteConfiguration()) -> Configuration {
        var settings = plain(configuration)
        settings.label = "godwit.sqlite.reader"
        settings.readonly = true
        return settings
    }

    /// What all connections have in common.
    static func plain(_ configuration: SQLiteConfiguration) -> Configuration {
        var settings = Configuration()
        settings.foreignKeysEnabled = false
        // The lock on the folder keeps other processes out, so a lock inside the file is held for moments only.
        settings.busyMode = .timeout(Double(configuration.busyTimeout.milliseconds) / 1000)
        return settings
    }
}

extension DatabaseError {
    /// The code and SQLite's words; neither SQL nor values.
    var brief: String {
        "\(message ?? "no message") (SQLite \(extendedResultCode.rawValue))"
    }
}
