import Synchronization

/// Opens once and stays open; any number of tasks wait until it does.
///
/// A structure to be stored in the class that shares it, so that it costs no allocation of its own. A result that the
/// waiting tasks read belongs next to it, and is written before `open()`.
package struct AsyncLatch: ~Copyable, Sendable {
    /// Nil once the latch is open.
    private let waiters = Mutex<[CheckedContinuation<Void, Never>]?>([])

    package init() {}

    /// Resumes all waiting tasks. Opening an open latch has no effect.
    package func open() {
        let resumed = waiters.withLock { waiters in
            defer { waiters = nil }
            return waiters ?? []
        }
        for waiter in resumed { waiter.resume() }
    }

    /// Returns once the latch is open, also in a cancelled task: the latch must be opened in any case.
    package func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = waiters.withLock { waiters in
                waiters?.append(continuation)
                return waiters == nil
            }
            if isOpen { continuation.resume() }
        }
    }
}
