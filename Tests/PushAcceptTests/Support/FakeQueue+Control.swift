import PushModel
import PushStore
import Synchronization

extension FakeQueue: QueueControl {
    private func checkStore() throws(QueueError) {
        if state.withLock({ $0.isStoreDown }) { throw .unavailable("down", isOutcomeKnown: true) }
    }

    func set(_ result: CancelResult, for id: PushID) { state.withLock { $0.cancelResults[id] = result } }
    func set(_ count: CancelCount, for target: CancelTarget) { state.withLock { $0.cancelCounts["\(target)"] = count } }

    /// Pushes that wait are cancelled, unless another result was set.
    func cancel(_ ids: [PushID], at now: WallTime) async throws(QueueError) -> [CancelResult] {
        try checkStore()
        return state.withLock { state in
            ids.map { id in
                if let result = state.cancelResults[id] { return result }
                guard state.batches.contains(where: { $0.id == id.batch && id.index < $0.count }) else {
                    return .unknown
                }
                state.cancelResults[id] = .settled(.cancelled)
                return .cancelled
            }
        }
    }

    func cancel(_ target: CancelTarget, at now: WallTime) async throws(QueueError) -> CancelCount {
        try checkStore()
        return state.withLock { state in
            if let count = state.cancelCounts["\(target)"] { return count }
            let matching = state.batches.filter { batch in
                switch target {
                case .request(let id): batch.requestID == id
                case .app(let app): batch.app == app
                }
            }
            return CancelCount(cancelled: matching.reduce(0) { $0 + $1.count })
        }
    }

    func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) async throws(QueueError) {
        try checkStore()
        state.withLock { $0.paused[app] = isPaused ? $0.paused[app] ?? now : nil }
    }

    func pausedApps() async throws(QueueError) -> [AppID: WallTime] {
        try checkStore()
        return state.withLock { $0.paused }
    }
}

extension FakeQueue: DeadLetterStore {
    /// - Parameter push: nil: its stored bytes cannot be read.
    func bury(_ letter: DeadLetter, _ push: DeadPush?) { state.withLock { $0.letters[letter.id] = (letter, push) } }

    func deadLetters(of app: AppID?, after: PushID?, limit: Int) async throws(QueueError) -> [DeadLetter] {
        try checkStore()
        let all = state.withLock { $0.letters.values.map(\.0) }.sorted { $0.id < $1.id }
        return Array(
            all.filter { letter in app.map { $0 == letter.app } ?? true && after.map { $0 < letter.id } ?? true }
                .prefix(limit)
        )
    }

    func deadLetter(_ id: PushID) async throws(QueueError) -> (letter: DeadLetter, push: DeadPush?)? {
        try checkStore()
        return state.withLock { $0.letters[id] }.map { (letter: $0.0, push: $0.1) }
    }

    func replay(_ selection: DeadLetterSelection, at now: WallTime) async throws(QueueError) -> ReplayCount {
        let unreadable = state.withLock { state in state.letters.filter { $0.value.1 == nil } }
        state.withLock { state in for id in unreadable.keys { state.letters[id] = nil } }
        let count = try await purge(selection)
        state.withLock { $0.letters.merge(unreadable) { $1 } }
        return ReplayCount(replayed: count, unreadable: unreadable.count)
    }

    func purge(_ selection: DeadLetterSelection) async throws(QueueError) -> Int {
        try checkStore()
        return state.withLock { state in
            let gone = state.letters.values.map(\.0).filter { letter in
                switch selection {
                case .ids(let ids): ids.contains(letter.id)
                case .app(let app): app.map { $0 == letter.app } ?? true
                }
            }
            for letter in gone { state.letters[letter.id] = nil }
            return gone.count
        }
    }
}

/// Takes back what it is told to.
final class FakeInMemoryCancel: ClaimedBatchCanceller {
    private let claimed: Mutex<Set<PushID>>

    init(claimed: Set<PushID>) {
        self.claimed = Mutex(claimed)
    }

    func cancel(ids: [PushID]) async -> Set<PushID> {
        claimed.withLock { claimed in
            let taken = claimed.intersection(ids)
            claimed.subtract(taken)
            return taken
        }
    }

    func cancel(request: String) async -> Int { takeAll() }
    func cancel(app: AppID) async -> Int { takeAll() }

    private func takeAll() -> Int {
        claimed.withLock { claimed in
            defer { claimed = [] }
            return claimed.count
        }
    }
}

/// A store that pauses an app and is slow to say so.
final class SlowPause: QueueControl {
    private enum State {
        case idle
        case awaited(CheckedContinuation<Void, Never>)
        case held(CheckedContinuation<Void, Never>)
    }

    private let queue: FakeQueue
    private let state = Mutex(State.idle)

    init(_ queue: FakeQueue) {
        self.queue = queue
    }

    /// Returns once an app is paused and nobody was told.
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

    func letGo() {
        let held: CheckedContinuation<Void, Never>? = state.withLock { state in
            guard case .held(let continuation) = state else { return nil }
            state = .idle
            return continuation
        }
        held?.resume()
    }

    func setPaused(_ isPaused: Bool, app: AppID, at now: WallTime) async throws(QueueError) {
        try await queue.setPaused(isPaused, app: app, at: now)
        guard isPaused else { return }
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let before = state.withLock { state in
                defer { state = .held(continuation) }
                return state
            }
            if case .awaited(let waiting) = before { waiting.resume() }
        }
    }

    func pausedApps() async throws(QueueError) -> [AppID: WallTime] { try await queue.pausedApps() }
    func cancel(_ ids: [PushID], at now: WallTime) async throws(QueueError) -> [CancelResult] {
        try await queue.cancel(ids, at: now)
    }
    func cancel(_ target: CancelTarget, at now: WallTime) async throws(QueueError) -> CancelCount {
        try await queue.cancel(target, at: now)
    }
}
