/// The tables of the store on PostgreSQL.
///
/// Times are milliseconds since 1970 by the database's clock, unless they are `timestamptz`. Names are those of the
/// SQLite store (`docs/reference/schema.md`) where both have the same thing.
///
/// - `meta`: one row, see `PostgresMigration`.
/// - `instances`: one row for each start of a process, never reused.
/// - `app_lanes`: small numbers for the hot rows.
/// - `batches`: the queue. `fillfactor` and the choice of indexes keep renewals and settlements within a page: no index
///   has `lease_until`, `unsettled` or `update_no`. `update_no` is the number of the last settlement.
///   `deadline` is a lower bound of the time when its first push expires. `has_update`: the holder recorded something, so
///   its crash does not count against the batch.
/// - `begun`: leases whose holder has begun to send, many in a row. Written before the first request and never waited
///   for, so it is not logged: a crash of the server empties it.
/// - `progress`: updates of batches in the queue; `records`: batches that have ended, with all their updates, a
///   partition for each day of the end, so that retention drops a table. `bodies` of ended batches that have dead
///   letters.
/// - `depth_log`: changes of the depth, folded into `depth`, so that no writer waits for another one's counter.
/// - `control`, `outbox`: logs. `position` is given in a step of its own after the commit: numbers of an identity
///   column become visible out of order, so a reader that remembers one would skip rows.
/// - `settings`: values that are made once.
package enum PostgresSchema {
    /// Append only.
    package static let migrations = [PostgresMigration(version: 1, readsMin: 1, statements: first)]

    // The 3 is `PoisonLimits.redeliveriesBeforeQuarantine`: a partial index applies only to queries with the same
    // condition.
    private static let first = [
        """
        CREATE TABLE instances (
            id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text NOT NULL,
            version text NOT NULL DEFAULT '',
            url text,
            started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            alive_until timestamptz NOT NULL,
            state jsonb
        ) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0)
        """,
        """
        CREATE TABLE app_lanes (
            id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            app text NOT NULL,
            environment smallint NOT NULL,
            lane smallint NOT NULL,
            UNIQUE (app, environment, lane)
        )
        """,
        """
        CREATE TABLE batches (
            id uuid PRIMARY KEY,
            key bigint GENERATED ALWAYS AS IDENTITY,
            accepted_at bigint NOT NULL,
            due_at bigint NOT NULL,
            first_due bigint,
            last_due bigint,
            owner int,
            lease_until timestamptz,
            deadline bigint NOT NULL DEFAULT 0,
            epoch int NOT NULL,
            update_no bigint NOT NULL DEFAULT 0,
            app_lane smallint NOT NULL,
            count smallint NOT NULL,
            unsettled smallint NOT NULL,
            crashes smallint NOT NULL DEFAULT 0,
            isolated_index smallint,
            isolated_crashes smallint NOT NULL DEFAULT 0,
            marks smallint NOT NULL DEFAULT 0,
            has_update boolean NOT NULL DEFAULT false,
            client text,
            request text,
            body bytea NOT NULL
        ) WITH (
            fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
            autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_cost_delay = 0,
            toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000,
            toast.autovacuum_vacuum_cost_delay = 0
        )
        """,
        // A server may be built without lz4: then it compresses with pglz, which takes more of its time.
        """
        DO $$ BEGIN
            ALTER TABLE batches ALTER body SET COMPRESSION lz4;
        EXCEPTION WHEN feature_not_supported THEN NULL;
        END $$
        """,
        "CREATE INDEX batches_claimable ON batches (app_lane, due_at, key) WHERE owner IS NULL AND crashes < 3",
        "CREATE INDEX batches_quarantined ON batches (app_lane, due_at, key) WHERE owner IS NULL AND crashes >= 3",
        "CREATE INDEX batches_held ON batches (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX batches_deadline ON batches (deadline) WHERE owner IS NULL",
        "CREATE INDEX batches_by_request ON batches (request) WHERE request IS NOT NULL",
        """
        CREATE TABLE progress (
            id uuid NOT NULL,
            key bigint GENERATED ALWAYS AS IDENTITY,
            body bytea NOT NULL,
            PRIMARY KEY (id, key)
        )
        """,
        """
        CREATE TABLE records (
            id uuid NOT NULL,
            app_lane smallint NOT NULL,
            count smallint NOT NULL,
            accepted_at bigint NOT NULL,
            ended_at bigint NOT NULL,
            epoch int NOT NULL,
            update_no bigint NOT NULL,
            states int NOT NULL DEFAULT 0,
            codes bytea,
            details bytea,
            updates bytea[] NOT NULL,
            day date NOT NULL,
            PRIMARY KEY (id, day)
        ) PARTITION BY RANGE (day)
        """,
        "CREATE INDEX records_ended ON records (ended_at)",
        // Rows whose day has no partition yet are not refused.
        "CREATE TABLE records_default PARTITION OF records DEFAULT",
        """
        CREATE UNLOGGED TABLE begun (
            instance int NOT NULL,
            key bigint GENERATED ALWAYS AS IDENTITY,
            ids uuid[] NOT NULL,
            epochs int[] NOT NULL,
            PRIMARY KEY (instance, key)
        )
        """,
        "CREATE TABLE bodies (id uuid PRIMARY KEY, body bytea NOT NULL)",
        """
        CREATE TABLE dead_letters (
            id uuid PRIMARY KEY,
            app text NOT NULL,
            environment smallint NOT NULL,
            lane smallint NOT NULL,
            code int NOT NULL,
            status int NOT NULL,
            reason text NOT NULL,
            attempts int NOT NULL,
            accepted_at bigint NOT NULL,
            given_up_at bigint NOT NULL
        )
        """,
        "CREATE INDEX dead_letters_by_app ON dead_letters (app, id)",
        """
        CREATE TABLE collapses (
            high bigint NOT NULL,
            low bigint NOT NULL,
            key bigint NOT NULL,
            push smallint NOT NULL,
            batch uuid NOT NULL,
            PRIMARY KEY (high, low, key, push)
        )
        """,
        "CREATE INDEX collapses_by_batch ON collapses (batch, push)",
        "CREATE TABLE pauses (app text PRIMARY KEY, since bigint NOT NULL)",
        """
        CREATE TABLE idempotency (
            key bytea PRIMARY KEY,
            fingerprint bytea NOT NULL,
            body bytea NOT NULL,
            at bigint NOT NULL
        )
        """,
        "CREATE INDEX idempotency_by_age ON idempotency (at)",
        """
        CREATE TABLE depth (
            app_lane smallint PRIMARY KEY,
            batches bigint NOT NULL,
            pushes bigint NOT NULL
        ) WITH (fillfactor = 30)
        """,
        "CREATE TABLE depth_log (app_lane smallint NOT NULL, batches int NOT NULL, pushes int NOT NULL)",
        """
        CREATE TABLE control (
            key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            position bigint,
            at timestamptz NOT NULL DEFAULT clock_timestamp(),
            kind text NOT NULL,
            body jsonb NOT NULL
        )
        """,
        "CREATE INDEX control_without_position ON control (key) WHERE position IS NULL",
        "CREATE UNIQUE INDEX control_by_position ON control (position) WHERE position IS NOT NULL",
        """
        CREATE TABLE control_acks (
            position bigint NOT NULL,
            instance int NOT NULL,
            pushes int NOT NULL,
            PRIMARY KEY (position, instance)
        )
        """,
        """
        CREATE TABLE outbox (
            key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            position bigint,
            app text NOT NULL,
            at bigint NOT NULL,
            body bytea NOT NULL
        )
        """,
        "CREATE INDEX outbox_without_position ON outbox (key) WHERE position IS NULL",
        "CREATE UNIQUE INDEX outbox_by_position ON outbox (position) WHERE position IS NOT NULL",
        """
        CREATE TABLE provider_tokens (
            key_id text NOT NULL,
            team_id text NOT NULL,
            token bytea NOT NULL,
            issued_at bigint NOT NULL,
            frozen_until bigint,
            PRIMARY KEY (key_id, team_id)
        )
        """,
        "CREATE TABLE settings (name text PRIMARY KEY, value bytea NOT NULL)",
        // The store's clock, by which pushes are due and leases end. Both are expanded in place, so they cost nothing.
        """
        CREATE FUNCTION store_time() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()'
        """,
        """
        CREATE FUNCTION store_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
        'SELECT floor(extract(epoch FROM store_time()) * 1000)::bigint'
        """,
        // Ends the transaction of an append whose idempotency key has a stored response.
        """
        CREATE FUNCTION refuse_idempotency_key() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'the idempotency key has a stored response' USING ERRCODE = 'GW002';
        END $$
        """,
        // The only changes of tables that an instance makes; with the rights of the owner, so that an instance needs
        // none.
        """
        CREATE FUNCTION make_records_day(wanted date) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
        DECLARE name text := 'records_' || to_char(wanted, 'YYYYMMDD');
        BEGIN
            IF to_regclass(name) IS NOT NULL THEN RETURN false; END IF;
            EXECUTE format('CREATE TABLE %I PARTITION OF records FOR VALUES FROM (%L) TO (%L)', name, wanted, wanted + 1);
            RETURN true;
        END $$
        """,
        """
        CREATE FUNCTION drop_records_day(unwanted date) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
        DECLARE name text := 'records_' || to_char(unwanted, 'YYYYMMDD');
        BEGIN
            IF to_regclass(name) IS NULL THEN RETURN false; END IF;
            EXECUTE format('DROP TABLE %I', name);
            RETURN true;
        END $$
        """,
        "REVOKE ALL ON FUNCTION make_records_day(date), drop_records_day(date) FROM PUBLIC",
    ]
}
