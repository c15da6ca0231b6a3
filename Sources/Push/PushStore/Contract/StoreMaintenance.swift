package import PushModel

/// Retention and statistics of a store.
package protocol StoreMaintenance: Sendable {
    /// Deletes, in one short write, the records, outcomes and dead letters of batches whose last push was settled
    /// before `cutoff`, and stored responses past their lifetime. Batches in the queue stay, whatever their age.
    ///
    /// - Parameter batchesMax: the most batches that one call deletes.
    /// - Returns: whether there may be more to delete.
    func prune(endedBefore cutoff: WallTime, batchesMax: Int, now: WallTime) async throws(QueueError) -> Bool

    /// Returns free space of the store to the file system and removes the content of ended pushes where the store still
    /// has it, in one short write. Called every second. Within a minute without much load no content of an ended push is
    /// left, except that of dead letters.
    ///
    /// - Returns: whether the next step should follow within milliseconds.
    func reclaim() async throws(QueueError) -> Bool

    /// Settles waiting pushes whose deadline has passed as expired, in one short write: also those of paused apps, and of
    /// batches that no claim asks for. Their code is that of the last failed attempt, if there was one. Pushes of claimed
    /// batches do not change: their holder settles them. Called every second. Without such a push it writes nothing.
    ///
    /// - Parameter batchesMax: the most batches that one call looks at.
    /// - Returns: whether the next call should follow within milliseconds.
    func expire(batchesMax: Int) async throws(QueueError) -> Bool

    /// nil if it cannot be determined.
    func usage() async -> StoreUsage?

    /// Pushes whose outcome this instance has made durable since it was opened: outcomes that dispatch reported, and
    /// those that the store decided (cancelled, superseded, poison). A replayed dead letter counts again. Does not wait
    /// for writes in progress.
    func settled() -> OutcomeCounts
}

package struct StoreUsage: Sendable, Equatable {
    /// Bytes that can still be written, including free space within the store's files.
    package var bytesFree: Int
    /// Bytes that the store occupies.
    package var bytesUsed: Int

    package init(bytesFree: Int, bytesUsed: Int) {
        self.bytesFree = bytesFree
        self.bytesUsed = bytesUsed
    }
}
