import Foundation

/// Replaces a database by another one. A crash at any point leaves either the old or the new one, complete.
///
/// The new database is next to the old one, complete and synced. A marker file then starts the replacement: from there
/// on each step can be repeated, and the next process that opens the folder completes the rest. Without the marker a
/// crash could leave a database with the log of another.
enum Replacement {
    static func newPath(_ path: String) -> String { path + ".new" }
    private static func markerPath(_ path: String) -> String { path + ".replace" }

    /// - Parameter suffix: appended to the names of the old files.
    /// - Precondition: `newPath(path)` is complete and synced.
    static func begin(_ path: String, suffix: String) throws {
        let marker = markerPath(path)
        try Data(suffix.utf8).write(to: URL(fileURLWithPath: marker + ".partial"))
        try Disk.sync(marker + ".partial")
        try Disk.rename(marker + ".partial", to: marker)
        try Disk.sync(Disk.folder(of: path))
        try finish(path)
    }

    /// Completes a replacement that has begun; removes the new database of one that has not.
    static func finish(_ path: String) throws {
        let (new, marker) = (newPath(path), markerPath(path))
        guard FileIdentity(path: marker) != nil else {
            for part in logParts + [""] { unlink(new + part) }
            return
        }
        let suffix = try String(contentsOfFile: marker, encoding: .utf8)
        if FileIdentity(path: new) != nil {
            for part in logParts + [""] where FileIdentity(path: path + part) != nil {
                try Disk.rename(path + part, to: path + suffix + part)
            }
            try Disk.sync(Disk.folder(of: path))
            try Disk.rename(new, to: path)
        }
        try Disk.sync(Disk.folder(of: path))
        unlink(marker)
        try Disk.sync(Disk.folder(of: path))
    }

    /// The suffixes of the other files of a database.
    private static let logParts = ["-wal", "-shm", StoreMarks.suffix]
}
