import Foundation

/// Puts a new database where another one is, so that a crash at any moment leaves the one or the other, whole.
///
/// The new one lies beside the old one, complete and synced; then a marker says that it is to take the place. From
/// there on each step can be done again, and whoever opens the folder next does what is left of them. Without the marker
/// a crash could leave a database with the log of another.
enum Replacement {
    static func newPath(_ path: String) -> String { path + ".new" }
    private static func markerPath(_ path: String) -> String { path + ".replace" }

    /// - Parameter suffix: what is there is kept under its name and this.
    /// - Precondition: `newPath(path)` is complete and synced.
    static func begin(_ path: String, suffix: String) throws {
        let marker = markerPath(path)
        try Data(suffix.utf8).write(to: URL(fileURLWithPath: marker + ".partial"))
        try Disk.sync(marker + ".partial")
        try Disk.rename(marker + ".partial", to: marker)
        try Disk.sync(Disk.folder(of: path))
        try finish(path)
    }

    /// Does what is left of a replacement that began; removes a new database of one that did not.
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

    /// What belongs to a database beside the file itself.
    private static let logParts = ["-wal", "-shm"]
}

/// Calls on files that must be known to have worked.
enum Disk {
    static func rename(_ from: String, to: String) throws {
        guard Foundation.rename(from, to) == 0 else { throw failure("renamed", from) }
    }

    /// A file, or a folder with its entries.
    static func sync(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("opened", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("synced", path) }
    }

    /// What may still be written to the file system that `path` lies on; nil when that cannot be told.
    static func bytesFree(_ path: String) -> Int? {
        var disk = statvfs()
        guard statvfs(path, &disk) == 0 else { return nil }
        return Int(disk.f_bavail) * Int(disk.f_frsize)
    }

    static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }

    /// Creates an empty file for its owner alone.
    static func create(_ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("created", path) }
        close(descriptor)
    }

    private static func failure(_ what: String, _ path: String) -> DiskFailure {
        DiskFailure(description: "\(path) cannot be \(what): \(String(cString: strerror(errno)))")
    }
}

struct DiskFailure: Error, CustomStringConvertible {
    let description: String
}
