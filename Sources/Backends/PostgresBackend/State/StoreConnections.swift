#if Postgres
import PostgresLink

/// The connections of an instance: work that must not wait for other work has one of its own.
struct StoreConnections: Sendable {
    /// Two, so that one group forms while the other one is written.
    let append: [PostgresConnection]
    let settle: PostgresConnection
    let claim: PostgresConnection
    /// Renewals, notes of begun leases, heartbeats and the end of expired leases: never behind others.
    let lease: PostgresConnection
    let read: PostgresConnection
    /// All that operators and maintenance do.
    let control: PostgresConnection

    init(_ configuration: PostgresStoreConfiguration) throws(PostgresError) {
        func connection(_ name: String) throws(PostgresError) -> PostgresConnection {
            var settings = PostgresConfiguration(configuration.connectionString, logger: configuration.logger)
            settings.applicationName = "godwit \(configuration.instanceName) \(name)"
            settings.threadName = "pg \(name)"
            settings.sessionSettings["search_path"] = configuration.schema
            // A plan for each call would cost more than the call. Plans that were made while a table was empty must not
            // scan it when it is large.
            settings.sessionSettings["plan_cache_mode"] = "force_generic_plan"
            for setting in ["enable_seqscan", "enable_hashjoin", "enable_mergejoin"] {
                settings.sessionSettings[setting] = "off"
            }
            return try PostgresConnection(settings)
        }
        append = [try connection("append 1"), try connection("append 2")]
        settle = try connection("settle")
        claim = try connection("claim")
        lease = try connection("lease")
        read = try connection("read")
        control = try connection("control")
    }

    func close(within timeout: Duration) async {
        for connection in append + [settle, claim, lease, read, control] { await connection.close(within: timeout) }
    }
}
#endif
