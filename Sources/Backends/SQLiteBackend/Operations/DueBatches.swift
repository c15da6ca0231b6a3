import Foundation
import GRDB
import PushModel
import PushStore

/// The due, unclaimed batches of one app and lane: the quarantined ones or the others. Oldest first, read in small
/// pages.
struct DueBatches {
    private let appLane: AppLane
    private let until: WallTime
    private let query: String
    /// Doubles with each page: a claim takes few batches of each app if many apps have some, and all from one
    /// otherwise.
    private var pageSize = 2
    /// Batches of the current page that were not returned yet, the oldest last.
    private var page: [QueuedBatch] = []
    private var isExhausted = false
    private var lastDue = Int64.min
    private var lastKey = Int64.min

    enum Kind {
        case ordinary
        case quarantined
        /// Quarantined, and to be tried one push at a time.
        case isolated
    }

    init(appLane: AppLane, until: WallTime, _ kind: Kind = .ordinary) {
        self.appLane = appLane
        self.until = until
        switch kind {
        case .ordinary: query = Self.ordinaryQuery
        case .quarantined: query = Self.quarantinedQuery
        case .isolated: query = Self.isolatedQuery
        }
    }

    mutating func first(_ db: Database) throws -> QueuedBatch? {
        if page.isEmpty { try readPage(db) }
        return page.last
    }

    mutating func popFirst() -> QueuedBatch? { page.popLast() }

    private mutating func readPage(_ db: Database) throws {
        guard !isExhausted else { return }
        let rows = try Row.fetchAll(
            db.cachedStatement(sql: query),
            arguments: [
                Int(appLane.lane.rawValue), appLane.app.name, Int(appLane.appEnvironment.environment.code),
                until.milliseconds, lastDue, lastKey, pageSize,
            ]
        )
        isExhausted = rows.count < pageSize
        pageSize = min(2 * pageSize, 16)
        page = try rows.map(QueuedBatch.init).reversed()
        if let newest = page.first { (lastDue, lastKey) = (newest.due.milliseconds, newest.key) }
    }

    /// Uses the index `batches_claimable`.
    private static let ordinaryQuery = query(where: "crashes < \(crashesMax)")
    /// Uses the index `batches_quarantined`, whose condition the query has to repeat.
    private static let quarantinedQuery = query(where: "crashes >= \(crashesMax) AND crashes = \(crashesMax)")
    private static let isolatedQuery = query(where: "crashes >= \(crashesMax) AND crashes > \(crashesMax)")
    private static let crashesMax = PoisonLimits.redeliveriesBeforeQuarantine

    private static func query(where crashes: String) -> String {
        """
        SELECT \(QueuedBatch.columns) FROM batches
        WHERE leased = 0 AND \(crashes) AND lane = ? AND app = ? AND environment = ? AND due_at <= ?
            AND (due_at, key) > (?, ?)
        ORDER BY due_at, key LIMIT ?
        """
    }
}

enum QuarantinedBatches {
    /// Whether any quarantined batch waits.
    static func exist(_ db: Database) throws -> Bool {
        let statement = try db.cachedStatement(
            sql: """
                SELECT EXISTS (
                    SELECT 1 FROM batches INDEXED BY batches_quarantined
                    WHERE leased = 0 AND crashes >= \(PoisonLimits.redeliveriesBeforeQuarantine)
                )
                """
        )
        return try Bool.fetchOne(statement) ?? false
    }
}
