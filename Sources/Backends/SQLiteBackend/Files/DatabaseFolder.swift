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
        if let mounts = try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8),
            let name = networkFileSystem(
                of: URL(fileURLWithPath: folder).resolvingSymlinksInPath().path, mounts: mounts
            )
        {
            throw .notLocal(folder, fileSystem: name)
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
