#if Postgres
import CPostgres
import Glibc

// A session is always in libpq's pipeline mode. Each transaction is
//
//     Parse*  Bind  Execute   Parse*  Bind  Execute   …   Sync
//
// where Parse is sent for a statement that the session has not prepared. The server executes everything up to Sync in
// one implicit transaction, which Sync commits: all statements or none, in one round trip. After an error it skips the
// rest.
//
// So nothing is committed before the server has read Sync. It is the last message, and libpq sends in order: as long as
// it has unsent bytes, the outcome of a lost connection is known.

/// One session of the server. Belongs to the thread that made it.
final class PostgresSession {
    /// How a transaction ended.
    enum Ending {
        case committed([PostgresRows])
        case failed(ServerFailure)
    }

    /// Waits for events on a socket, nil if the time is over.
    typealias Wait = (Int32, SocketEvents, Duration?) -> SocketEvents?

    private let handle: OpaquePointer
    private let string: ConnectionString
    /// By name.
    private var prepared: [String: PostgresStatement] = [:]
    /// The server said that a commit was not confirmed by its standbys.
    private var isUnreplicated = false
    /// Whether Sync has left this process.
    private var isSyncSent = false

    private init(_ handle: OpaquePointer, _ string: ConnectionString) {
        self.handle = handle
        self.string = string
    }

    deinit {
        // Says goodbye if the socket takes it, and never waits.
        PQfinish(handle)
    }

    // MARK: - Opening

    /// - Throws: `unavailable`, with `isTimeout` in the failure if `wait` returned nil.
    static func open(
        _ configuration: PostgresConfiguration, _ string: ConnectionString, firstHost: Int, wait: Wait
    ) throws(OpenFailure) -> PostgresSession {
        let words: [(String, String)] =
            [
                // The string, which comes later, wins over these.
                ("fallback_application_name", configuration.applicationName), ("tcp_user_timeout", "10000"),
                ("keepalives_idle", "10"), ("keepalives_interval", "3"), ("keepalives_count", "3"),
                ("dbname", string.text),
            ] + string.hosts(from: firstHost) + [("client_encoding", "UTF8")]
        guard let handle = start(words) else { throw OpenFailure(message: "out of memory") }
        let session = PostgresSession(handle, string)
        try session.connect(wait)
        try session.prepare(configuration.sessionSettings, wait)
        return session
    }

    struct OpenFailure: Error {
        var message: String
        var isTimeout = false
    }

    private static func start(_ words: [(String, String)]) -> OpaquePointer? {
        // SAFETY: the C strings live until the call that copies them has returned.
        let keywords = words.map { strdup($0.0) }
        let values = words.map { strdup($0.1) }
        defer { for text in keywords + values { free(text) } }
        let keywordPointers = keywords.map { UnsafePointer($0) } + [nil]
        let valuePointers = values.map { UnsafePointer($0) } + [nil]
        return PQconnectStartParams(keywordPointers, valuePointers, 1)
    }

    private func connect(_ wait: Wait) throws(OpenFailure) {
        guard PQstatus(handle) != CONNECTION_BAD else { throw OpenFailure(message: errorText) }
        // SAFETY: libpq calls the receiver within its calls on this session only, which `self` outlives.
        PQsetNoticeReceiver(
            handle,
            { context, notice in
                guard let context, let function = PQresultErrorField(notice, GODWIT_PG_FUNCTION) else { return }
                // A cancel or a stop ended the wait for the standbys: the server reports success with a warning.
                guard strcmp(function, "SyncRepWaitForLSN") == 0 else { return }
                // SAFETY: the context is the session, see above.
                Unmanaged<PostgresSession>.fromOpaque(context).takeUnretainedValue().isUnreplicated = true
            }, Unmanaged.passUnretained(self).toOpaque())
        var events = SocketEvents.writable
        while true {
            guard wait(PQsocket(handle), events, nil) != nil else {
                throw OpenFailure(message: "no response from \(place) to the connect", isTimeout: true)
            }
            switch PQconnectPoll(handle) {
            case PGRES_POLLING_OK: return
            case PGRES_POLLING_READING: events = .readable
            case PGRES_POLLING_WRITING: events = .writable
            default: throw OpenFailure(message: errorText)
            }
        }
    }

    /// Makes the session ready for calls.
    private func prepare(_ settings: [String: String], _ wait: Wait) throws(OpenFailure) {
        guard PQsetnonblocking(handle, 1) == 0, PQenterPipelineMode(handle) == 1 else {
            throw OpenFailure(message: errorText)
        }
        let settings = settings.sorted { $0.key < $1.key }
        guard !settings.isEmpty else { return }
        var parameters = PostgresParameters()
        parameters.append(array: settings.map(\.key))
        parameters.append(array: settings.map(\.value))
        switch execute([PostgresCall(Self.setSettings, parameters)], wait) {
        case .committed: return
        case .failed(let failure):
            throw OpenFailure(message: "the session's settings failed: \(failure.error.message)")
        }
    }

    private static let setSettings = PostgresStatement(
        "", [.textArray, .textArray],
        "SELECT set_config(name, value, false) FROM unnest($1, $2) AS settings(name, value)")

    // MARK: - Use

    /// Host and port of the server, for logs.
    var place: String {
        let host = PQhost(handle).map { String(cString: $0) } ?? ""
        let port = PQport(handle).map { String(cString: $0) } ?? ""
        return "\(host.isEmpty ? "the server" : host):\(port)"
    }

    var socket: Int32 { PQsocket(handle) }

    /// The server's version, such as 150018; 0 if unknown.
    var serverVersion: Int { Int(PQserverVersion(handle)) }

    /// Reads what the server sent unasked. An idle session is read when its socket is readable.
    ///
    /// - Returns: nil if the session is alive, otherwise why it ended.
    func readUnasked() -> String? {
        guard PQconsumeInput(handle) == 1, PQstatus(handle) == CONNECTION_OK else { return errorText }
        // In pipeline mode the input is parsed by this call only.
        _ = PQisBusy(handle)
        return PQstatus(handle) == CONNECTION_OK ? nil : errorText
    }

    /// Executes the calls in one transaction.
    ///
    /// After a failure whose remedy is a new session, or after `wait` returned nil, the session must not be used again.
    func execute(_ calls: [PostgresCall], _ wait: Wait) -> Ending {
        isUnreplicated = false
        isSyncSent = false
        var progress = Progress(calls: calls)
        for call in calls {
            if isPrepared(call.statement) {
                progress.expected.append(.execute)
            } else {
                progress.expected.append(.parse)
                progress.expected.append(.execute)
            }
            guard send(call) else { return lost(hasExecuted: false) }
            // The next call of the same transaction must not parse it again; a failure is corrected below.
            if !call.statement.name.isEmpty { prepared[call.statement.name] = call.statement }
        }
        guard PQpipelineSync(handle) == 1 else { return lost(hasExecuted: false) }
        let ending = receive(&progress, wait)
        for name in progress.unprepared { prepared[name] = nil }
        return ending
    }

    private func isPrepared(_ statement: PostgresStatement) -> Bool {
        guard let other = prepared[statement.name] else { return false }
        precondition(other == statement, "two statements have the name \(statement.name)")
        return true
    }

    private func send(_ call: PostgresCall) -> Bool {
        let statement = call.statement
        if !isPrepared(statement) {
            let types = statement.types.map { Oid($0.rawValue) }
            guard PQsendPrepare(handle, statement.name, statement.sql, Int32(types.count), types) == 1 else {
                return false
            }
        }
        return call.parameters.withPointers { pointers, lengths in
            let formats = [Int32](repeating: 1, count: pointers.count)
            return PQsendQueryPrepared(handle, statement.name, Int32(pointers.count), pointers, lengths, formats, 1)
                == 1
        }
    }

    /// What the server still has to answer.
    private struct Progress {
        enum Step { case parse, execute }

        let calls: [PostgresCall]
        var expected: [Step] = []
        var step = 0
        /// Of `calls`, the one that is answered next.
        var call = 0
        var rows: [PostgresRows] = []
        var failure: ServerFailure?
        /// Statements that the server did not prepare.
        var unprepared: [String] = []

        var hasExecuted: Bool { step == expected.count }

        init(calls: [PostgresCall]) {
            self.calls = calls
            rows.reserveCapacity(calls.count)
        }

        mutating func advance(succeeded: Bool) {
            guard step < expected.count else { return }
            if expected[step] == .parse {
                if !succeeded, !calls[call].statement.name.isEmpty { unprepared.append(calls[call].statement.name) }
            } else {
                call += 1
            }
            step += 1
        }
    }

    private func receive(_ progress: inout Progress, _ wait: Wait) -> Ending {
        // TLS may hold bytes that the socket no longer shows, so within a response the wait is short.
        var pause: Duration?
        while true {
            if !isSyncSent {
                switch PQflush(handle) {
                case 0: isSyncSent = true
                case 1: break
                default: return lost(progress)
                }
            }
            while PQisBusy(handle) == 0 {
                let result = PQgetResult(handle)
                if result == nil, PQstatus(handle) != CONNECTION_OK { return lost(progress) }
                if let result, read(result, &progress) { return ending(progress) }
                if PQstatus(handle) != CONNECTION_OK, progress.failure != nil { return lost(progress) }
            }
            let isReading = pause != nil
            guard let events = wait(socket, isSyncSent ? .readable : [.readable, .writable], pause) else {
                return timedOut(progress)
            }
            if events.contains(.readable) || isReading {
                _ = PQconsumeInput(handle)
                if PQsslInUse(handle) != 0 {
                    pause = events.contains(.readable) ? .milliseconds(1) : pause.map { min($0 * 2, .milliseconds(64)) }
                }
            }
        }
    }

    /// - Returns: whether it was the last result.
    private func read(_ result: OpaquePointer, _ progress: inout Progress) -> Bool {
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK where progress.step < progress.expected.count,
            PGRES_COMMAND_OK where progress.step < progress.expected.count:
            let isExecuted = progress.expected[progress.step] == .execute
            progress.advance(succeeded: true)
            if isExecuted { progress.rows.append(PostgresRows(result)) } else { PQclear(result) }
            return false
        case PGRES_PIPELINE_SYNC:
            PQclear(result)
            return true
        case PGRES_PIPELINE_ABORTED:
            PQclear(result)
            progress.advance(succeeded: false)
            return false
        default:
            if progress.failure == nil { progress.failure = failure(result, progress) }
            PQclear(result)
            progress.advance(succeeded: false)
            return false
        }
    }

    private func ending(_ progress: Progress) -> Ending {
        if let failure = progress.failure { return .failed(failure) }
        guard !isUnreplicated else {
            let error = PostgresError(
                .unavailable(isOutcomeKnown: false), "the commit was not confirmed by the synchronous standbys")
            return .failed(ServerFailure(error, .report))
        }
        return .committed(progress.rows)
    }

    /// An error of the server, or of libpq if it has no SQLSTATE.
    private func failure(_ result: OpaquePointer, _ progress: Progress) -> ServerFailure {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        let sqlState = field(GODWIT_PG_SQLSTATE) ?? ""
        let severity = field(GODWIT_PG_SEVERITY)
        // Without a SQLSTATE the connection is lost. The server did not report an error, so the outcome depends on
        // Sync.
        let isLost = sqlState.isEmpty
        let message = field(GODWIT_PG_MESSAGE) ?? String(cString: PQresultErrorMessage(result))
        return ServerFailure(
            sqlState: sqlState, isFatal: isLost || severity == "FATAL" || severity == "PANIC",
            message: string.withoutSecrets(message), function: field(GODWIT_PG_FUNCTION) ?? "",
            constraint: field(GODWIT_PG_CONSTRAINT),
            statement: progress.hasExecuted ? nil : progress.calls[progress.call].statement.name,
            hasExecuted: isLost ? isSyncSent : progress.hasExecuted)
    }

    /// The connection is lost, or libpq refused a call.
    private func lost(_ progress: Progress) -> Ending {
        progress.failure.map { .failed($0) } ?? lost(hasExecuted: isSyncSent)
    }

    private func lost(hasExecuted: Bool) -> Ending {
        .failed(ServerFailure(sqlState: "", isFatal: true, message: errorText, hasExecuted: hasExecuted))
    }

    private func timedOut(_ progress: Progress) -> Ending {
        if let failure = progress.failure { return .failed(failure) }
        let error = PostgresError(
            .unavailable(isOutcomeKnown: !isSyncSent), "\(place) did not respond before the deadline of the call")
        return .failed(ServerFailure(error, .replaceSession))
    }

    private var errorText: String {
        string.withoutSecrets(ServerMessage.sentence(String(cString: PQerrorMessage(handle))))
    }
}

extension ServerFailure {
    init(_ error: PostgresError, _ remedy: Remedy) {
        self.error = error
        self.remedy = remedy
    }
}
#endif
