import Synchronization

/// Wakes one waiting task.
///
/// Calls of `set()` while no task waits count as one: the next wait returns immediately. So a task that checks a
/// condition, waits, and checks again misses no change, if each change of the condition is followed by `set()`.
package final class AsyncSignal: Sendable {
    private struct State {
        var isSet = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    package init() {}

    package func set() {
        let waiter = state.withLock { state in
            defer { state.waiter = nil }
            if state.waiter == nil { state.isSet = true }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Returns after the next `set()`, immediately if there was one since the last wait, and when the task is
    /// cancelled.
    ///
    /// - Precondition: only one task waits at a time.
    package func wait() async {
        await withTaskCancellationHandler {
            await park(isCancellable: true)
        } onCancel: {
            set()
        }
    }

    /// Like `wait()`, but a cancelled task waits too: for a task that has to finish its work before it ends.
    ///
    /// - Precondition: only one task waits at a time.
    package func waitIgnoringCancellation() async {
        await park(isCancellable: false)
    }

    private func park(isCancellable: Bool) async {
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state in
                if state.isSet || isCancellable && Task.isCancelled {
                    state.isSet = false
                    return true
                }
                precondition(state.waiter == nil, "two tasks wait for one signal")
                state.waiter = continuation
                return false
            }
            if isReady { continuation.resume() }
        }
    }
}
