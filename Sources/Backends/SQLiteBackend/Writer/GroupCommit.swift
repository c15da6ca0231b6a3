import Foundation
import GRDB
import PushStore
import Synchronization

// GroupCommit turns many concurrent calls into few transactions, because each commit costs one sync of the disk.
//
// It decides which calls share a transaction, and what each caller receives when something fails. The calls themselves
// (append, claim, settle, …) are closures over the database and the in-memory `QueueState`; what they do does not
// matter here.
//
// Calls queue up in `PendingWrites` while a transaction is in progress. The next transaction takes all of them. A lone
// call is committed immediately; under load one sync serves many calls, and the batch size follows from the disk's
// speed without a timer.
//
//     perform ── offer ──► PendingWrites ── takeAll ──► drain (one at a time, on the writer's queue)
//        ▲                      │                         │
//        │                   refuse:                BEGIN IMMEDIATE
//        │             full, broken, closed         fence: still the owner?
//        │                      │                         │
//        │                      │                 all calls, in order of arrival
//        │                      │                         │
//        │                      │                       COMMIT (waits for the sync)
//        │                      ▼                   fence: still the owner?
//        ├───────────────── failure ◄─────────────────────┤
//        │                                                ▼
//        └───────────────── success ◄─────────────────────┤
//                                                         ▼
//                                    checkpoint, if the log is long; then drain what waits
//
// What a failed transaction means for its calls depends on the error:
//
//   unavailable,  one call failed, for example with a duplicate id; also the default for errors without a rule of their
//   key used      own. All calls run once more, each in a savepoint, so that only the failed one is rolled back.
//                 Failures are rare and savepoints are not free, so the first run uses none.
//   full          the disk has no space. Calls marked `yields` (new pushes) fail; the others (outcomes, claims) run
//                 again without them. A checkpoint is requested that truncates the log.
//   broken        an I/O error, damage, or a lost lock. Nothing is ever written again: a failed sync must not be
//                 retried.
//
// Rolling back restores the database and, by savepoints of its own, `QueueState`. A body may therefore run more than
// once.
//
// The one exception to "all or nothing": if COMMIT itself fails, or the fence finds after it that another process has
// taken over, the transaction may or may not be durable. Its callers receive `unavailable` with `isOutcomeKnown:
// false`, and the store is broken from then on.
//
// Lock order: `state` (held for a whole drain), then `pendingWrites` or `counters` (held for a few instructions).
// Callers only ever take the latter two, so that a slow disk never blocks a thread of theirs.

/// Runs calls in shared transactions on the writing connection.
final class GroupCommit: Sendable {
    /// Runs on the writing connection, inside a transaction. If the transaction fails, its changes to the state are
    /// rolled back, and it may run again.
    typealias Body<Value> = @Sendable (Database, inout QueueState) throws -> Value

    private let writer: DatabaseQueue
    private let checkpointer: Checkpointer
    private let fence: Fence
    private let reserve: DiskReserve
    private let pendingWrites: Mutex<PendingWrites>
    /// Used only by `drain`, which never runs concurrently with itself; the mutex lets the compiler check that.
    private let state: Mutex<QueueState>
    private let counters = Mutex(SQLiteStatistics())
    private let diskFailure = Atomic(false)

    init(
        writer: DatabaseQueue, state: QueueState, fence: Fence, marks: StoreMarks, configuration: SQLiteConfiguration
    ) {
        self.writer = writer
        self.fence = fence
        self.state = Mutex(state)
        reserve = DiskReserve(folder: (writer.path as NSString).deletingLastPathComponent)
        pendingWrites = Mutex(
            PendingWrites(bytesMax: configuration.waitingBytesMax, callsMax: configuration.waitingCallsMax))
        checkpointer = Checkpointer(path: writer.path, marks: marks, configuration: configuration)
    }

    var statistics: SQLiteStatistics {
        var statistics = counters.withLock { $0 }
        statistics.waitingCalls = pendingWrites.withLock { $0.count }
        return statistics
    }

    /// Runs `body` in the next transaction and returns when that is durable.
    ///
    /// - Parameters:
    ///   - bytes: roughly what `body` writes; counted against the limit of waiting bytes.
    ///   - yields: whether the call fails first on a full disk, which leaves space for outcomes. Set for new pushes.
    ///   - isLast: later calls are refused as `closed`.
    func perform<Value: Sendable>(
        bytes: Int = 0, yields: Bool = false, isLast: Bool = false, _ body: @escaping Body<Value>
    ) async throws(QueueError) -> Value {
        let result: Result<Value, QueueError> = await withCheckedContinuation { continuation in
            perform(bytes: bytes, yields: yields, isLast: isLast, body) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// The same without a task.
    ///
    /// - Parameter completion: called once, on the writer's thread; if the call is refused, on the caller's. It must not
    ///   wait.
    func perform<Value: Sendable>(
        bytes: Int = 0, yields: Bool = false, isLast: Bool = false, _ body: @escaping Body<Value>,
        completion: @escaping @Sendable (Result<Value, QueueError>) -> Void
    ) {
        let call = PendingCall(
            bytes: bytes, yields: yields,
            run: { db, state in
                let value = try body(db, &state)
                return { completion(.success(value)) }
            },
            fail: { completion(.failure($0)) }
        )
        submit(call, isLast: isLast)
    }

    /// Refuses further calls, executes those that wait, and then `last`.
    ///
    /// - Throws: `closed` if it was closed before.
    func close(after last: @escaping Body<Void>) async throws(QueueError) {
        try await perform(isLast: true, last)
    }

    /// Truncates the log after the running transaction, unless a reader is active.
    func requestTruncation() { checkpointer.requestTruncation() }

    /// Whether a write or sync has failed, or damage was found: this process must not write to the files again, not even to
    /// close them.
    var hasDiskFailed: Bool { diskFailure.load(ordering: .relaxed) }

    /// Refuses all writes from now on if the database is gone or belongs to another process.
    func checkOwnership() {
        if let error = fence.checkFiles() { pendingWrites.withLock { $0.broken = $0.broken ?? error } }
    }

    private func submit(_ call: PendingCall, isLast: Bool) {
        switch pendingWrites.withLock({ $0.offer(call, isLast: isLast) }) {
        case .wait: break
        case .drain: writer.asyncWriteWithoutTransaction { self.drain($0) }
        case .refuse(let error): call.fail(error)
        }
    }

    private func drain(_ db: Database) {
        state.withLock { state in
            while true {
                let calls = pendingWrites.withLock { $0.takeAll() }
                guard !calls.isEmpty else { return }
                counters.withLock { $0.startedCalls += calls.count }
                commitGroup(calls, db, &state)
                checkpointer.wrote(bytes: calls.reduce(0) { $0 + $1.bytes }, calls: calls.count)
                guard checkpointer.isDue, pendingWrites.withLock({ $0.broken }) == nil else { continue }
                if let error = fence.check() {
                    pendingWrites.withLock { $0.broken = error }
                } else if let error = checkpointer.checkpoint(db, isIdle: pendingWrites.withLock { $0.isEmpty }) {
                    diskFailure.store(true, ordering: .relaxed)
                    pendingWrites.withLock { $0.broken = error }
                }
            }
        }
    }

    /// Runs `calls` in one transaction and reports the result to each caller.
    private func commitGroup(_ calls: [PendingCall], _ db: Database, _ state: inout QueueState) {
        if let error = pendingWrites.withLock({ $0.broken }) {
            for call in calls { call.fail(error) }
            return
        }
        let yielding = calls.reduce(0) { $1.yields ? $0 + $1.bytes : $0 }
        do {
            if yielding > 0, try !checkpointer.hasCapacity(for: yielding, reserve, db) {
                throw Failure(error: .full("not enough free disk space"))
            }
            for deliver in try runAll(calls, db, &state) { deliver() }
        } catch {
            resolveFailure(error as? Failure ?? Failure(error: error.queueError), of: calls, db, &state)
        }
    }

    /// Reports `failure` to the callers, or runs those calls again that can succeed without the others.
    private func resolveFailure(
        _ failure: Failure, of calls: [PendingCall], _ db: Database, _ state: inout QueueState
    ) {
        switch failure.error {
        case .full(let reason):
            checkpointer.requestTruncation()
            let yielding = calls.filter(\.yields)
            let others = calls.filter { !$0.yields }
            for call in yielding { call.fail(.full(reason)) }
            if yielding.isEmpty, reserve.release() {
                // Outcomes must be recorded; the reserve is renewed when there is space again.
                commitGroup(others, db, &state)
            } else if yielding.isEmpty {
                for call in others { call.fail(.full(reason)) }
            } else if !others.isEmpty {
                commitGroup(others, db, &state)
            }
        case .broken(let reason):
            pendingWrites.withLock { $0.broken = failure.error }
            // A commit whose sync failed is in the log nevertheless: recovery at the next start may find it.
            let error = failure.isCommitInDoubt ? .unavailable(reason, isOutcomeKnown: false) : failure.error
            for call in calls { call.fail(error) }
        case .unavailable, .idempotencyKeyUsed, .closed:
            for call in calls { call.fail(failure.error) }
        }
    }

    /// A transaction that was rolled back, unless the commit is in doubt.
    private struct Failure: Error {
        var error: QueueError
        /// COMMIT failed, or a check after it.
        var isCommitInDoubt = false
    }

    /// Runs all calls in one transaction; if one of them fails, a second time with a savepoint around each.
    ///
    /// - Returns: closures that report the results to the callers.
    private func runAll(
        _ calls: [PendingCall], _ db: Database, _ state: inout QueueState
    ) throws(Failure) -> [@Sendable () -> Void] {
        do {
            return try inTransaction(db, &state) { db, state in
                try calls.map { try $0.run(db, &state) }
            }
        } catch {
            guard error.error.isOfOneCall, calls.count > 1 else { throw error }
            return try inTransaction(db, &state) { db, state in
                try calls.map { try isolate($0, db, &state) }
            }
        }
    }

    /// Runs `body` between BEGIN and COMMIT, with the fence checked after each.
    private func inTransaction(
        _ db: Database, _ state: inout QueueState,
        _ body: (Database, inout QueueState) throws -> [@Sendable () -> Void]
    ) throws(Failure) -> [@Sendable () -> Void] {
        let start = state.savepoint
        var isCommitting = false
        do {
            try db.cachedStatement(sql: "BEGIN IMMEDIATE").execute()
            if let error = fence.check() { throw error }
            let deliveries = try body(db, &state)
            isCommitting = true
            try db.cachedStatement(sql: "COMMIT").execute()
            // Success must not be reported for a commit that a new owner of the database does not see.
            if let error = fence.check() { throw error }
            state.commit()
            counters.withLock {
                $0.commits += 1
                $0.calls += deliveries.count
            }
            return deliveries
        } catch {
            // If the rollback fails, SQLite has already rolled back.
            if db.isInsideTransaction { try? db.rollback() }
            state.rollBack(to: start)
            // Ends the undo log of the state, which is back at its start.
            state.commit()
            if error is DatabaseError, case .broken = error.queueError { diskFailure.store(true, ordering: .relaxed) }
            throw Failure(error: error.queueError, isCommitInDoubt: isCommitting)
        }
    }

    /// Runs one call in a savepoint. Returns the report of its result, which may be a failure.
    ///
    /// - Throws: the whole transaction is lost.
    private func isolate(
        _ call: PendingCall, _ db: Database, _ state: inout QueueState
    ) throws -> @Sendable () -> Void {
        let before = state.savepoint
        try db.cachedStatement(sql: "SAVEPOINT call").execute()
        do {
            let delivery = try call.run(db, &state)
            try db.cachedStatement(sql: "RELEASE call").execute()
            return delivery
        } catch {
            guard error.queueError.isOfOneCall, db.isInsideTransaction else { throw error }
            let failure = error.queueError
            try db.cachedStatement(sql: "ROLLBACK TO call").execute()
            try db.cachedStatement(sql: "RELEASE call").execute()
            state.rollBack(to: before)
            return { call.fail(failure) }
        }
    }
}

extension QueueError {
    /// Whether the other calls of the transaction may succeed.
    fileprivate var isOfOneCall: Bool {
        switch self {
        case .unavailable, .idempotencyKeyUsed: true
        case .full, .broken, .closed: false
        }
    }
}

/// Counters since the database was opened.
package struct SQLiteStatistics: Sendable, Equatable {
    /// Transactions; each that wrote anything cost one sync of the disk.
    package var commits = 0
    /// Calls that these transactions executed.
    package var calls = 0
    /// Calls that no longer wait: in progress, done or failed.
    package var startedCalls = 0
    /// Calls that wait for their transaction.
    package var waitingCalls = 0
}
