import PushStore

/// Keeps a process that lost its folder, or files in it, from writing, and from answering for what it wrote.
///
/// It is asked with the write lock in hand, before anything is written, and again after the commit, before anybody is
/// told. The process that takes over makes its lock file before it reads the database. So a write that was answered for
/// is one that the successor sees; a process that was stopped in the middle of a commit finds out afterwards and says
/// that the outcome is not known.
struct Fence: Sendable {
    private let lock: FolderLock
    private let path: String
    /// By what is added to the path: the database, and the two files of its log. SQLite holds all three open for as long
    /// as a connection is, and goes on with them, deleted or not; the next process would see others.
    private let identities: [(suffix: String, identity: FileIdentity?)]

    /// - Parameter path: of the database, which is open and was read.
    init(_ lock: FolderLock, path: String) {
        self.lock = lock
        self.path = path
        identities = ["", "-wal", "-shm"].map { ($0, FileIdentity(path: path + $0)) }
    }

    /// Four calls of `stat`; nil while all is well.
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
