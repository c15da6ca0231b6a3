import Foundation
import GRDB
import PushModel
import PushStore

/// What the writer knows in memory beside the database: who holds which batch until when, how much waits, whose turn
/// it is.
///
/// Only one process has the file, so leases end with the process and need not be written.
struct QueueState: Sendable {
    struct Held: Sendable {
        var batch: QueuedBatch
        /// By the monotonic clock.
        var deadline: Duration
        /// Of a batch that was claimed by its append: what of it can be collapsed once it waits.
        var collapsible: [CollapseKey] = []
    }

    struct Count: Sendable, Equatable {
        var batches = 0
        var pushes = 0
    }

    /// Bounded by what dispatch claims.
    var held = TransactionalDictionary<BatchID, Held>()
    /// Bounded by the configured apps. A place without batches has no entry.
    var counts = TransactionalDictionary<AppLane, Count>()
    /// Since when; bounded by the configured apps.
    var paused = TransactionalDictionary<AppID, WallTime>()
    /// The key of the next batch; keys are never used twice while a row bears them.
    var nextKey: Int64 = 1
    /// No lease runs out before.
    var earliestDeadline: Duration = .seconds(Int64.max)
    /// Whose turn it is in each lane. A roll-back does not take turns back: that costs nobody more than a turn.
    var turns = Lane.allCases.map { _ in DeficitRoundRobin<AppID>(quantum: Self.quantum) }
    /// The app whose suspects were tried last.
    var lastQuarantined: AppID?
    /// Whether anything may be in `collapses`; never taken back while the process lives.
    var mayCollapse = false
    /// What was settled since the start, and by writes that are not committed yet.
    var outcomes = SettledCounts()
    /// When the clock was found to have been set back; nil when nothing waits for it any more.
    var setBackFound: WallTime?

    /// Pushes that an app may take in a turn: half of a full batch, so a full batch waits for its second turn and
    /// single pushes of other apps go in between.
    static let quantum = 500

    struct Mark {
        fileprivate var held: Int
        fileprivate var counts: Int
        fileprivate var paused: Int
        fileprivate var outcomes: Int
    }

    var mark: Mark { Mark(held: held.mark, counts: counts.mark, paused: paused.mark, outcomes: outcomes.mark) }

    mutating func rollBack(to mark: Mark) {
        held.rollBack(to: mark.held)
        counts.rollBack(to: mark.counts)
        paused.rollBack(to: mark.paused)
        outcomes.rollBack(to: mark.outcomes)
        // A lease that the roll-back brought back may run out earlier than what is noted.
        earliestDeadline = .zero
    }

    mutating func commit() {
        held.commit()
        counts.commit()
        paused.commit()
        outcomes.commit()
    }

    mutating func hold(_ held: Held) {
        self.held[held.batch.id] = held
        earliestDeadline = min(earliestDeadline, held.deadline)
    }

    mutating func change(_ place: AppLane, batches: Int = 0, pushes: Int) {
        var count = counts[place] ?? Count()
        count.batches += batches
        count.pushes += pushes
        counts[place] = count == Count() ? nil : count
    }

    /// The apps of a lane that a claim may take from, ascending.
    func claimableApps(in lane: Lane, _ request: ClaimRequest) -> [AppID] {
        counts.current.keys.lazy.filter { $0.lane == lane && isClaimable($0, request) }.map(\.app).sorted()
    }

    private func isClaimable(_ place: AppLane, _ request: ClaimRequest) -> Bool {
        !request.excludedApps.contains(place.app) && !request.excludedLanes.contains(place)
            && paused.current[place.app] == nil
    }
}

extension QueueState {
    /// A lease ends that nobody gave back. One without news counts against its batch, and against the push that was
    /// handed out alone.
    static let endLeases = """
        UPDATE batches SET leased = 0, crashes = crashes + (leased = 1),
            alone_crashes = alone_crashes + (leased = 1 AND alone_index IS NOT NULL)
        """

    /// Takes over a queue that another process has left, however it ended: ends its leases, counts what waits.
    static func recover(_ db: Database) throws -> QueueState {
        var state = QueueState()
        try db.inTransaction(.immediate) {
            try db.execute(sql: endLeases + " WHERE leased <> 0")
            return .commit
        }
        let rows = try Row.fetchCursor(
            db, sql: "SELECT lane, app, count(*), sum(unsettled) FROM batches GROUP BY lane, app"
        )
        while let row = try rows.next() {
            state.change(
                AppLane(app: AppID(row[1]), lane: try Lane(stored: row[0])), batches: row[2], pushes: row[3]
            )
        }
        let pauses = try Row.fetchCursor(db, sql: "SELECT app, since FROM pauses")
        while let row = try pauses.next() { state.paused[AppID(row[0])] = WallTime(milliseconds: row[1]) }
        state.mayCollapse = try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM collapses)") ?? false
        // A finished batch has progress rows, an unfinished one is in the queue: together they show every key in use.
        let inQueue = try Int64.fetchOne(db, sql: "SELECT max(key) FROM batches") ?? 0
        let finished =
            try Int64.fetchOne(db, sql: "SELECT max(key) FROM progress").map { $0 >> ProgressKey.rowBits } ?? 0
        state.nextKey = max(inQueue, finished) + 1
        state.commit()
        return state
    }
}
