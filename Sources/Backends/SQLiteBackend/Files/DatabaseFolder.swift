import Foundation

/// The folder of the database, its log and its lock.
package enum DatabaseFolder {
    /// Creates the folder, accessible by its owner only, unless it exists. Refuses network file systems.
    static func prepare(_ folder: String) throws(SQLiteOpenError) {
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder) {
            guard isFolder.boolValue else { throw .notAFolder(folder) }
        } else {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700]
                )
            } catch {
                throw .folderNotWritable(folder, reason: "it does not exist and cannot be created")
            }
        }
        if let problem = networkProblem(folder) { throw problem }
    }

    /// Why `prepare` would fail; nil if it would not, as far as that can be said without creating anything.
    static func problem(_ folder: String) -> SQLiteOpenError? {
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder) {
            guard isFolder.boolValue else { return .notAFolder(folder) }
            guard access(folder, W_OK | X_OK) == 0 else {
                return .folderNotWritable(folder, reason: String(cString: strerror(errno)).lowercased())
            }
            return networkProblem(folder)
        }
        var parent = URL(fileURLWithPath: folder)
        repeat {
            parent.deleteLastPathComponent()
        } while parent.path != "/" && !FileManager.default.fileExists(atPath: parent.path)
        guard access(parent.path, W_OK | X_OK) == 0,
            FileManager.default.fileExists(atPath: parent.path, isDirectory: &isFolder), isFolder.boolValue
        else { return .folderNotWritable(folder, reason: "it does not exist and cannot be created") }
        return networkProblem(parent.path)
    }

    private static func networkProblem(_ folder: String) -> SQLiteOpenError? {
        if let mounts = try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8),
            let name = networkFileSystem(
                of: URL(fileURLWithPath: folder).resolvingSymlinksInPath().path, mounts: mounts
            )
        {
            return .notLocal(folder, fileSystem: name)
        }
        return nil
    }

    /// Makes the owner of the folder the owner of what this process, running as root, created in it.
    ///
    /// Only files with one name that belong to root are changed: the owner of the folder could otherwise link a file of
    /// another folder into it, and would be given that file.
    static func giveFilesToOwner(of folder: String) {
        guard geteuid() == 0 else { return }
        var owner = stat()
        guard stat(folder, &owner) == 0, owner.st_uid != 0,
            let names = try? FileManager.default.contentsOfDirectory(atPath: folder)
        else { return }
        for name in names {
            let file = open(folder + "/" + name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard file >= 0 else { continue }
            defer { close(file) }
            var status = stat()
            guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_nlink == 1,
                status.st_uid == 0
            else { continue }
            _ = fchown(file, owner.st_uid, owner.st_gid)
        }
    }

    /// The type of the network file system of `path`; nil if it is on a local one.
    ///
    /// - Parameters:
    ///   - path: absolute, without symbolic links.
    ///   - mounts: lines of device, mount point, type and options, as in `proc(5)`; later lines override earlier ones.
    package static func networkFileSystem(of path: String, mounts: String) -> String? {
        var best: (point: String, type: String) = ("", "")
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 3 else { continue }
            // A space in a mount point is written as \040.
            let point = fields[1].replacing("\\040", with: " ")
            let isAbove = point == "/" || path == point || path.hasPrefix(point + "/")
            if isAbove, point.utf8.count >= best.point.utf8.count { best = (String(point), String(fields[2])) }
        }
        return networkTypes.contains(best.type) ? best.type : nil
    }

    private static let networkTypes: Set<String> = [
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "coda", "glusterfs", "fuse.sshfs",
        "fuse.glusterfs",
    ]
}
