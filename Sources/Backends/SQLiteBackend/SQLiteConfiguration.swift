/// How the embedded database is used.
package struct SQLiteConfiguration: Sendable {
    /// Pages of the write-ahead log after which it is copied into the database, between two transactions.
    package var checkpointPages = 8000
    /// The log file is cut back to nothing when it has grown beyond this many bytes and nothing waits.
    package var logBytesMax = 128 << 20
    /// Bytes of batches that may wait for their commit; more is refused as `full`.
    package var waitingBytesMax = 32 << 20
    /// Calls that may wait for their commit; more are refused as `full`.
    package var waitingCallsMax = 20_000
    /// Bytes of batches that one claim returns; it may go over by one batch.
    package var claimBytesMax = 16 << 20
    /// KiB of pages that the writing connection keeps in memory.
    package var cacheKiB = 16 << 10

    /// How long a connection waits for a lock inside the file.
    package var busyTimeout: Duration = .seconds(5)
    /// How long a silent owner is watched before it is taken over; more than two of its beats.
    package var takeoverObservation: Duration = .seconds(3)

    package init() {}
}
