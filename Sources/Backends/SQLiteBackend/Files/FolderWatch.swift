import Foundation

/// Reports whether entries of a folder were created, renamed or deleted, for the price of one system call.
///
/// The kernel queues the event before the call that caused it returns, so a process that has renamed a file and then
/// reads another cannot be ahead of it. Not for concurrent use.
final class FolderWatch: Sendable {
    private let descriptor: Int32

    /// - Returns: nil if the system has no such watch, or no more of them.
    init?(_ folder: String) {
        #if os(Linux)
        descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        guard descriptor >= 0 else { return nil }
        let events = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR
        guard inotify_add_watch(descriptor, folder, UInt32(events)) >= 0 else {
            close(descriptor)
            return nil
        }
        #else
        return nil
        #endif
    }

    deinit { close(descriptor) }

    /// Whether an entry has changed since the last call. True if that cannot be determined.
    func hasChanged() -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            var count = 0
            while true {
                let result = read(descriptor, buffer.baseAddress, buffer.count)
                guard result < 0 else {
                    count += 1
                    // Nothing more is read than a busy folder has in between; the rest is read by the next call.
                    if result == 0 || count == 64 { return true }
                    continue
                }
                if errno == EINTR { continue }
                return count > 0 || errno != EAGAIN
            }
        }
    }
}
