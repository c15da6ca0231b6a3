import Foundation
import GRDB

/// A whole copy of a database that may be in use, by this or another process.
enum DatabaseCopy {
    /// Copies what is committed at this moment; complete, checked and synced when it returns. Writers are not held up,
    /// but the log cannot be cut back meanwhile.
    ///
    /// - Parameter target: does not exist. After an error it does not either.
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

    /// - Throws: it is damaged, of another program, or of a newer version.
    static func check(_ path: String) throws {
        let connection = try DatabaseQueue(path: path, configuration: Connections.reading())
        defer { try? connection.close() }
        try connection.inDatabase { db in
            let (application, tables) = try (
                Int.fetchOne(db, sql: "PRAGMA application_id"),
                Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema")
            )
            // An empty file is a good database, but not one of ours.
            guard application == Schema.applicationID, tables != 0 else {
                throw DiskFailure(description: "it is no database of Godwit.")
            }
            let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
            guard version <= Schema.version else {
                throw DiskFailure(
                    description: "it was written by a newer version of Godwit (schema \(version), this version knows "
                        + "\(Schema.version))."
                )
            }
            var problems = try String.fetchAll(db, sql: "PRAGMA integrity_check(3)").filter { $0 != "ok" }
            // SQLite sees a wrong id only where an index holds it a second time, or where it breaks the order.
            let strays = try Int.fetchOne(
                db,
                sql: """
                    SELECT count(*) FROM batches b
                    WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.id = b.id AND r.key = b.key)
                    """
            )
            if let strays, strays > 0 { problems.append("\(strays) batches that wait have no record") }
            guard problems.isEmpty else {
                throw DatabaseError(
                    resultCode: .SQLITE_CORRUPT, message: "it is damaged: \(problems.joined(separator: "; "))"
                )
            }
        }
    }
}
