/// Counters of a connection since it was made.
package struct PostgresStatistics: Sendable, Equatable {
    package var isConnected = false
    /// Why the last attempt to connect failed; nil after one that succeeded.
    package var unreachableReason: String?
    package var connectAttempts = 0
    package var connects = 0
    /// Transactions that were committed.
    package var calls = 0
    package var failedCalls = 0
    /// Transactions that were repeated after a deadlock or a serialization failure.
    package var conflicts = 0
    /// Calls that wait for the running one.
    package var waitingCalls = 0
}
