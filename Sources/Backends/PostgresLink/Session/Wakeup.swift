#if Postgres
import CPostgres
import Glibc

/// Ends a `poll` of another thread.
final class Wakeup: Sendable {
    /// An eventfd, readable after `signal`.
    let descriptor: Int32

    /// - Throws: `unavailable` if the process has no descriptor left.
    init() throws(PostgresError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard descriptor >= 0 else {
            throw PostgresError(
                .unavailable(isOutcomeKnown: true), "eventfd failed: \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        close(descriptor)
    }

    func signal() {
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }

    func reset() {
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)
    }
}

/// What `poll` saw on a socket.
struct SocketEvents: OptionSet {
    let rawValue: Int16

    static let readable = SocketEvents(rawValue: Int16(POLLIN))
    static let writable = SocketEvents(rawValue: Int16(POLLOUT))

    /// Waits for `events` on `socket` (none if it is negative) or for `wakeup`.
    ///
    /// - Parameter timeout: rounded up to milliseconds; nil for no limit.
    /// - Returns: what happened on the socket, an error as both; and whether `wakeup` was signalled.
    static func wait(
        _ socket: Int32, _ events: SocketEvents, _ wakeup: Wakeup?, timeout: Duration?
    ) -> (SocketEvents, isWoken: Bool) {
        var entries = (
            pollfd(fd: socket, events: events.rawValue, revents: 0),
            pollfd(fd: wakeup?.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
        )
        // SAFETY: a tuple of two equal structures is laid out as an array of two; `poll` keeps no pointer.
        let count = withUnsafeMutableBytes(of: &entries) {
            poll($0.bindMemory(to: pollfd.self).baseAddress, 2, milliseconds(timeout))
        }
        guard count > 0 else { return ([], false) }
        var seen = SocketEvents(rawValue: entries.0.revents).intersection(events)
        if entries.0.revents & Int16(POLLERR | POLLHUP | POLLNVAL) != 0 { seen = events }
        return (seen, entries.1.revents != 0)
    }

    private static func milliseconds(_ timeout: Duration?) -> Int32 {
        guard let timeout else { return -1 }
        guard timeout > .zero else { return 0 }
        let (seconds, attoseconds) = timeout.components
        guard seconds < 1_000_000 else { return 1_000_000_000 }
        return Int32(seconds) * 1000 + Int32((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
#endif
