import APNSWire
import Foundation
import GRDB
import PushModel
import PushStore

/// The writer's in-memory state: leases, counts of waiting pushes, and the turns of the apps.
///
/// One process owns the file, so leases end with the process and their deadlines need not be stored.
struct QueueState: Sendable {
    struct Held: Sendable {
        var batch: QueuedBatch
        /// By the monotonic clock.
        var deadline: Duration
        /// The number of the last settlement under the lease.
        var settlementNumber: UInt64 = 0
        /// Of a batch that was claimed by its append: the collapse keys to insert once it waits.
        var collapsible: [CollapseKey] = []
    }

    struct Count: Sendable, Equatable {
        var batches = 0
        var pushes = 0
    }

    let tokenHashKey: TokenHashKey
    /// Bounded by the capacity of dispatch.
    var held = TransactionalDictionary<BatchID, Held>()
    /// Bounded by the configured apps. An app and lane without batches has no entry.
    var counts = TransactionalDictionary<AppLane, Count>()
    /// The start of each pause; bounded by the configured apps.
    var paused = TransactionalDictionary<AppID, WallTime>()
    /// The key of the next batch. A key is not reused while any row has it.
    var nextKey: Int64 = 1
    /// No lease expires earlier.
    var earliestDeadline: Duration = .seconds(Int64.max)
    /// The turns of the apps, by lane. A rollback does not restore them: that costs an app at most one turn.
    var turns = Lane.allCases.map { _ in DeficitRoundRobin<AppEnvironment>(quantum: Self.quantum) }
    /// The app whose quarantined batches were claimed last.
    var lastQuarantined: AppEnvironment?
    /// Whether `collapses` may have rows; never reset.
    var mayCollapse = false
    /// Pushes settled since the start, including those of uncommitted writes.
    var outcomes = SettledCounts()
    /// The stored responses to idempotent requests.
    var responses = StoredResponseCounts()

    /// The pushes of one turn: half of a full batch, so a full batch waits for its app's second turn, and single pushes
    /// of other apps are claimed in between.
    static let quantum = 500

    init(tokenHashKey: TokenHashKey) {
        self.tokenHashKey = tokenHashKey
    }

    struct Savepoint {
        fileprivate var held: Int
        fileprivate var counts: Int
        fileprivate var paused: Int
        fileprivate var outcomes: Int
        fileprivate var responses: Int
    }

    var savepoint: Savepoint {
        Savepoint(
            held: held.savepoint, counts: counts.savepoint, paused: paused.savepoint, outcomes: outcomes.savepoint,
            responses: responses.savepoint
        )
    }

    mutating func rollBack(to savepoint: Savepoint) {
        held.rollBack(to: savepoint.held)
        counts.rollBack(to: savepoint.counts)
        paused.rollBack(to: savepoint.paused)
        outcomes.rollBack(to: savepoint.outcomes)
        responses.rollBack(to: savepoint.responses)
        // A restored lease may expire before the noted deadline.
        earliestDeadline = .zero
    }

    mutating func commit() {
        held.commit()
        counts.commit()
        paused.commit()
        outcomes.commit()
        responses.commit()
    }

    mutating func hold(_ held: Held) {
        self.held[held.batch.id] = held
        earliestDeadline = min(earliestDeadline, held.deadline)
    }

    mutating func adjustCounts(of appLane: AppLane, batches: Int = 0, pushes: Int) {
        var count = counts[appLane] ?? Count()
        count.batches += batches
        count.pushes += pushes
        counts[appLane] = count == Count() ? nil : count
    }

    /// The apps of a lane from which the request may claim, ascending.
    func claimableApps(in lane: Lane, _ request: ClaimRequest) -> [AppEnvironment] {
        counts.current.keys.lazy.filter { $0.lane == lane && isClaimable($0, request) }.map(\.appEnvironment).sorted()
    }

    private func isClaimable(_ appLane: AppLane, _ request: ClaimRequest) -> Bool {
        !request.excludedApps.contains(appLane.appEnvironment) && !request.excludedLanes.contains(appLane)
            && paused.current[appLane.app] == nil
    }
}

extension QueueState {
    /// Ends a lease that was not released and whose holder had begun to send. Without an update it counts as a crash over
    /// its batch, and over the push that was claimed alone.
    static let endBegunLease = """
        UPDATE batches SET leased = 0, crashes = crashes + (leased = 1),
            isolated_crashes = isolated_crashes + (leased = 1 AND isolated_index IS NOT NULL) WHERE key = ?
        """
    /// Ends a lease whose holder had not begun to send: its end shows nothing about its pushes.
    static let endUnusedLease = "UPDATE batches SET leased = 0 WHERE key = ?"

    /// Rebuilds the indexes of the queue if they contradict its rows: damage would hide batches from claims.
    ///
    /// - Throws: `SQLITE_CORRUPT` if the rows themselves are damaged.
    private static func repairIndexes(_ db: Database) throws {
        let check = "PRAGMA integrity_check(batches)"
        guard try String.fetchAll(db, sql: check) != ["ok"] else { return }
        try db.execute(sql: "REINDEX batches")
        let problems = try String.fetchAll(db, sql: check)
        guard problems == ["ok"] else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: problems.first)
        }
    }

    /// Ends the leases of the previous process, however it ended, and counts what waits.
    static func recover(_ db: Database, after left: LeftMarks) throws -> QueueState {
        try repairIndexes(db)
        var state = QueueState(tokenHashKey: try Settings.tokenHashKey(db))
        try db.inTransaction(.immediate) {
            let leased = try Row.fetchCursor(db, sql: "SELECT key, id, epoch FROM batches WHERE leased = 1")
            var begun: [Int64] = []
            while let row = try leased.next() {
                // A damaged ID must not prevent the start.
                guard let id = BatchID(bytes: row[1] as Data) else { continue }
                if left.hasBegun(Lease(batch: id, epoch: UInt64(bitPattern: row[2]))) { begun.append(row[0]) }
            }
            for key in begun { try db.cachedStatement(sql: endBegunLease).execute(arguments: [key]) }
            try db.execute(sql: "UPDATE batches SET leased = 0 WHERE leased <> 0")
            return .commit
        }
        let rows = try Row.fetchCursor(
            db,
            sql: "SELECT lane, app, environment, count(*), sum(unsettled) FROM batches GROUP BY lane, app, environment"
        )
        while let row = try rows.next() {
            state.adjustCounts(
                of: AppLane(
                    AppEnvironment(AppID(row[1]), try APNSEnvironment(stored: row[2])), lane: try Lane(stored: row[0])
                ), batches: row[3], pushes: row[4]
            )
        }
        let pauses = try Row.fetchCursor(db, sql: "SELECT app, since FROM pauses")
        while let row = try pauses.next() { state.paused[AppID(row[0])] = WallTime(milliseconds: row[1]) }
        state.mayCollapse = try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM collapses)") ?? false
        if let row = try Row.fetchOne(db, sql: "SELECT count(*), sum(length(body)) FROM idempotency") {
            state.responses.add(records: row[0], bytes: row[1] ?? 0)
        }
        // A finished batch has rows in `progress`, an unfinished one is in the queue: together they have all used keys.
        let inQueue = try Int64.fetchOne(db, sql: "SELECT max(key) FROM batches") ?? 0
        let finished =
            try Int64.fetchOne(db, sql: "SELECT max(key) FROM progress").map { $0 >> ProgressKey.rowBits } ?? 0
        state.nextKey = max(inQueue, finished) + 1
        state.commit()
        return state
    }
}
