#if Postgres
package import PostgresLink

/// Brings a database to a version of the schema, and reports which version it has.
///
/// Instances that start concurrently may all migrate: each step runs under an advisory lock and checks the version that
/// it starts from in its own transaction.
package struct PostgresMigrator: Sendable {
    private let connection: PostgresConnection
    private let schema: String
    private let migrations: [PostgresMigration]
    private let lockTimeoutMilliseconds: Int64

    /// - Parameters:
    ///   - schema: lower-case letters, digits and `_`.
    ///   - lockTimeout: how long a migration waits for a table. The calls of all instances wait behind it, so it is
    ///     short, and the migration is repeated a few times instead.
    /// - Precondition: the migrations are numbered from 1.
    package init(
        _ connection: PostgresConnection, schema: String = "godwit",
        migrations: [PostgresMigration] = PostgresSchema.migrations, lockTimeout: Duration = .seconds(2)
    ) {
        lockTimeoutMilliseconds = max(1, Int64(lockTimeout / .milliseconds(1)))
        precondition(
            schema.wholeMatch(of: /[a-z_][a-z0-9_]{0,40}/) != nil, "the schema '\(schema)' needs a name without quotes")
        precondition(
            migrations.map(\.version) == migrations.indices.map { Int32($0 + 1) }, "migrations are numbered from 1")
        self.connection = connection
        self.schema = schema
        self.migrations = migrations
    }

    private var known: Int32 { Int32(migrations.count) }

    /// What the database is to this program.
    package func state() async throws(PostgresError) -> PostgresSchemaState {
        let exists: Bool = try await connection.run(
            statement("SELECT to_regclass('\(schema).meta') IS NOT NULL")
        ).value(0, 0)
        guard exists else { return .empty }
        let rows = try await connection.run(statement("SELECT version, reads_min FROM \(schema).meta"))
        guard rows.count == 1 else {
            throw PostgresError(.invalid, "\(schema).meta has \(rows.count) rows instead of one")
        }
        return PostgresSchemaState(found: try rows.value(0, 0), readsMin: try rows.value(0, 1), known: known)
    }

    /// Executes the missing migrations, each in a transaction of its own.
    ///
    /// - Parameter timeout: for each of them, with its wait for another instance that migrates.
    /// - Returns: the versions that this call has reached, none if the database was current or newer.
    /// - Throws: `invalid` for a database that this program must not use. Migrations before the failed one stay.
    @discardableResult
    package func migrate(within timeout: Duration = .seconds(600)) async throws(PostgresError) -> [Int32] {
        var reached: [Int32] = []
        var failures = 0
        while true {
            let found: Int32
            switch try await state() {
            case .current, .newer: return reached
            case .unreadable(let found, let known, let readsMin):
                let state = PostgresSchemaState.unreadable(found: found, known: known, readsMin: readsMin)
                throw PostgresError(.invalid, state.description)
            case .empty: found = 0
            case .older(let version, _): found = version
            }
            do {
                try await connection.transaction(step(from: found), within: timeout)
                reached.append(found + 1)
            } catch {
                // Another instance was faster, or the outcome of the commit is unknown: the version shows it.
                guard error.sqlState == Self.otherVersion || error.isTransient, failures < 5 else { throw error }
                failures += 1
            }
        }
    }

    /// Lets `role` do what an instance does, and nothing that only an owner needs. It may be repeated, and must be
    /// after a migration that added a table.
    ///
    /// - Precondition: `role` has no quotes in its name.
    package func grant(to role: String) async throws(PostgresError) {
        precondition(!role.contains("\""), "the role has a quote in its name")
        try await connection.transaction(
            [
                "GRANT USAGE ON SCHEMA \(schema) TO \"\(role)\"",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \(schema) TO \"\(role)\"",
                "REVOKE INSERT, UPDATE, DELETE ON \(schema).meta FROM \"\(role)\"",
                "GRANT SELECT ON ALL SEQUENCES IN SCHEMA \(schema) TO \"\(role)\"",
                "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA \(schema) TO \"\(role)\"",
            ].map { PostgresCall(statement($0)) })
    }

    /// Not of the SQL standard: raised by a step that starts from another version.
    private static let otherVersion = "GW001"
    /// "gdwt", the first key of all advisory locks of Godwit.
    private static let lockClass = 0x6764_7774

    private func step(from found: Int32) -> [PostgresCall] {
        let migration = migrations[Int(found)]
        let isOtherVersion =
            found == 0
            ? "to_regclass('\(schema).meta') IS NOT NULL"
            : "(SELECT version FROM \(schema).meta) <> \(found)"
        let bookkeeping =
            found == 0
            ? [
                "CREATE SCHEMA IF NOT EXISTS \(schema)",
                """
                CREATE TABLE \(schema).meta (
                    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
                    version int NOT NULL,
                    reads_min int NOT NULL
                )
                """,
                "INSERT INTO \(schema).meta (version, reads_min) VALUES (1, \(migration.readsMin))",
            ] : ["UPDATE \(schema).meta SET version = \(migration.version), reads_min = \(migration.readsMin)"]
        let statements =
            [
                "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)",
                "SELECT pg_advisory_xact_lock(\(Self.lockClass), hashtext('\(schema)'))",
                // A statement of its own: it must see what was committed before the lock was given.
                """
                DO $$ BEGIN IF \(isOtherVersion) THEN
                RAISE EXCEPTION 'another instance has migrated' USING ERRCODE = '\(Self.otherVersion)';
                END IF; END $$
                """,
                "SELECT set_config('lock_timeout', '\(lockTimeoutMilliseconds)', true)",
            ] + bookkeeping + ["SELECT set_config('search_path', '\(schema)', true)"] + migration.statements
        return statements.map { PostgresCall(statement($0)) }
    }

    private func statement(_ sql: String) -> PostgresStatement { PostgresStatement(unprepared: sql) }
}
#endif
