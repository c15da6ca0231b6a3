import GRDB
import PushModel

/// The tables and their migrations. Described column by column in `docs/reference/schema.md`.
///
/// `PRAGMA user_version` counts the migrations that ran; `PRAGMA application_id` identifies databases of Godwit.
enum Schema {
    /// "gdwt".
    static let applicationID = 0x6764_7774
    static let version = migrations(at: WallTime(milliseconds: 0)).count

    /// Append only.
    ///
    /// - `records`: every accepted batch, also after it is finished. Lookups start here. Retention counts from
    ///   `ended_at`, when the batch left the queue.
    /// - `batches`: the queue. Rows are small, because SQLite rewrites a changed row; the body is in another table.
    ///   `since` is when the batch was last updated, or accepted: it reveals a clock that moved backwards. `leased` is
    ///   0, 1 for a lease without an update, 2 for a lease with one. `crashes` counts the leases that ended as 1 with a
    ///   crash. `alone_…` describe the push that was last claimed alone.
    /// - `bodies`: `godwit.v1.Batch`, until the batch is finished and has no dead letter.
    /// - `progress`: `godwit.v1.Progress`, one row per write. The key is the batch's key × 2^20 + the number of the
    ///   row, so the rows of a batch are adjacent, and new rows are at the end of the table.
    /// - `dead_letters`: pushes that were given up, by push id.
    /// - `collapses`: pushes with a collapse id in batches that wait, or waited before they were claimed. `high` and
    ///   `low` are 128 bits of a digest of app, device token, topic, push type and collapse id.
    /// - `idempotency`: stored responses to requests with an idempotency key.
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

    // The 3 is `PoisonLimits.redeliveriesBeforeQuarantine`: a partial index applies only to queries with the same
    // condition.
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

    /// Older versions did not store when a batch ended. Finished batches count as ended now, so that none is deleted
    /// too early.
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

    /// Refuses databases of other programs and of newer versions. Changes nothing.
    static func check(_ db: Database, path: String) throws {
        let found = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        let application = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let isEmpty = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") == 0
        guard isEmpty || application == applicationID else { throw SQLiteOpenError.foreignDatabase(path) }
        guard found <= version else {
            throw SQLiteOpenError.newerSchema(path, found: found, supported: version)
        }
    }

    /// - Parameter now: the value for times that older versions did not store.
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
