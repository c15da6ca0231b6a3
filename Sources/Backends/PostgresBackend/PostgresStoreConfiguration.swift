package import Logging
package import PushModel

/// How an instance uses a store on PostgreSQL.
package struct PostgresStoreConfiguration: Sendable {
    /// As libpq reads it. It may hold a password and is never logged.
    package var connectionString: String
    /// Of this instance, for operators.
    package var instanceName = "godwit"
    /// The version of this program, for operators.
    package var version = ""
    /// Lower-case letters, digits and `_`.
    package var schema = "godwit"
    /// Whether missing tables are made. Otherwise a database without them is refused.
    package var migrates = true
    /// Decides when a waiting push expires.
    package var policy = DeliveryPolicy()
    /// How long this instance counts as alive after a heartbeat.
    package var aliveFor: Duration = .seconds(15)
    package var logger: Logger

    package init(_ connectionString: String, logger: Logger) {
        self.connectionString = connectionString
        self.logger = logger
    }
}
