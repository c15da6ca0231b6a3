import PushStore

/// Prevents a process that lost its folder, or files in it, from writing, and from acknowledging what it wrote.
///
/// It is checked while holding the write lock, before anything is written, and again after the commit, before success
/// is reported. A process that takes over creates its lock file before it reads the database. Therefore the new owner
/// sees every acknowledged write. A process that was suspended during a commit detects the takeover afterwards and
/// reports that the outcome of the write is unknown.
struct Fence: Sendable {
    private let lock: FolderLock
    private let path: String
    /// The database and the two files of its log. SQLite keeps all three open and continues to use them after they were
    /// deleted; the next process would create others.
    private let identities: [(suffix: String, identity: FileIdentity?)]

    /// nil: every check reads the state of the files.
    private let watch: FolderWatch?

    /// - Parameter path: of the database, which is open and was read.
    init(_ lock: FolderLock, path: String) {
        self.lock = lock
        self.path = path
        // Before the files are looked up, so that no change is missed.
        let watch = FolderWatch(Disk.folder(of: path))
        let identities = ["", "-wal", "-shm"].map { ($0, FileIdentity(path: path + $0)) }
        self.identities = identities
        // A file that is missing already causes no event.
        self.watch = lock.isOurs && identities.allSatisfy { $0.1 != nil } ? watch : nil
    }

    /// Costs one system call, unless an entry of the folder has changed. Not for concurrent use.
    ///
    /// - Returns: nil if this process may write.
    func check() -> QueueError? {
        if let watch, !watch.hasChanged() { return nil }
        return checkFiles()
    }

    /// Costs four calls of `stat`. Detects also what no watch of the folder reports: a parent folder that was renamed, or
    /// another file system that was mounted over it.
    func checkFiles() -> QueueError? {
        guard lock.isOurs else {
            return .broken("another process has taken over this database, or its lock file was removed")
        }
        for (suffix, identity) in identities where identity == nil || FileIdentity(path: path + suffix) != identity {
            let name = suffix.isEmpty ? "the database file" : "the database's log (\(suffix))"
            return .broken("\(name) was removed or replaced while it was in use")
        }
        return nil
    }
}
