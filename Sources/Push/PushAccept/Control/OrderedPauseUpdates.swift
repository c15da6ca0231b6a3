import PushModel
import Synchronization

/// Tells what is known of paused apps in the order in which it was asked for, so that the last word is the store's.
final class OrderedPauseUpdates: Sendable {
    private struct State {
        var last = 0
        /// By app; as many as are configured.
        var told: [AppID: Int] = [:]
    }

    private let state = Mutex(State())

    /// A number for a look at the store that is about to be taken.
    func next() -> Int {
        state.withLock { state in
            state.last += 1
            return state.last
        }
    }

    /// Runs `body` unless something newer was told of `app`.
    func tell(_ number: Int, of app: AppID, _ body: () -> Void) {
        state.withLock { state in
            guard number > state.told[app] ?? 0 else { return }
            state.told[app] = number
            body()
        }
    }
}
