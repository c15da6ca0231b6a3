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

    /// - Parameter path: of the database, which is open and was read.
    init(_ lock: FolderLock, path: String) {
        self.lock = lock
        self.path = path
        identities = ["", "-wal", "-shm"].map { ($0, FileIdentity(path: path + $0)) }
    }

    /// Costs four calls of `stat`.
    ///
    /// - Returns: nil if this process may write.
    func check() -> QueueError? {
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
