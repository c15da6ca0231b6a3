import DequeModule
import PushModel
import PushStore

/// The results of a bulk request in the order of its items, until they are written.
///
/// Consecutive pushes of one batch are one run, so a million results that wait for a slow reader take a few dozen bytes
/// per batch, not per push.
struct BulkResults {
    /// The results of consecutive items.
    enum Run: Equatable {
        /// `count` pushes of `batch`, the first of which has index `firstPush` in it.
        case accepted(firstItem: Int, count: Int, batch: BatchID, firstPush: Int, at: WallTime, DeliveryDelay?)
        case failed(firstItem: Int, count: Int, batch: BatchID, firstPush: Int, QueueError)
        case refused(index: Int, Refusal)
        /// A refused item, as it was written in the first response.
        case verbatim(json: [UInt8])
    }

    private struct PendingRun {
        /// The slot of the batch, or `refusalSlot`.
        var slot: Int
        /// Index in the batch of the first push of the run.
        var firstPush: Int
        var count: Int
    }

    private enum Slot {
        case pending(BatchID, pushes: Int)
        case durable(BatchID, pushes: Int, at: WallTime, DeliveryDelay?)
        case failed(BatchID, pushes: Int, QueueError)
    }

    private static let refusalSlot = -1

    private var pending: Deque<PendingRun> = []
    private var refusals: Deque<Refusal> = []
    /// Batches with results that are not removed yet, by slot.
    private var slots: [Int: Slot] = [:]
    private var nextSlot = 0
    /// Index of the first item whose result is not removed yet.
    private(set) var removedCount = 0
    /// Items recorded so far.
    private(set) var itemCount = 0

    /// Runs that wait to be removed.
    var waitingCount: Int { pending.count }

    mutating func openSlot(for batch: BatchID) -> Int {
        defer { nextSlot += 1 }
        slots[nextSlot] = .pending(batch, pushes: 0)
        return nextSlot
    }

    /// Records that the next item is the push with index `push` of the batch in `slot`.
    @inline(__always)
    mutating func appendAccepted(slot: Int, push: Int) {
        itemCount += 1
        if let last = pending.indices.last, pending[last].slot == slot,
            pending[last].firstPush + pending[last].count == push
        {
            pending[last].count += 1
        } else {
            pending.append(PendingRun(slot: slot, firstPush: push, count: 1))
        }
    }

    mutating func appendRefused(_ refusal: Refusal) {
        itemCount += 1
        pending.append(PendingRun(slot: Self.refusalSlot, firstPush: 0, count: 1))
        refusals.append(refusal)
    }

    /// Records that the batch in `slot`, with `pushes` pushes, is durable or has failed.
    ///
    /// - Parameter delay: why its pushes wait, if they do.
    mutating func resolve(
        slot: Int, pushes: Int, error: QueueError?, at now: WallTime, delay: DeliveryDelay? = nil
    ) {
        guard case .pending(let batch, _) = slots[slot] else { preconditionFailure("a batch is committed once") }
        slots[slot] =
            error.map { .failed(batch, pushes: pushes, $0) } ?? .durable(batch, pushes: pushes, at: now, delay)
    }

    /// Removes the next results, up to the first that is not known yet.
    ///
    /// - Parameter itemsMax: no further run is removed after this number of items.
    mutating func removeKnown(itemsMax: Int) -> [Run] {
        var runs: [Run] = []
        let start = removedCount
        while removedCount - start < itemsMax, let next = pending.first {
            if next.slot == Self.refusalSlot {
                runs.append(.refused(index: removedCount, refusals.removeFirst()))
            } else {
                switch slots[next.slot]! {
                case .pending: return runs
                case .durable(let batch, let pushes, let at, let delay):
                    runs.append(
                        .accepted(
                            firstItem: removedCount, count: next.count, batch: batch, firstPush: next.firstPush,
                            at: at, delay
                        )
                    )
                    shrink(next, left: pushes - next.count) { .durable(batch, pushes: $0, at: at, delay) }
                case .failed(let batch, let pushes, let error):
                    runs.append(
                        .failed(
                            firstItem: removedCount, count: next.count, batch: batch, firstPush: next.firstPush, error
                        )
                    )
                    shrink(next, left: pushes - next.count) { .failed(batch, pushes: $0, error) }
                }
            }
            pending.removeFirst()
            removedCount += next.count
        }
        return runs
    }

    /// Frees the slot of a batch once all of its results are removed.
    private mutating func shrink(_ run: PendingRun, left: Int, _ remaining: (Int) -> Slot) {
        slots[run.slot] = left > 0 ? remaining(left) : nil
    }
}
