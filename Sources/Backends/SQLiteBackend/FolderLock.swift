import Foundation
import Synchronization

/// The exclusive right of this process to a folder, by `flock` on a file in it.
///
/// The kernel gives it back when the process ends, however it ends.
final class FolderLock: Sendable {
    /// nil once it is given back.
    private let descriptor: Mutex<Int32?>

    /// - Parameter folder: exists.
    init(folder: String) throws(SQLiteOpenError) {
        let path = folder + "/godwit.lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw .folderNotWritable(folder, reason: String(cString: strerror(errno)))
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            let owner = Self.readProcessID(from: descriptor)
            close(descriptor)
            guard reason == EWOULDBLOCK else { throw .failed(path, reason: String(cString: strerror(reason))) }
            throw .inUse(folder, processID: owner)
        }
        Self.writeProcessID(to: descriptor)
        self.descriptor = Mutex(descriptor)
    }

    deinit {
        unlock()
    }

    /// Gives it back. Doing so twice is harmless.
    func unlock() {
        descriptor.withLock { descriptor in
            if let open = descriptor { close(open) }
            descriptor = nil
        }
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
