import GRDB
import PushModel

/// The tables, and how a database comes to have them.
///
/// `PRAGMA user_version` counts the migrations that ran; `PRAGMA application_id` tells our databases from others.
enum Schema {
    /// "gdwt".
    static let applicationID = 0x6764_7774
    static let version = migrations(at: WallTime(milliseconds: 0)).count

    /// Only ever appended to.
    ///
    /// - `records`: every batch that was accepted, also after it is finished: where look-ups start. `ended_at` is when
    ///   it left the queue; what is kept for a time is kept from then on.
    /// - `batches`: what is in the queue. Small rows; SQLite writes a changed row anew, so the body lies elsewhere.
    ///   `since` is the moment of the batch's last news, or of its acceptance: by it a clock that was set back is noticed.
    ///   `leased` is 0, 1 for a lease without news, 2 for one under which news was recorded; `crashes` counts the
    ///   leases that ended as 1 because their holder died; `alone_…` is about the push that was last handed out alone.
    /// - `bodies`: `godwit.v1.Batch`, until the batch is finished and none of its dead letters is left.
    /// - `progress`: `godwit.v1.Progress`, a row a write. The key is the batch's key × 2^20 + the number of the row, so
    ///   the rows of a batch lie together and new rows at the end.
    /// - `dead_letters`: pushes that were given up, by push id.
    /// - `collapses`: pushes with a collapse id in batches that wait, or waited before they were claimed. `high` and
    ///   `low` are 128 bits of a digest of app, device and collapse id.
    /// - `idempotency`: what was answered to requests with an idempotency key.
    private static func migrations(at now: WallTime) -> [String] {
        [first, second, third(at: now)]
    }

    private static let first = """
        CREATE TABLE records (
            id BLOB NOT NULL PRIMARY KEY,
            key INTEGER NOT NULL,
            app TEXT NOT NULL,
            lane INTEGER NOT NULL,
            accepted_at INTEGER NOT NULL,
            count INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE batches (
            key INTEGER NOT NULL PRIMARY KEY,
            id BLOB NOT NULL,
            app TEXT NOT NULL,
            lane INTEGER NOT NULL,
            count INTEGER NOT NULL,
            unsettled INTEGER NOT NULL,
            accepted_at INTEGER NOT NULL,
            not_before INTEGER,
            due_at INTEGER NOT NULL,
            leased INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            progress_rows INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX batches_claimable ON batches (lane, app, due_at) WHERE leased = 0;
        CREATE TABLE bodies (
            key INTEGER NOT NULL PRIMARY KEY,
            body BLOB NOT NULL
        ) STRICT;
        CREATE TABLE progress (
            key INTEGER NOT NULL PRIMARY KEY,
            body BLOB NOT NULL
        ) STRICT;
        """

    // The 3 is `PoisonLimits.redeliveriesBeforeQuarantine`: an index serves only queries that say the same.
    private static let second = """
        ALTER TABLE records ADD COLUMN last_epoch INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE batches ADD COLUMN request TEXT;
        ALTER TABLE batches ADD COLUMN marks INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE batches ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE batches ADD COLUMN alone_index INTEGER;
        ALTER TABLE batches ADD COLUMN alone_crashes INTEGER NOT NULL DEFAULT 0;
        DROP INDEX batches_claimable;
        CREATE INDEX batches_claimable ON batches (lane, app, due_at) WHERE leased = 0 AND crashes < 3;
        CREATE INDEX batches_suspected ON batches (lane, app, due_at) WHERE leased = 0 AND crashes >= 3;
        CREATE INDEX batches_by_request ON batches (request) WHERE request IS NOT NULL;
        CREATE TABLE dead_letters (
            id BLOB NOT NULL PRIMARY KEY,
            key INTEGER NOT NULL,
            app TEXT NOT NULL,
            lane INTEGER NOT NULL,
            code INTEGER NOT NULL,
            status INTEGER NOT NULL,
            reason TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            accepted_at INTEGER NOT NULL,
            died_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX dead_letters_by_app ON dead_letters (app, id);
        CREATE TABLE collapses (
            high INTEGER NOT NULL,
            low INTEGER NOT NULL,
            key INTEGER NOT NULL,
            push INTEGER NOT NULL,
            PRIMARY KEY (high, low, key, push)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX collapses_by_batch ON collapses (key, push);
        CREATE TABLE pauses (
            app TEXT NOT NULL PRIMARY KEY,
            since INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE idempotency (
            key BLOB NOT NULL UNIQUE,
            fingerprint BLOB NOT NULL,
            body BLOB NOT NULL,
            at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX idempotency_by_age ON idempotency (at);
        """

    /// When a batch ended was not written before: those that are finished count as ended now, so that nothing is
    /// forgotten too early.
    private static func third(at now: WallTime) -> String {
        """
        ALTER TABLE records ADD COLUMN ended_at INTEGER;
        UPDATE records SET ended_at = \(now.milliseconds)
            WHERE NOT EXISTS (SELECT 1 FROM batches WHERE batches.key = records.key);
        CREATE INDEX records_ended ON records (ended_at) WHERE ended_at IS NOT NULL;
        ALTER TABLE batches ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
        UPDATE batches SET since = accepted_at;
        CREATE INDEX batches_since ON batches (since) WHERE leased = 0;
        """
    }

    /// Refuses what is not ours or too new. Changes nothing.
    static func check(_ db: Database, path: String) throws {
        let found = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        let application = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let isEmpty = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") == 0
        guard isEmpty || application == applicationID else { throw SQLiteOpenError.foreignDatabase(path) }
        guard found <= version else {
            throw SQLiteOpenError.newerSchema(path, found: found, supported: version)
        }
    }

    /// - Parameter now: what a migration takes for moments that older versions did not write.
    static func migrate(_ db: Database, at now: WallTime) throws {
        let found = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        let migrations = migrations(at: now)
        for next in found..<version {
            try db.inTransaction(.immediate) {
                try db.execute(sql: migrations[next])
                try db.execute(sql: "PRAGMA application_id = \(applicationID)")
                try db.execute(sql: "PRAGMA user_version = \(next + 1)")
                return .commit
            }
        }
    }
}
