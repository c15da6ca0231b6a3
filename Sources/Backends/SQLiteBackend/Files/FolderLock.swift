import Foundation
import PushModel
import Synchronization

/// The exclusive right of this process to a folder, by `flock` on a file in it.
///
/// The kernel gives it back when the process ends, however it ends. A process that hangs keeps it; so that another can
/// take over, the owner shows that it works by beats (the file's modification time), and whoever takes over renames the
/// file away and makes its own. From then on `isOurs` is false for the former owner, whatever it was doing.
final class FolderLock: Sendable {
    /// When an owner counts as hanging.
    struct TakeoverPolicy: Sendable {
        /// No beat for so long, by the wall clock.
        var silence: Duration
        /// And none while we look, so that a clock that was set forward harms no living owner.
        var watch: Duration
        var now: WallTime
    }

    /// Whether a process that did not end was made to give way.
    let isTakenOver: Bool
    private let path: String
    private let identity: FileIdentity
    /// nil once it is given back.
    private let descriptor: Mutex<Int32?>

    /// - Parameter folder: exists.
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
            // Somebody renamed it away between our opening and our locking it.
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

    /// False once another process has taken over, or the file is gone.
    var isOurs: Bool { FileIdentity(path: path) == identity }

    /// Shows that the owner works.
    func heartbeat() {
        descriptor.withLock { descriptor in
            // A beat that fails is like one that is late: the next may succeed.
            if let open = descriptor { futimens(open, nil) }
        }
    }

    /// Gives it back. Doing so twice is harmless.
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
                folder, processID: readProcessID(from: descriptor), since: age, needed: takeover.silence
            )
        }
        guard let before = beatTime(of: descriptor) else { throw .inUse(folder, processID: nil) }
        guard before + takeover.silence <= takeover.now else { throw ownerAlive(lastHeartbeat: before) }
        Thread.sleep(forTimeInterval: Double(takeover.watch.milliseconds) / 1000)
        guard beatTime(of: descriptor) == before else { throw ownerAlive(lastHeartbeat: takeover.now) }
    }

    private static func beatTime(of descriptor: Int32) -> WallTime? {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        return WallTime(milliseconds: Int64(status.st_mtim.tv_sec) * 1000 + Int64(status.st_mtim.tv_nsec) / 1_000_000)
    }

    /// Renames the file of a hanging owner away and locks a new one.
    private static func replace(
        _ path: String, lockedAs old: Int32, folder: String, orThrow inUse: SQLiteOpenError
    ) throws(SQLiteOpenError) -> Int32 {
        // Of several that find the owner hanging one goes on.
        let turnstile = try openFile(path + ".takeover", O_CREAT, folder: folder)
        defer { close(turnstile) }
        guard flock(turnstile, LOCK_EX | LOCK_NB) == 0, FileIdentity(path: path) == FileIdentity(descriptor: old),
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

    /// For the error message of whoever comes second; the lock does not depend on it.
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

/// Which file a path leads to: the same as long as it is neither renamed nor deleted.
///
/// A number is not given to another file while one of ours holds it open.
struct FileIdentity: Sendable, Equatable {
    private let device: UInt64
    private let number: UInt64

    /// nil when there is none.
    init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        device = UInt64(truncatingIfNeeded: status.st_dev)
        number = UInt64(truncatingIfNeeded: status.st_ino)
    }
}
