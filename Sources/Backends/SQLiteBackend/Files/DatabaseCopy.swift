import Foundation
import GRDB

/// A complete copy of a database that may be in use by this or another process.
enum DatabaseCopy {
    /// Copies all committed data. The copy is complete, checked and synced when this returns. Does not block writers,
    /// but prevents the log from being truncated meanwhile.
    ///
    /// - Parameter target: must not exist. It does not exist after an error either.
    static func make(of path: String, at target: String) throws {
        try Disk.create(target)
        do {
            let source = try DatabaseQueue(path: path, configuration: Connections.reading())
            defer { try? source.close() }
            try source.inDatabase { db in
                try db.execute(sql: "VACUUM INTO ?", arguments: [target])
            }
            try Disk.sync(target)
            try check(target)
        } catch {
            unlink(target)
            throw error
        }
    }

    /// Converts a copy of a database that was created before free pages could be returned to the file system.
    static func makeShrinkable(_ path: String) throws {
        let connection = try DatabaseQueue(path: path, configuration: Connections.plain(SQLiteConfiguration()))
        defer { try? connection.close() }
        try connection.inDatabase { db in
            guard try Int.fetchOne(db, sql: "PRAGMA auto_vacuum") != 2 else { return }
            try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL")
            try db.execute(sql: "VACUUM")
        }
        try Disk.sync(path)
    }

    /// - Throws: if the database is damaged, or of another program or of a newer version.
    static func check(_ path: String) throws {
        let connection = try DatabaseQueue(path: path, configuration: Connections.reading())
        defer { try? connection.close() }
        try connection.inDatabase { db in
            let (application, tables) = try (
                Int.fetchOne(db, sql: "PRAGMA application_id"),
                Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema")
            )
            // SQLite accepts an empty file as a database.
            guard application == Schema.applicationID, tables != 0 else {
                throw FileError("not a database of Godwit")
            }
            let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
            guard version <= Schema.version else {
                throw FileError(
                    "schema \(version) of a newer Godwit, this version supports up to \(Schema.version)"
                )
            }
            var problems = try String.fetchAll(db, sql: "PRAGMA integrity_check(3)").filter { $0 != "ok" }
            // SQLite detects a wrong id only if an index has it as well, or if it breaks the order.
            let orphans = try Int.fetchOne(
                db,
                sql: """
                    SELECT count(*) FROM batches b
                    WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.id = b.id AND r.key = b.key)
                    """
            )
            if let orphans, orphans > 0 { problems.append("\(orphans) waiting batches have no record") }
            guard problems.isEmpty else {
                throw DatabaseError(
                    resultCode: .SQLITE_CORRUPT, message: "the database is damaged: \(problems.joined(separator: "; "))"
                )
            }
        }
    }
}
