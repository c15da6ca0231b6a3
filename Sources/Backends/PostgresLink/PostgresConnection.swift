#if Postgres
import Foundation
import Synchronization

// A connection is one session of the server, and a thread of its own on which all of libpq runs. Calls are executed one
// after the other, in the order in which they were offered; a store uses several connections for work that must not
// wait for other work.
//
//     perform ── offer ──► PendingCalls ── take ──► PostgresWorker ── execute ──► PostgresSession (libpq)
//        ▲                      │                        │
//        │          refused: overloaded, closed          │  deadlines, conflicts, reconnects
//        └──────────────────────┴────── completion ──────┘
//
// The thread sleeps in poll() and nowhere else, so a call ends at its deadline even if the server is silent. libpq
// cannot take a call back: the session is closed then, and whether the call was committed is unknown as soon as all of
// it has been sent.

/// A connection to PostgreSQL that opens, and reopens, its session when there is something to do.
package final class PostgresConnection: Sendable, CustomStringConvertible {
    private let shared: PostgresShared

    /// Starts the thread. Connects with the first call, or immediately if the configuration says `keepsConnected`.
    ///
    /// - Throws: `invalid` for a connection string that libpq cannot read; `unavailable` if the process has no file
    ///   descriptor or thread left.
    package init(_ configuration: PostgresConfiguration) throws(PostgresError) {
        let shared = try PostgresShared(configuration)
        self.shared = shared
        try Self.startThread(shared)
    }

    private static func startThread(_ shared: PostgresShared) throws(PostgresError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        // SAFETY: the thread takes over the reference that is retained here; without a thread it is released below.
        let context = Unmanaged.passRetained(shared)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                // SAFETY: the context is the retained reference of `startThread`.
                let shared = Unmanaged<PostgresShared>.fromOpaque(context).takeRetainedValue()
                Thread.current.name = shared.configuration.threadName
                var worker = PostgresWorker(shared)
                worker.run()
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            throw PostgresError(
                .unavailable(isOutcomeKnown: true), "a thread could not be started: \(String(cString: strerror(code)))")
        }
    }

    deinit {
        stop(within: .zero)
    }

    package var description: String { shared.configuration.description }

    package var statistics: PostgresStatistics {
        var statistics = shared.statistics.withLock { $0 }
        statistics.waitingCalls = shared.pending.withLock { $0.count }
        return statistics
    }

    /// Executes one statement in a transaction of its own.
    ///
    /// - Parameter timeout: how long it may take with its wait for other calls; nil for the configured time.
    /// - Throws: see `PostgresError.Kind` for what is known about the outcome.
    @discardableResult
    package func run(
        _ statement: PostgresStatement, _ parameters: PostgresParameters = PostgresParameters(),
        within timeout: Duration? = nil
    ) async throws(PostgresError) -> PostgresRows {
        try await transaction([PostgresCall(statement, parameters)], within: timeout)[0]
    }

    /// Executes statements in one transaction and one round trip. The first error rolls all of them back and is thrown.
    ///
    /// The statements must not contain transaction control (BEGIN, COMMIT, SAVEPOINT) or SET LOCAL.
    ///
    /// - Parameter timeout: how long it may take with its wait for other calls; nil for the configured time.
    /// - Returns: the result of each statement, in order.
    /// - Throws: see `PostgresError.Kind` for what is known about the outcome.
    @discardableResult
    package func transaction(
        _ calls: [PostgresCall], within timeout: Duration? = nil
    ) async throws(PostgresError) -> [PostgresRows] {
        let result: Result<[PostgresRows], PostgresError> = await withCheckedContinuation { continuation in
            perform(calls, within: timeout) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// The same without a task.
    ///
    /// - Parameter completion: called once, on the connection's thread; if the call is refused, on the caller's. It
    ///   must not wait.
    package func perform(
        _ calls: [PostgresCall], within timeout: Duration? = nil,
        completion: @escaping @Sendable (Result<[PostgresRows], PostgresError>) -> Void
    ) {
        guard !calls.isEmpty else { return completion(.success([])) }
        for call in calls where call.parameters.types != call.statement.types {
            let error = PostgresError(
                .invalid, "the parameters do not have the types of the statement", statement: call.statement.name)
            return completion(.failure(error))
        }
        let configuration = shared.configuration
        let call = PostgresPendingCall(
            calls: calls, bytes: calls.reduce(0) { $0 + $1.parameters.byteCount },
            deadline: PostgresClock.read() + (timeout ?? configuration.callTimeout), completion: completion)
        switch shared.pending.withLock({ $0.offer(call) }) {
        case .accepted: break
        case .wake: shared.wakeup.signal()
        case .refused(let error): completion(.failure(error))
        }
    }

    /// Lets the next attempt to connect begin without its delay, though never more than two in a second. For a
    /// connection of the same store that has just reached the server.
    package func retryNow() {
        shared.skipsDelay.store(true, ordering: .relaxed)
        shared.wakeup.signal()
    }

    /// Refuses further calls as `closed`, executes those that wait, and closes the session.
    ///
    /// - Parameter timeout: after this time the calls that wait fail as `closed`, and the running one as `unavailable`.
    package func close(within timeout: Duration = .seconds(5)) async {
        stop(within: timeout)
        await shared.waitForEnd()
    }

    private func stop(within timeout: Duration) {
        let end = PostgresClock.read() + timeout
        shared.pending.withLock { $0.drain(until: end) }
        shared.wakeup.signal()
    }
}
#endif
