package import PushModel

/// What a store needs so that it neither grows for ever nor fills its disk unseen, and what it can tell.
package protocol StoreMaintenance: Sendable {
    /// Forgets, in one short write, records and outcomes of batches whose last push ended before `moment`, the dead
    /// letters of such batches, and remembered answers past their lifetime. Batches that still wait stay, however old.
    ///
    /// - Parameter batchesMax: the most batches that one call forgets.
    /// - Returns: whether there may be more to forget.
    func prune(endedBefore moment: WallTime, batchesMax: Int, now: WallTime) async throws(QueueError) -> Bool

    /// nil when it cannot be told.
    func usage() -> StoreUsage?

    /// Pushes whose verdict this instance has made durable since it was opened, whoever reached it: dispatch, or the
    /// store itself for what was cancelled, superseded or poison. A dead letter that was replayed counts again. Does not
    /// wait for writes that are under way.
    func settled() -> OutcomeCounts
}

package struct StoreUsage: Sendable, Equatable {
    /// Bytes that may still be written.
    package var bytesFree: Int
    /// Bytes that the store takes.
    package var bytesUsed: Int

    package init(bytesFree: Int, bytesUsed: Int) {
        self.bytesFree = bytesFree
        self.bytesUsed = bytesUsed
    }
}
