import MemoryBackend
import PushModel
import PushStore
import Synchronization

extension FaultyStore: QueueControl {
    func cancel(_ ids: [PushID], at now: WallTime) async throws(QueueError) -> [CancelResult] {
        try checkUp()
        return try backend.cancel(ids, at: now)
    }

    func cancel(_ target: CancelTarget, at now: WallTime) async throws(QueueError) -> CancelCount {
        try checkUp()
        return try backend.cancel(target, at: now)
    }

    func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) async throws(QueueError) {
        try checkUp()
        try backend.setPaused(isPaused, app: app, at: now)
    }

    func pausedApps() async throws(QueueError) -> [AppID: WallTime] {
        try checkUp()
        return try backend.pausedApps()
    }
}

extension FaultyStore: DeadLetterStore {
    /// The stored bytes of a dead letter cannot be read from now on.
    func makeUnreadable(_ id: PushID) { state.withLock { _ = $0.unreadableLetters.insert(id) } }

    func deadLetters(of app: AppID?, after: PushID?, limit: Int) async throws(QueueError) -> [DeadLetter] {
        try checkUp()
        return try backend.deadLetters(of: app, after: after, limit: limit)
    }

    func deadLetter(_ id: PushID) async throws(QueueError) -> (letter: DeadLetter, push: DeadLetterContent?)? {
        try checkUp()
        guard let found = try backend.deadLetter(id) else { return nil }
        return (found.letter, state.withLock { $0.unreadableLetters.contains(id) } ? nil : found.push)
    }

    func replay(
        _ selection: DeadLetterSelection, at now: WallTime, where isAllowed: @escaping ReplayFilter
    ) async throws(QueueError) -> ReplayCount {
        try checkUp()
        let unreadable = state.withLock { $0.unreadableLetters }
        guard !unreadable.isEmpty else { return try backend.replay(selection, at: now, where: isAllowed) }
        let ids: [PushID]
        switch selection {
        case .ids(let selected): ids = selected
        case .app(let app): ids = try backend.deadLetters(of: app, after: nil, limit: 1000).map(\.id)
        }
        var count = try backend.replay(.ids(ids.filter { !unreadable.contains($0) }), at: now, where: isAllowed)
        count.unreadable = unreadable.intersection(ids).count
        return count
    }

    func purge(_ selection: DeadLetterSelection) async throws(QueueError) -> Int {
        try checkUp()
        return try backend.purge(selection)
    }
}

extension FaultyStore: MessageSearch {
    func search(
        _ query: MessageQuery, after: PushID?, limits: SearchLimits
    ) async throws(StoreError) -> MessagePage {
        if state.withLock({ $0.isDown }) { throw .unavailable("down") }
        return try backend.search(query, after: after, limits: limits)
    }
}

/// A store that pauses an app and blocks afterwards.
final class SlowPause: QueueControl {
    private enum State {
        case idle
        case awaited(CheckedContinuation<Void, Never>)
        case held(CheckedContinuation<Void, Never>)
    }

    private let store: FaultyStore
    private let state = Mutex(State.idle)

    init(_ store: FaultyStore) {
        self.store = store
    }

    /// Returns once an app is paused and the pause is not reported yet.
    func waitForPause() async {
        await withCheckedContinuation { continuation in
            let isHeld = state.withLock { state in
                if case .held = state { return true }
                state = .awaited(continuation)
                return false
            }
            if isHeld { continuation.resume() }
        }
    }

    func resume() {
        let held: CheckedContinuation<Void, Never>? = state.withLock { state in
            guard case .held(let continuation) = state else { return nil }
            state = .idle
            return continuation
        }
        held?.resume()
    }

    func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) async throws(QueueError) {
        try await store.setPaused(isPaused, app: app, at: now)
        guard isPaused else { return }
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let before = state.withLock { state in
                defer { state = .held(continuation) }
                return state
            }
            if case .awaited(let waiting) = before { waiting.resume() }
        }
    }

    func pausedApps() async throws(QueueError) -> [AppID: WallTime] { try await store.pausedApps() }
    func cancel(_ ids: [PushID], at now: WallTime) async throws(QueueError) -> [CancelResult] {
        try await store.cancel(ids, at: now)
    }
    func cancel(_ target: CancelTarget, at now: WallTime) async throws(QueueError) -> CancelCount {
        try await store.cancel(target, at: now)
    }
}
