import Foundation
import GRDB

/// Prepares the database of a stale owner for opening.
enum Takeover {
    /// Makes the database usable even if its former owner is suspended during a write.
    ///
    /// Such a process holds SQLite's locks until it ends. All committed data is copied then, and the copy replaces the
    /// database; the former owner keeps only the old files. The transaction that it was committing was not
    /// acknowledged, and its fence prevents that from happening later.
    static func prepare(_ path: String, suffix: String, _ configuration: SQLiteConfiguration) throws(SQLiteOpenError) {
        guard FileIdentity(path: path) != nil else { return }
        do {
            guard try isLocked(path, configuration) else { return }
            try DatabaseCopy.make(of: path, at: Replacement.newPath(path))
            try Replacement.begin(path, suffix: suffix)
        } catch {
            throw .failed(path, reason: (error as? DatabaseError)?.brief ?? "\(error)")
        }
    }

    /// Whether any SQLite lock is held: a checkpoint that truncates the log needs all of them.
    private static func isLocked(_ path: String, _ configuration: SQLiteConfiguration) throws -> Bool {
        let connection = try DatabaseQueue(path: path, configuration: Connections.plain(configuration))
        defer { try? connection.close() }
        do {
            _ = try connection.inDatabase { try $0.checkpoint(.truncate) }
            return false
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
            return true
        }
    }
}
