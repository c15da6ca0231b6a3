import GRDB

/// SQLite's settings as read back after they were set: for the log at the start, and to refuse weaker ones.
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

    /// Whether this SQLite has the fix of the WAL-reset race (3.51.3, 3.50.7, 3.44.6). Without it, two connections that
    /// write and checkpoint concurrently may damage the file; here one connection does both.
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
