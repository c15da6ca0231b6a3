import Foundation
import PushModel
import Synchronization

/// The exclusive right of this process to a folder, by `flock` on a file in it.
///
/// The kernel releases the lock when the process ends, however it ends. A process that hangs keeps it. For a takeover
/// the owner writes heartbeats (the file's modification time); the new owner renames the file of a stale owner and
/// creates its own. From then on `isOurs` is false for the former owner.
final class FolderLock: Sendable {
    /// When an owner counts as stale.
    struct TakeoverPolicy: Sendable {
        /// Its last heartbeat is at least this old, by the wall clock …
        var staleAfter: Duration
        /// … and none during the observation window, so a forward clock jump cannot evict a live owner.
        var observation: Duration
        var now: WallTime
    }

    /// Whether the lock was taken over from a process that still holds its own.
    let isTakenOver: Bool
    private let path: String
    private let identity: FileIdentity
    /// nil after `unlock`.
    private let descriptor: Mutex<Int32?>

    /// - Parameter folder: must exist.
    init(folder: String, takeover: TakeoverPolicy? = nil) throws(SQLiteOpenError) {
        path = folder + "/godwit.lock"
        var descriptor = try Self.openFile(path, O_CREAT, folder: folder)
        var isTakenOver = false
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let reason = errno
            let old = descriptor
            defer { close(old) }
            guard reason == EWOULDBLOCK else { throw .failed(path, reason: String(cString: strerror(reason))) }
            let inUse = SQLiteOpenError.inUse(folder, processID: Self.readProcessID(from: old))
            guard let takeover else { throw inUse }
            try Self.requireStaleOwner(of: old, takeover, folder: folder)
            descriptor = try Self.replace(path, lockedAs: old, folder: folder, orThrow: inUse)
            isTakenOver = true
        }
        Self.writeProcessID(to: descriptor)
        guard let identity = FileIdentity(descriptor: descriptor), identity == FileIdentity(path: path) else {
            // Another process renamed the file between our `open` and `flock`.
            close(descriptor)
            throw .inUse(folder, processID: nil)
        }
        self.identity = identity
        self.isTakenOver = isTakenOver
        self.descriptor = Mutex(descriptor)
    }

    deinit {
        unlock()
    }

    /// False after a takeover by another process, or if the file is gone.
    var isOurs: Bool { FileIdentity(path: path) == identity }

    /// Updates the modification time of the lock file.
    func heartbeat() {
        descriptor.withLock { descriptor in
            // A failed heartbeat is like a late one: the next may succeed.
            if let open = descriptor { futimens(open, nil) }
        }
    }

    /// Releases the lock. Calling it twice is harmless.
    func unlock() {
        descriptor.withLock { descriptor in
            if let open = descriptor { close(open) }
            descriptor = nil
        }
    }

    private static func openFile(_ path: String, _ flags: Int32, folder: String) throws(SQLiteOpenError) -> Int32 {
        let descriptor = open(path, O_RDWR | O_CLOEXEC | flags, 0o600)
        guard descriptor >= 0 else { throw .folderNotWritable(folder, reason: String(cString: strerror(errno))) }
        return descriptor
    }

    private static func requireStaleOwner(
        of descriptor: Int32, _ takeover: TakeoverPolicy, folder: String
    ) throws(SQLiteOpenError) {
        func ownerAlive(lastHeartbeat: WallTime) -> SQLiteOpenError {
            let age = Duration.milliseconds(max(0, takeover.now.milliseconds - lastHeartbeat.milliseconds))
            return .ownerAlive(
                folder, processID: readProcessID(from: descriptor), since: age, needed: takeover.staleAfter
            )
        }
        guard let last = heartbeatTime(of: descriptor) else { throw .inUse(folder, processID: nil) }
        guard last + takeover.staleAfter <= takeover.now else { throw ownerAlive(lastHeartbeat: last) }
        Thread.sleep(forTimeInterval: Double(takeover.observation.milliseconds) / 1000)
        guard heartbeatTime(of: descriptor) == last else { throw ownerAlive(lastHeartbeat: takeover.now) }
    }

    private static func heartbeatTime(of descriptor: Int32) -> WallTime? {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        return WallTime(milliseconds: Int64(status.st_mtim.tv_sec) * 1000 + Int64(status.st_mtim.tv_nsec) / 1_000_000)
    }

    /// Renames the lock file of a stale owner, and creates and locks a new one.
    private static func replace(
        _ path: String, lockedAs old: Int32, folder: String, orThrow inUse: SQLiteOpenError
    ) throws(SQLiteOpenError) -> Int32 {
        // Only one of several concurrent takeovers may continue.
        let takeoverLock = try openFile(path + ".takeover", O_CREAT, folder: folder)
        defer { close(takeoverLock) }
        guard flock(takeoverLock, LOCK_EX | LOCK_NB) == 0, FileIdentity(path: path) == FileIdentity(descriptor: old),
            rename(path, path + ".stale") == 0
        else { throw inUse }
        let new = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, 0o600)
        guard new >= 0 else { throw inUse }
        guard flock(new, LOCK_EX | LOCK_NB) == 0 else {
            close(new)
            throw inUse
        }
        return new
    }

    /// For the error message of a second process; the lock does not depend on it.
    private static func writeProcessID(to descriptor: Int32) {
        let text = "\(getpid())\n"
        guard ftruncate(descriptor, 0) == 0 else { return }
        _ = pwrite(descriptor, text, text.utf8.count, 0)
    }

    private static func readProcessID(from descriptor: Int32) -> Int? {
        var buffer = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        return Int(String(decoding: buffer[..<count], as: UTF8.self).prefix { $0.isNumber })
    }
}
