import PushQueue

/// Keeps a process that lost its folder from writing, and from answering for what it wrote.
///
/// It is asked with the write lock in hand, before anything is written, and again after the commit, before anybody is
/// told. The process that takes over makes its lock file before it reads the database. So a write that was answered for
/// is one that the successor sees; a process that was stopped in the middle of a commit finds out afterwards and says
/// that the outcome is not known.
struct Fence: Sendable {
    private let lock: FolderLock
    private let path: String
    private let identity: FileIdentity?

    /// - Parameter path: of the database, which is open.
    init(_ lock: FolderLock, path: String) {
        self.lock = lock
        self.path = path
        identity = FileIdentity(path: path)
    }

    /// Two calls of `stat`; nil while all is well.
    func check() -> QueueError? {
        guard lock.isOurs else {
            return .broken("another process has taken over this database, or its lock file was removed")
        }
        guard identity != nil, FileIdentity(path: path) == identity else {
            return .broken("the database file was removed or replaced while it was in use")
        }
        return nil
    }
}
