import Foundation

/// File operations that report errors with the path.
enum Disk {
    static func rename(_ from: String, to: String) throws {
        guard Foundation.rename(from, to) == 0 else { throw failure("renamed", from) }
    }

    /// Syncs a file, or a folder with its entries.
    static func sync(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("opened", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("synced", path) }
    }

    /// The free bytes of the file system of `path`; nil if they cannot be determined.
    static func bytesFree(_ path: String) -> Int? {
        var disk = statvfs()
        guard statvfs(path, &disk) == 0 else { return nil }
        return Int(disk.f_bavail) * Int(disk.f_frsize)
    }

    /// 0 if there is no such file.
    static func size(_ path: String) -> Int {
        var file = stat()
        return stat(path, &file) == 0 ? Int(file.st_size) : 0
    }

    static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }

    /// Creates an empty file that only its owner can access.
    static func create(_ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("created", path) }
        close(descriptor)
    }

    private static func failure(_ action: String, _ path: String) -> FileError {
        FileError("\(path) cannot be \(action): \(String(cString: strerror(errno)))")
    }
}

/// A file operation failed, or a file is not what it has to be.
struct FileError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
