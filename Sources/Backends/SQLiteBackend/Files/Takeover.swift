import Foundation
import GRDB

/// What has to be done with the database of an owner that hangs, before it is opened.
enum Takeover {
    /// Makes the database usable although its former owner may be stopped in the middle of a write.
    ///
    /// If it is, it holds SQLite's locks for as long as it lives; so all that it committed is copied, the copy takes the
    /// place of the database, and the former owner is left alone with the old files. What it was committing at that
    /// moment nobody was told of, and its fence keeps it from telling.
    static func prepare(_ path: String, suffix: String, _ configuration: SQLiteConfiguration) throws(SQLiteOpenError) {
        guard FileIdentity(path: path) != nil else { return }
        do {
            guard try isHeldUp(path, configuration) else { return }
            try DatabaseCopy.make(of: path, at: Replacement.newPath(path))
            try Replacement.begin(path, suffix: suffix)
        } catch {
            throw .failed(path, reason: (error as? DatabaseError)?.brief ?? "\(error)")
        }
    }

    /// A checkpoint that empties the log needs every lock there is.
    private static func isHeldUp(_ path: String, _ configuration: SQLiteConfiguration) throws -> Bool {
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
