import Foundation
import GRDB
import PushModel
import PushStore

/// The tables and their migrations. Described column by column in `docs/reference/schema.md`.
///
/// `PRAGMA user_version` counts the migrations that ran; `PRAGMA application_id` identifies databases of Godwit.
enum Schema {
    /// "gdwt".
    static let applicationID = 0x6764_7774
    /// Databases of versions below were made before the first release, with other stored forms.
    static let firstVersion = 4
    static let version = firstVersion + migrations.count - 1

    /// Append only.
    ///
    /// - `records`: every accepted batch, also after it is finished. Lookups start here. Retention counts from
    ///   `ended_at`, when the batch left the queue. `states`, `codes` and `details` are written then, for searches.
    /// - `batches`: the queue. Rows are small, because SQLite rewrites a changed row; the body is in another table.
    ///   `accepted_at` is when pushes without a due time are due; a clock that moves backwards moves it. `first_due` and
    ///   `last_due` are null if no push has a due time; if they differ, each push's time is in the body. `since` is when
    ///   the batch was last updated, or accepted: it reveals a clock that moved backwards. `leased` is 0, 1 for a lease
    ///   without an update, 2 for a lease with one. `crashes` counts the leases that ended as 1 with a crash.
    ///   `isolated_…` describe the push that was last claimed alone. `deadline` is a lower bound of the time when its
    ///   first unsettled push expires; 0 if that is not known.
    /// - `bodies`: `godwit.v1.Batch`, until the batch is finished and has no dead letter.
    /// - `progress`: `godwit.v1.Progress`, one row per write. The key is the batch's key × 2^20 + the number of the
    ///   row, so the rows of a batch are adjacent, and new rows are at the end of the table. From row 2^19 on, they are
    ///   `godwit.v1.RecordDetails`: the parts of `records.details` after the first.
    /// - `dead_letters`: pushes that were given up, by push id.
    /// - `collapses`: pushes with a collapse id in batches that wait, or waited before they were claimed. `high` and
    ///   `low` are 128 bits of a digest of app, environment, device token, topic, push type and collapse id.
    /// - `idempotency`: stored responses to requests with an idempotency key.
    /// - `outbox`: `godwit.v1.OutboxEntry`, written with the outcomes; `position` is given after that commit. Nothing
    ///   writes it yet.
    /// - `settings`: values of this database that are made once.
    private static let migrations = [first, deadlines]

    // The 3 is `PoisonLimits.redeliveriesBeforeQuarantine`: a partial index applies only to queries with the same
    // condition.
    private static let first = """
        CREATE TABLE records (
            id BLOB NOT NULL PRIMARY KEY,
            key INTEGER NOT NULL,
            app TEXT NOT NULL,
            environment INTEGER NOT NULL,
            lane INTEGER NOT NULL,
            accepted_at INTEGER NOT NULL,
            count INTEGER NOT NULL,
            last_epoch INTEGER NOT NULL DEFAULT 0,
            ended_at INTEGER,
            states INTEGER NOT NULL DEFAULT 0,
            codes BLOB,
            details BLOB
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX records_ended ON records (ended_at) WHERE ended_at IS NOT NULL;
        CREATE TABLE batches (
            key INTEGER NOT NULL PRIMARY KEY,
            id BLOB NOT NULL,
            app TEXT NOT NULL,
            environment INTEGER NOT NULL,
            lane INTEGER NOT NULL,
            count INTEGER NOT NULL,
            unsettled INTEGER NOT NULL,
            accepted_at INTEGER NOT NULL,
            first_due INTEGER,
            last_due INTEGER,
            due_at INTEGER NOT NULL,
            since INTEGER NOT NULL,
            leased INTEGER NOT NULL,
            epoch INTEGER NOT NULL,
            progress_rows INTEGER NOT NULL,
            client TEXT,
            request TEXT,
            marks INTEGER NOT NULL DEFAULT 0,
            crashes INTEGER NOT NULL DEFAULT 0,
            isolated_index INTEGER,
            isolated_crashes INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX batches_claimable ON batches (lane, app, environment, due_at) WHERE leased = 0 AND crashes < 3;
        CREATE INDEX batches_quarantined ON batches (lane, app, environment, due_at) WHERE leased = 0 AND crashes >= 3;
        CREATE INDEX batches_by_request ON batches (request) WHERE request IS NOT NULL;
        CREATE INDEX batches_since ON batches (since) WHERE leased = 0;
        CREATE TABLE bodies (
            key INTEGER NOT NULL PRIMARY KEY,
            body BLOB NOT NULL
        ) STRICT;
        CREATE TABLE progress (
            key INTEGER NOT NULL PRIMARY KEY,
            body BLOB NOT NULL
        ) STRICT;
        CREATE TABLE dead_letters (
            id BLOB NOT NULL PRIMARY KEY,
            key INTEGER NOT NULL,
            app TEXT NOT NULL,
            environment INTEGER NOT NULL,
            lane INTEGER NOT NULL,
            code INTEGER NOT NULL,
            status INTEGER NOT NULL,
            reason TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            accepted_at INTEGER NOT NULL,
            given_up_at INTEGER NOT NULL
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
        CREATE TABLE outbox (
            key INTEGER NOT NULL PRIMARY KEY,
            position INTEGER,
            app TEXT NOT NULL,
            at INTEGER NOT NULL,
            body BLOB NOT NULL
        ) STRICT;
        CREATE INDEX outbox_without_position ON outbox (key) WHERE position IS NULL;
        CREATE UNIQUE INDEX outbox_by_position ON outbox (position) WHERE position IS NOT NULL;
        CREATE TABLE settings (
            name TEXT NOT NULL PRIMARY KEY,
            value BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        """

    private static let deadlines = """
        ALTER TABLE batches ADD COLUMN deadline INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX batches_deadline ON batches (deadline) WHERE leased = 0;
        """

    /// Refuses databases of other programs, of newer versions, and of versions before the first release. Changes
    /// nothing.
    static func check(_ db: Database, path: String) throws {
        let found = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        let application = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let isEmpty = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") == 0
        guard isEmpty || application == applicationID else { throw SQLiteOpenError.foreignDatabase(path) }
        guard found <= version else {
            throw SQLiteOpenError.newerSchema(path, found: found, supported: version)
        }
        guard found == 0 || found >= firstVersion else { throw SQLiteOpenError.unreleasedSchema(path, found: found) }
    }

    static func migrate(_ db: Database) throws {
        let found = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        for next in max(found + 1, firstVersion)..<version + 1 {
            try db.inTransaction(.immediate) {
                try db.execute(sql: migrations[next - firstVersion])
                try db.execute(sql: "PRAGMA application_id = \(applicationID)")
                try db.execute(sql: "PRAGMA user_version = \(next)")
                return .commit
            }
        }
    }
}

/// Values of a database that are made once: table `settings`.
enum Settings {
    /// The key of the hashes of device tokens; makes one for a database that has none.
    static func tokenHashKey(_ db: Database) throws -> TokenHashKey {
        let name = "token_hash_key"
        let stored = try Data.fetchOne(db, sql: "SELECT value FROM settings WHERE name = ?", arguments: [name])
        if let stored {
            guard let key = TokenHashKey(bytes: stored) else {
                throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a \(name) of \(stored.count) bytes")
            }
            return key
        }
        let key = TokenHashKey.random()
        try db.execute(sql: "INSERT INTO settings (name, value) VALUES (?, ?)", arguments: [name, key.bytes])
        return key
    }
}
