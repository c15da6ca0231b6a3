package import PushModel

/// Settings of the embedded database.
package struct SQLiteConfiguration: Sendable {
    /// Decides when a waiting push expires.
    package var policy = DeliveryPolicy()
    /// Pages of the write-ahead log after which it is copied into the database, between two transactions.
    package var checkpointPages = 8000
    /// Size in bytes above which the log file is truncated when no call waits.
    package var logBytesMax = 128 << 20
    /// Bytes of batches that may wait for their commit. Calls above it are refused as `full`.
    package var waitingBytesMax = 32 << 20
    /// Calls that may wait for their commit. Calls above it are refused as `full`.
    package var waitingCallsMax = 20_000
    /// Bytes of batches that one claim returns. May be exceeded by one batch.
    package var claimBytesMax = 16 << 20
    /// KiB of pages that the writing connection keeps in memory.
    package var cacheKiB = 16 << 10

    /// How long a connection waits for a lock inside the file.
    package var busyTimeout: Duration = .seconds(5)
    /// How long the heartbeat of a stale owner is observed before a takeover. More than two heartbeat intervals.
    package var takeoverObservation: Duration = .seconds(3)

    package init() {}
}
