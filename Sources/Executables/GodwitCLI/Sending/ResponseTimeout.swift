import Synchronization

/// Detects a gateway that does not respond. A process that is stopped or hangs keeps its connections open, so the
/// connection itself reports no error.
final class ResponseTimeout: Sendable {
    private struct State {
        var lastProgress = ContinuousClock.now
        var isPaused = false
    }

    let limit: Duration
    private let state = Mutex(State())

    init(limit: Duration) {
        self.limit = limit
    }

    /// Restarts the timeout: the gateway has sent or received something.
    func recordProgress() {
        state.withLock { $0.lastProgress = .now }
    }

    /// Pauses the timeout while `work` runs, such as a read of standard input for which the gateway waits.
    func paused<Value>(during work: () async throws -> Value) async rethrows -> Value {
        state.withLock { $0.isPaused = true }
        defer {
            state.withLock { state in
                state.isPaused = false
                state.lastProgress = .now
            }
        }
        return try await work()
    }

    var isExceeded: Bool {
        state.withLock { !$0.isPaused && .now - $0.lastProgress >= limit }
    }
}

/// A `PushSource` whose reads pause a timeout.
struct TimedPushSource: AsyncSequence, Sendable {
    typealias Element = PushSource.Element

    let source: PushSource
    let responseTimeout: ResponseTimeout

    func makeAsyncIterator() -> Iterator {
        Iterator(base: source.makeAsyncIterator(), responseTimeout: responseTimeout)
    }

    struct Iterator: AsyncIteratorProtocol {
        fileprivate var base: PushSource.Iterator
        fileprivate let responseTimeout: ResponseTimeout

        mutating func next() async throws -> Element? {
            var base = base
            defer { self.base = base }
            return try await responseTimeout.paused { try await base.next() }
        }
    }
}
