import Synchronization

/// Set once, when the service begins to stop. Runs the registered actions.
final class StopFlag: Sendable {
    private struct State {
        var isSet = false
        var nextKey = 0
        /// One for each stream in progress.
        var actions: [Int: @Sendable () -> Void] = [:]
    }

    /// A cancellable registration.
    struct Registration: Sendable {
        fileprivate let flag: StopFlag
        fileprivate let key: Int

        func cancel() { flag.state.withLock { $0.actions[key] = nil } }
    }

    private let state = Mutex(State())

    var isSet: Bool { state.withLock { $0.isSet } }

    func set() {
        let actions = state.withLock { state in
            state.isSet = true
            defer { state.actions = [:] }
            return state.actions
        }
        for action in actions.values { action() }
    }

    /// Runs `action` when the flag is set, or immediately if it is set already.
    func whenSet(_ action: @escaping @Sendable () -> Void) -> Registration {
        let (key, isSet) = state.withLock { state in
            let key = state.nextKey
            state.nextKey += 1
            if !state.isSet { state.actions[key] = action }
            return (key, state.isSet)
        }
        if isSet { action() }
        return Registration(flag: self, key: key)
    }
}
