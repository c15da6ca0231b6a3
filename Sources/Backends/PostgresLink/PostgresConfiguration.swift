package import Logging

/// How a `PostgresConnection` connects and what it keeps.
package struct PostgresConfiguration: Sendable, CustomStringConvertible {
    /// A URL (`postgres://…`) or `key=value` words, as libpq reads them: several hosts, `target_session_attrs`, TLS,
    /// SCRAM, `service` and `passfile` are libpq's. It may hold a password and is never logged.
    package var connectionString: String
    /// What `pg_stat_activity` shows, unless the connection string says otherwise.
    package var applicationName = "godwit"
    /// Settings of each session, made after the connect. A setting that the server refuses makes the connect fail.
    package var sessionSettings: [String: String] = Self.durableSettings
    /// How long one attempt to connect may take, over all hosts. The look-up of a host's name is libpq's and is not
    /// interrupted.
    package var connectTimeout: Duration = .seconds(3)
    /// How long a call may take, with its wait for other calls, if it does not say otherwise.
    package var callTimeout: Duration = .seconds(5)
    /// Calls that wait for the running one.
    package var waitingCallsMax = 256
    /// Bytes of their parameters. One call is always accepted while no other waits.
    package var waitingBytesMax = 64 << 20
    /// Whether a lost connection is opened again while no call waits.
    package var keepsConnected = false
    /// Delay before the second attempt to connect: at most this, doubled by each further failure.
    package var reconnectDelayBase: Duration = .milliseconds(100)
    package var reconnectDelayMax: Duration = .seconds(5)
    /// Of the thread; the system shows 15 bytes of it.
    package var threadName = "postgres"
    package var logger: Logger

    package init(_ connectionString: String, logger: Logger) {
        self.connectionString = connectionString
        self.logger = logger
    }

    /// Commits are on disk when they are acknowledged; no statement, lock or open transaction outlives a call by much.
    ///
    /// `statement_timeout` is shorter than `callTimeout`, so that a slow statement is refused by the server with a
    /// known outcome, before the link gives up. `client_connection_check_interval` ends the statement of a session that
    /// the link has closed.
    package static let durableSettings = [
        "synchronous_commit": "on", "statement_timeout": "4500", "lock_timeout": "2000",
        "idle_in_transaction_session_timeout": "10000", "client_connection_check_interval": "1000", "jit": "off",
    ]

    package var description: String { "PostgreSQL as \(applicationName)" }
}
