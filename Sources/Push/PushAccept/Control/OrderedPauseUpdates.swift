import PushModel
import Synchronization

/// Applies pause updates in the order of their reads, so that a slow read cannot overwrite a newer one.
final class OrderedPauseUpdates: Sendable {
    private struct State {
        var lastVersion = 0
        /// The newest version applied to each app, at most one per configured app.
        var applied: [AppID: Int] = [:]
    }

    private let state = Mutex(State())

    /// The version of the next read of the store. To be called before the read.
    func nextVersion() -> Int {
        state.withLock { state in
            state.lastVersion += 1
            return state.lastVersion
        }
    }

    /// Runs `body`, unless a newer version was applied to `app`.
    func apply(_ version: Int, of app: AppID, _ body: () -> Void) {
        state.withLock { state in
            guard version > state.applied[app] ?? 0 else { return }
            state.applied[app] = version
            body()
        }
    }
}
