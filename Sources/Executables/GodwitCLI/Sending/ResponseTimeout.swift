import Synchronization

/// Notices that a gateway says nothing for too long although it is its turn: stopped, or hanging, it still has its
/// connections.
final class ResponseTimeout: Sendable {
    private struct State {
        var lastSign = ContinuousClock.now
        var isOurTurn = false
    }

    let limit: Duration
    private let state = Mutex(State())

    init(limit: Duration) {
        self.limit = limit
    }

    /// The gateway has said or taken something.
    func sign() {
        state.withLock { $0.lastSign = .now }
    }

    /// It waits for us meanwhile, as when standard input takes its time.
    func ourTurn<Value>(_ work: () async throws -> Value) async rethrows -> Value {
        state.withLock { $0.isOurTurn = true }
        defer {
            state.withLock { state in
                state.isOurTurn = false
                state.lastSign = .now
            }
        }
        return try await work()
    }

    var isOver: Bool {
        state.withLock { !$0.isOurTurn && .now - $0.lastSign >= limit }
    }
}

/// Pushes on their way, under a watch.
struct WatchedSource: AsyncSequence, Sendable {
    typealias Element = PushSource.Element

    let source: PushSource
    let watch: ResponseTimeout

    func makeAsyncIterator() -> Iterator { Iterator(base: source.makeAsyncIterator(), watch: watch) }

    struct Iterator: AsyncIteratorProtocol {
        fileprivate var base: PushSource.Iterator
        fileprivate let watch: ResponseTimeout

        mutating func next() async throws -> Element? {
            var base = base
            defer { self.base = base }
            return try await watch.ourTurn { try await base.next() }
        }
    }
}
