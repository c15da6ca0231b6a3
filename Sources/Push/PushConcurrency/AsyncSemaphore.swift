import DequeModule
import Synchronization

/// A counting semaphore for tasks: bounds the work in progress, counted in any unit, such as bytes.
///
/// First come, first served: a large request is not overtaken by later small ones, so it cannot starve. Waiting tasks
/// are not bounded here; the caller bounds them.
package final class AsyncSemaphore: Sendable {
    private struct State {
        var available: Int
        var waiters: Deque<(units: Int, continuation: CheckedContinuation<Void, Never>)> = []

        mutating func tryAcquire(_ units: Int) -> Bool {
            guard waiters.isEmpty, units <= available else { return false }
            available -= units
            return true
        }
    }

    package let capacity: Int
    private let state: Mutex<State>

    package init(capacity: Int) {
        self.capacity = capacity
        state = Mutex(State(available: capacity))
    }

    /// Tasks that wait in `acquire`.
    package var waitingCount: Int { state.withLock { $0.waiters.count } }

    /// Acquires `units` if that needs no wait. The caller must release them.
    ///
    /// - Returns: false if nothing was acquired.
    package func tryAcquire(_ units: Int) -> Bool { state.withLock { $0.tryAcquire(units) } }

    /// Returns once `units` are acquired, also in a cancelled task. The caller must release them.
    ///
    /// - Precondition: `units` is within `0...capacity`.
    package func acquire(_ units: Int) async {
        precondition((0...capacity).contains(units), "\(units) units exceed the capacity of \(capacity)")
        if state.withLock({ $0.tryAcquire(units) }) { return }
        await withCheckedContinuation { continuation in
            let isAcquired = state.withLock { state in
                if state.tryAcquire(units) { return true }
                state.waiters.append((units, continuation))
                return false
            }
            if isAcquired { continuation.resume() }
        }
    }

    package func release(_ units: Int) {
        let resumed = state.withLock { state in
            state.available += units
            var resumed: [CheckedContinuation<Void, Never>] = []
            while let first = state.waiters.first, first.units <= state.available {
                state.available -= first.units
                state.waiters.removeFirst()
                resumed.append(first.continuation)
            }
            return resumed
        }
        for continuation in resumed { continuation.resume() }
    }
}
