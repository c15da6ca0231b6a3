#if Postgres
import PostgresLink
import PushStore

extension PostgresError {
    var queueError: QueueError {
        switch kind {
        case .full: .full(description)
        case .unavailable(let isOutcomeKnown): .unavailable(description, isOutcomeKnown: isOutcomeKnown)
        case .broken: .broken(description)
        case .closed: .closed
        case .conflict, .overloaded: .unavailable(description, isOutcomeKnown: true)
        case .invalid:
            sqlState == Self.usedKey ? .idempotencyKeyUsed : .unavailable(description, isOutcomeKnown: true)
        }
    }

    /// Raised by `refuse_idempotency_key()`. Not of the SQL standard.
    private static let usedKey = "GW002"

    var isOutcomeUnknown: Bool { kind == .unavailable(isOutcomeKnown: false) }
}

/// Runs `body` with errors of the store.
func mappingErrors<Value>(_ body: () throws(PostgresError) -> Value) throws(QueueError) -> Value {
    do {
        return try body()
    } catch {
        throw error.queueError
    }
}

extension PostgresConnection {
    /// Executes one statement in a transaction of its own.
    func execute(_ call: PostgresCall) async throws(QueueError) -> PostgresRows {
        try await execute([call])[0]
    }

    /// Executes statements in one transaction.
    func execute(_ calls: [PostgresCall]) async throws(QueueError) -> [PostgresRows] {
        do {
            return try await transaction(calls)
        } catch {
            throw error.queueError
        }
    }
}
#endif
