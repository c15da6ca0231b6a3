#if Postgres
import Logging
import Synchronization

/// What a `PostgresConnection` and its thread share.
final class PostgresShared: Sendable {
    let configuration: PostgresConfiguration
    let string: ConnectionString
    let wakeup: Wakeup
    let pending: Mutex<PendingCalls>
    let statistics = Mutex(PostgresStatistics())
    /// Set by `retryNow`.
    let skipsDelay = Atomic(false)
    private let end = Mutex(End())

    private struct End {
        var hasEnded = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    init(_ configuration: PostgresConfiguration) throws(PostgresError) {
        self.configuration = configuration
        string = try ConnectionString(configuration.connectionString)
        wakeup = try Wakeup()
        pending = Mutex(
            PendingCalls(countMax: configuration.waitingCallsMax, bytesMax: configuration.waitingBytesMax))
    }

    /// Returns when the thread has closed its session and will call no completion any more.
    func waitForEnd() async {
        await withCheckedContinuation { continuation in
            let hasEnded = end.withLock { end in
                if !end.hasEnded { end.waiting.append(continuation) }
                return end.hasEnded
            }
            if hasEnded { continuation.resume() }
        }
    }

    func reportEnd() {
        let waiting = end.withLock { end in
            end.hasEnded = true
            return end.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// The thread of a connection.
///
///     no session ── a call waits, or keepsConnected ──► wait for the policy ──► connect ──► session
///         ▲                                                   ▲                  │            │
///         │                                                   └──── failed ──────┘            │
///         └───────────── lost, timed out, fatal error, read-only server ◄─────────────────────┘
///
/// It sleeps in `poll` only, always with the earliest deadline of the waiting calls, so that each is answered in time
/// whatever the server does.
struct PostgresWorker {
    private let shared: PostgresShared
    private var session: PostgresSession?
    private var policy: PostgresReconnectPolicy
    private var random = SystemRandomNumberGenerator()
    /// Of the hosts, the one that the next attempt begins with.
    private var firstHost = 0
    /// Why there is no session.
    private var reason = "not connected yet"

    init(_ shared: PostgresShared) {
        self.shared = shared
        let configuration = shared.configuration
        policy = PostgresReconnectPolicy(
            base: configuration.reconnectDelayBase, cap: configuration.reconnectDelayMax)
    }

    /// Returns after `close`.
    mutating func run() {
        while !hasEnded() {
            if session == nil {
                if shared.configuration.keepsConnected || shared.pending.withLock({ !$0.isEmpty }) {
                    connect()
                } else {
                    idle()
                }
            } else if let call = shared.pending.withLock({ $0.take() }) {
                perform(call)
            } else {
                idle()
            }
        }
        session = nil
        let rest = shared.pending.withLock {
            $0.end()
            return $0.takeAll()
        }
        for call in rest { fail(call, PostgresError(.closed, "the connection was closed")) }
        shared.statistics.withLock { $0.isConnected = false }
        shared.reportEnd()
    }

    /// Whether it is time to stop. Fails the calls whose deadline has passed.
    private func hasEnded() -> Bool {
        let now = PostgresClock.read()
        let (expired, hasEnded) = shared.pending.withLock { pending in
            var hasEnded = false
            if case .draining(let end) = pending.phase { hasEnded = pending.isEmpty || end <= now }
            return (pending.takeExpired(now), hasEnded)
        }
        for call in expired { fail(call, expiry) }
        return hasEnded
    }

    /// The failure of a call that was never sent.
    private var expiry: PostgresError {
        PostgresError(
            .unavailable(isOutcomeKnown: true),
            session == nil ? reason : "the call waited behind others until its deadline")
    }

    private func fail(_ call: PostgresPendingCall, _ error: PostgresError) {
        shared.statistics.withLock { $0.failedCalls += 1 }
        call.completion(.failure(error))
    }

    // MARK: - Sleeping

    /// Sleeps until a call is offered or the server sends something.
    private mutating func idle() {
        let sleep = shared.pending.withLock { $0.sleep(until: nil, isIdle: true) }
        guard sleep.sleeps else { return }
        let (events, isWoken) = SocketEvents.wait(
            session?.socket ?? -1, .readable, shared.wakeup, timeout: sleep.until.map { $0 - PostgresClock.read() })
        shared.pending.withLock { $0.woke() }
        if isWoken { shared.wakeup.reset() }
        if events.contains(.readable), let loss = session?.readUnasked() { drop(loss) }
    }

    /// Waits for events on a socket until `end`; in the meantime it fails waiting calls at their deadlines.
    ///
    /// - Parameter pause: returns no events after this time.
    /// - Returns: nil if `end` has passed, or the time to drain.
    private func wait(
        _ socket: Int32, _ events: SocketEvents, until end: ContinuousClock.Instant, pause: Duration? = nil
    ) -> SocketEvents? {
        let resume = pause.map { PostgresClock.read() + $0 }
        while true {
            let sleep = shared.pending.withLock {
                $0.sleep(until: resume.map { min($0, end) } ?? end, isIdle: false)
            }
            let (seen, isWoken) = SocketEvents.wait(
                socket, events, shared.wakeup, timeout: (sleep.until ?? end) - PostgresClock.read())
            if isWoken { shared.wakeup.reset() }
            if !seen.isEmpty { return seen }
            let now = PostgresClock.read()
            let (expired, isOver) = shared.pending.withLock { pending in
                pending.woke()
                var isOver = end <= now
                if case .draining(let limit) = pending.phase { isOver = isOver || limit <= now }
                return (pending.takeExpired(now), isOver)
            }
            for call in expired { fail(call, expiry) }
            if isOver { return nil }
            if let resume, resume <= now { return [] }
            if isWoken, shared.skipsDelay.load(ordering: .relaxed), socket < 0 { return [] }
        }
    }

    // MARK: - Connecting

    /// Makes one attempt to connect, or one step of the wait for it.
    private mutating func connect() {
        let start = PostgresClock.read()
        if shared.skipsDelay.exchange(false, ordering: .relaxed) { policy.skipDelay() }
        let next = policy.next(after: start)
        guard next <= start else {
            // Without keepsConnected, the wait ends with the last call that needs it.
            _ = wait(-1, [], until: next, pause: shared.configuration.keepsConnected ? nil : .milliseconds(100))
            return
        }
        policy.started(start)
        shared.statistics.withLock { $0.connectAttempts += 1 }
        let end = start + shared.configuration.connectTimeout
        do {
            let session = try PostgresSession.open(shared.configuration, shared.string, firstHost: firstHost) {
                wait($0, $1, until: end, pause: $2)
            }
            policy.succeeded()
            connected(session)
        } catch {
            if error.isTimeout { firstHost = (firstHost + 1) % 1024 }
            policy.failed(PostgresClock.read(), random: Double.random(in: 0..<1, using: &random))
            unreachable(error.message)
        }
    }

    private mutating func connected(_ session: PostgresSession) {
        self.session = session
        reason = ""
        shared.statistics.withLock {
            $0.connects += 1
            $0.isConnected = true
            $0.unreachableReason = nil
        }
        shared.configuration.logger.info(
            "connected to PostgreSQL",
            metadata: ["postgres.server": "\(session.place)", "postgres.version": "\(session.serverVersion)"])
    }

    private mutating func unreachable(_ message: String) {
        // An outage makes one line, and another one if its reason changes.
        if message != reason {
            shared.configuration.logger.warning(
                "PostgreSQL is unreachable", metadata: ["error": "\(message)"])
        }
        reason = message
        shared.statistics.withLock { $0.unreachableReason = message }
    }

    private mutating func drop(_ loss: String) {
        session = nil
        reason = loss
        shared.statistics.withLock { $0.isConnected = false }
        shared.configuration.logger.warning(
            "the connection to PostgreSQL was lost", metadata: ["error": "\(loss)"])
    }

    // MARK: - Calls

    private static let conflictRetriesMax = 2

    private mutating func perform(_ call: PostgresPendingCall) {
        guard let session else { return shared.pending.withLock { $0.putBack(call) } }
        // A server that stopped while the session was idle has closed it: then nothing needs to be sent to find out.
        if SocketEvents.wait(session.socket, .readable, nil, timeout: .zero).0.contains(.readable),
            let loss = session.readUnasked()
        {
            drop(loss)
            shared.pending.withLock { $0.putBack(call) }
            return
        }
        var call = call
        while true {
            switch session.execute(call.calls, { wait($0, $1, until: call.deadline, pause: $2) }) {
            case .committed(let rows):
                shared.statistics.withLock { $0.calls += 1 }
                call.completion(.success(rows))
                return
            case .failed(let failure):
                guard apply(failure, &call) else { return }
            }
        }
    }

    /// - Returns: whether the call is to be executed again in the same session.
    private mutating func apply(_ failure: ServerFailure, _ call: inout PostgresPendingCall) -> Bool {
        switch failure.remedy {
        case .report: fail(call, failure.error)
        case .repeatCall:
            if call.conflicts < Self.conflictRetriesMax, PostgresClock.read() < call.deadline {
                call.conflicts += 1
                shared.statistics.withLock { $0.conflicts += 1 }
                return true
            }
            fail(call, failure.error)
        case .repeatInNewSession:
            drop(failure.error.message)
            if call.hasNewSession {
                fail(call, failure.error)
            } else {
                call.hasNewSession = true
                let again = call
                shared.pending.withLock { $0.putBack(again) }
            }
        case .replaceSession:
            drop(failure.error.message)
            fail(call, failure.error)
        }
        return false
    }
}
#endif
