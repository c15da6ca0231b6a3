/// A failed call.
///
/// Its text names the server's message and never a parameter, a row or a password: the details, hints and contexts of a
/// server's error may quote them and are dropped.
package struct PostgresError: Error, Equatable, CustomStringConvertible {
    /// What the failure means for the store.
    package enum Kind: Equatable, Sendable {
        /// The server is out of disk or memory. Nothing was written.
        case full
        /// No response, a lost connection, a timeout, a server that starts or stops. If `isOutcomeKnown` is true,
        /// nothing was written; otherwise the call may have been committed.
        case unavailable(isOutcomeKnown: Bool)
        /// The server found damaged data (XX001, XX002). Nothing was written.
        case broken
        /// A deadlock or a serialization failure that remained after the retries. Nothing was written.
        case conflict
        /// Too many calls wait on this connection. Nothing was written.
        case overloaded
        /// The call itself is wrong, or a constraint refuses it: it would fail again. Nothing was written.
        case invalid
        /// The connection was closed by `close`. Nothing was written.
        case closed
    }

    package var kind: Kind
    /// One line without a full stop.
    package var message: String
    /// The five characters of the server's SQLSTATE; nil if the server did not report the failure.
    package var sqlState: String?
    /// The statement of a transaction that failed, by its name.
    package var statement: String?
    /// The constraint that refuses the call.
    package var constraint: String?

    package init(
        _ kind: Kind, _ message: String, sqlState: String? = nil, statement: String? = nil, constraint: String? = nil
    ) {
        self.kind = kind
        self.message = message
        self.sqlState = sqlState
        self.statement = statement
        self.constraint = constraint
    }

    /// Whether a unique constraint refuses the call (23505).
    package var isDuplicate: Bool { sqlState == "23505" }

    /// Whether the same call may succeed later.
    package var isTransient: Bool {
        switch kind {
        case .full, .unavailable, .conflict, .overloaded: true
        case .broken, .invalid, .closed: false
        }
    }

    package var description: String {
        let place = statement.map { " (statement \($0))" } ?? ""
        return "PostgreSQL: \(message)\(sqlState.map { " [\($0)]" } ?? "")\(place)"
    }
}
