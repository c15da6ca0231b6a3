import Foundation
import GRDB
import PushStore
import Synchronization

/// Turns many calls into few commits.
///
/// Calls wait in an inbox while a commit is under way; the next transaction takes everything that waits. So a lone call
/// is committed at once, and under load one sync of the disk serves many.
final class GroupCommit: Sendable {
    /// Runs on the writing connection, inside a transaction. What it changes in the state is taken back if that fails;
    /// it may then run a second time.
    typealias Body<Value> = @Sendable (Database, inout QueueState) throws -> Value

    private let writer: DatabaseQueue
    private let checkpointer: Checkpointer
    private let fence: Fence
    private let pendingWrites: Mutex<PendingWrites>
    /// Taken by `drain` only, which never runs twice at a time: the lock is what lets the compiler check that.
    private let state: Mutex<QueueState>
    private let counters = Mutex(SQLiteStatistics())

    init(writer: DatabaseQueue, state: QueueState, fence: Fence, configuration: SQLiteConfiguration) {
        self.writer = writer
        self.fence = fence
        self.state = Mutex(state)
        pendingWrites = Mutex(
            PendingWrites(bytesMax: configuration.waitingBytesMax, callsMax: configuration.waitingCallsMax))
        checkpointer = Checkpointer(path: writer.path, configuration: configuration)
    }

    var statistics: SQLiteStatistics {
        var statistics = counters.withLock { $0 }
        statistics.waitingCalls = pendingWrites.withLock { $0.count }
        return statistics
    }

    /// Runs `body` in the next transaction and returns when that is durable.
    ///
    /// - Parameters:
    ///   - bytes: what `body` will write, about; counted against the limit of what may wait.
    ///   - yields: on a full disk, calls that yield are failed first, so that outcomes still find room.
    ///   - isLast: later calls are refused as `closed`.
    func perform<Value: Sendable>(
        bytes: Int = 0, yields: Bool = false, isLast: Bool = false, _ body: @escaping Body<Value>
    ) async throws(QueueError) -> Value {
        let result: Result<Value, QueueError> = await withCheckedContinuation { continuation in
            let call = Call(
                bytes: bytes, yields: yields,
                run: { db, state in
                    let value = try body(db, &state)
                    return { continuation.resume(returning: .success(value)) }
                },
                fail: { continuation.resume(returning: .failure($0)) }
            )
            submit(call, isLast: isLast)
        }
        return try result.get()
    }

    /// Refuses further calls and serves those that wait; returns when `last` has run after them.
    ///
    /// - Throws: `closed` when it was closed before.
    func close(after last: @escaping Body<Void>) async throws(QueueError) {
        try await perform(isLast: true, last)
    }

    /// Refuses all writing from now on if the database is no longer ours or no longer there.
    func examine() {
        if let error = fence.check() { pendingWrites.withLock { $0.broken = $0.broken ?? error } }
    }

    private func submit(_ call: Call, isLast: Bool) {
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
                commit(calls, db, &state)
                checkpointer.wrote(bytes: calls.reduce(0) { $0 + $1.bytes }, calls: calls.count)
                guard pendingWrites.withLock({ $0.broken }) == nil else { continue }
                if let error = fence.check()
                    ?? checkpointer.checkpoint(db, isIdle: pendingWrites.withLock { $0.isEmpty })
                {
                    pendingWrites.withLock { $0.broken = error }
                }
            }
        }
    }

    private func commit(_ calls: [Call], _ db: Database, _ state: inout QueueState) {
        if let error = pendingWrites.withLock({ $0.broken }) {
            for call in calls { call.fail(error) }
            return
        }
        let yielding = calls.reduce(0) { $1.yields ? $0 + $1.bytes : $0 }
        if yielding > 0, !checkpointer.hasCapacity(for: yielding) {
            failed(calls, Failure(error: .full("the disk has too little room left")), db, &state)
            return
        }
        do {
            for deliver in try transact(calls, db, &state) { deliver() }
        } catch {
            failed(calls, error, db, &state)
        }
    }

    private func failed(_ calls: [Call], _ failure: Failure, _ db: Database, _ state: inout QueueState) {
        switch failure.error {
        case .full(let why):
            checkpointer.forceShutdown()
            let patient = calls.filter { !$0.yields }
            let yielding = calls.filter(\.yields)
            for call in yielding { call.fail(.full(why)) }
            if yielding.isEmpty {
                for call in patient { call.fail(.full(why)) }
            } else if !patient.isEmpty {
                commit(patient, db, &state)
            }
        case .broken(let why):
            pendingWrites.withLock { $0.broken = failure.error }
            // A commit whose sync failed lies in the log all the same: recovery at the next start may find it.
            let error = failure.isCommitInDoubt ? .unavailable(why, isOutcomeKnown: false) : failure.error
            for call in calls { call.fail(error) }
        case .unavailable, .closed:
            for call in calls { call.fail(failure.error) }
        }
    }

    /// A transaction that came to nothing, as far as is known.
    private struct Failure: Error {
        var error: QueueError
        /// It failed in COMMIT, not before.
        var isCommitInDoubt = false
    }

    /// Runs all calls in one transaction; if one of them fails, once more with a savepoint around each, so that its
    /// failure leaves its neighbours alone. Failures are rare and savepoints are not free.
    ///
    /// - Returns: what to tell the callers.
    /// - Throws: nothing of it happened, unless the commit is in doubt.
    private func transact(
        _ calls: [Call], _ db: Database, _ state: inout QueueState
    ) throws(Failure) -> [@Sendable () -> Void] {
        do {
            return try transact(db, &state) { db, state in
                try calls.map { try $0.run(db, &state) }
            }
        } catch {
            guard case .unavailable = error.error, calls.count > 1 else { throw error }
            return try transact(db, &state) { db, state in
                try calls.map { try isolate($0, db, &state) }
            }
        }
    }

    private func transact(
        _ db: Database, _ state: inout QueueState,
        _ body: (Database, inout QueueState) throws -> [@Sendable () -> Void]
    ) throws(Failure) -> [@Sendable () -> Void] {
        let start = state.mark
        var isCommitting = false
        do {
            try db.cachedStatement(sql: "BEGIN IMMEDIATE").execute()
            if let error = fence.check() { throw error }
            let deliveries = try body(db, &state)
            isCommitting = true
            try db.cachedStatement(sql: "COMMIT").execute()
            // Nobody may be told of a commit that the owner of the database does not see.
            if let error = fence.check() { throw error }
            state.commit()
            counters.withLock {
                $0.commits += 1
                $0.calls += deliveries.count
            }
            return deliveries
        } catch {
            // A failed roll-back means that SQLite has rolled back by itself.
            if db.isInsideTransaction { try? db.rollback() }
            state.rollBack(to: start)
            state.commit()
            throw Failure(error: error.queueError, isCommitInDoubt: isCommitting)
        }
    }

    /// - Throws: the whole transaction is lost.
    private func isolate(_ call: Call, _ db: Database, _ state: inout QueueState) throws -> @Sendable () -> Void {
        let before = state.mark
        try db.cachedStatement(sql: "SAVEPOINT call").execute()
        do {
            let delivery = try call.run(db, &state)
            try db.cachedStatement(sql: "RELEASE call").execute()
            return delivery
        } catch {
            guard case .unavailable = error.queueError, db.isInsideTransaction else { throw error }
            let failure = error.queueError
            try db.cachedStatement(sql: "ROLLBACK TO call").execute()
            try db.cachedStatement(sql: "RELEASE call").execute()
            state.rollBack(to: before)
            return { call.fail(failure) }
        }
    }
}

/// One call that waits for its transaction.
struct Call: Sendable {
    var bytes: Int
    var yields: Bool
    var run: @Sendable (Database, inout QueueState) throws -> @Sendable () -> Void
    var fail: @Sendable (QueueError) -> Void
}

/// Counters since the database was opened.
package struct SQLiteStatistics: Sendable, Equatable {
    /// Transactions; each that wrote anything cost one sync of the disk.
    package var commits = 0
    /// Calls that these served.
    package var calls = 0
    /// Calls that no longer wait, those whose transaction is under way or failed included.
    package var startedCalls = 0
    /// Calls that wait for their transaction at this moment.
    package var waitingCalls = 0
}
