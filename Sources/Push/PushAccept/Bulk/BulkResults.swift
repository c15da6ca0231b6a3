import DequeModule
import PushModel
import PushStore

/// The results of a bulk request in the order of its items, until they are written.
///
/// Consecutive pushes of one batch are one run, so a million results that wait for a slow reader take a few dozen bytes
/// per batch, not per push.
struct BulkResults {
    /// The results of consecutive items, or of consecutive tokens of one item.
    enum Run: Equatable {
        /// `count` pushes of `batch`, the first of which has index `firstPush` in it.
        case accepted(
            firstItem: Int, count: Int, batch: BatchID, firstPush: Int, at: WallTime, DeliveryDelay?,
            notes: Notes = Notes()
        )
        case failed(
            firstItem: Int, count: Int, batch: BatchID, firstPush: Int, QueueError, notes: Notes = Notes())
        case refused(index: Int, Refusal, token: Int? = nil)
        /// A refused item, as it was written in the first response.
        case verbatim(json: [UInt8])
    }

    /// What only few results have.
    struct Notes: Equatable {
        /// The index in `device_tokens` of the first result. All results of the run are then of the same item.
        var firstToken: Int?
        /// The JSON of the member `warnings` and the comma before it, of a run with one result. Empty: none.
        var warnings: [UInt8] = []
    }

    private struct PendingRun {
        /// The slot of the batch, or `refusalSlot`.
        var slot: Int
        /// Index in the batch of the first push of the run.
        var firstPush: Int
        var count: Int
        /// Index of the first item.
        var item: Int
        /// Index of the first token in the item; -1 for items with one token.
        var token: Int
        /// Whether the run has one result, which has warnings.
        var isWarned = false
    }

    private enum Slot {
        case pending(BatchID, pushes: Int)
        case durable(BatchID, pushes: Int, at: WallTime, DeliveryDelay?)
        case failed(BatchID, pushes: Int, QueueError)
    }

    private static let refusalSlot = -1

    private var pending: Deque<PendingRun> = []
    private var refusals: Deque<Refusal> = []
    /// In the order of the runs that have warnings.
    private var warnings: Deque<[UInt8]> = []
    /// Batches with results that are not removed yet, by slot.
    private var slots: [Int: Slot] = [:]
    private var nextSlot = 0
    /// Items recorded so far.
    private(set) var itemCount = 0
    /// Results recorded so far: one for each item, or for each of its tokens.
    private(set) var resultCount = 0

    /// Runs that wait to be removed.
    var waitingCount: Int { pending.count }

    /// An estimate of the memory that results take until they are removed.
    var byteCount: Int {
        pending.count * MemoryLayout<PendingRun>.stride + refusals.count * MemoryLayout<Refusal>.stride
            + slots.count * (MemoryLayout<Slot>.stride + MemoryLayout<Int>.stride)
    }

    mutating func openSlot(for batch: BatchID) -> Int {
        defer { nextSlot += 1 }
        slots[nextSlot] = .pending(batch, pushes: 0)
        return nextSlot
    }

    /// Records that the next item is the push with index `push` of the batch in `slot`.
    ///
    /// - Parameters:
    ///   - token: the index of its token, if the item has several. A token other than the first belongs to the last item.
    ///   - warnings: as in `Notes`.
    @inline(__always)
    mutating func appendAccepted(slot: Int, push: Int, token: Int? = nil, warnings: [UInt8] = []) {
        let item = nextItem(token)
        if warnings.isEmpty, let last = pending.indices.last, pending[last].slot == slot, !pending[last].isWarned,
            pending[last].firstPush + pending[last].count == push, isNext(token, item, after: pending[last])
        {
            pending[last].count += 1
        } else {
            pending.append(
                PendingRun(
                    slot: slot, firstPush: push, count: 1, item: item, token: token ?? -1, isWarned: !warnings.isEmpty))
            if !warnings.isEmpty { self.warnings.append(warnings) }
        }
    }

    mutating func appendRefused(_ refusal: Refusal, token: Int? = nil) {
        let item = nextItem(token)
        pending.append(PendingRun(slot: Self.refusalSlot, firstPush: 0, count: 1, item: item, token: token ?? -1))
        refusals.append(refusal)
    }

    /// Counts a result.
    ///
    /// - Returns: the index of its item.
    @inline(__always)
    private mutating func nextItem(_ token: Int?) -> Int {
        resultCount += 1
        if token ?? 0 == 0 { itemCount += 1 }
        return itemCount - 1
    }

    /// Whether a run goes on with a result.
    @inline(__always)
    private func isNext(_ token: Int?, _ item: Int, after run: PendingRun) -> Bool {
        if let token { return run.item == item && run.token >= 0 && run.token + run.count == token }
        return run.token < 0
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
        var removed = 0
        while removed < itemsMax, let next = pending.first {
            let token = next.token < 0 ? nil : next.token
            if next.slot == Self.refusalSlot {
                runs.append(.refused(index: next.item, refusals.removeFirst(), token: token))
            } else {
                var notes = Notes(firstToken: token)
                switch slots[next.slot]! {
                case .pending: return runs
                case .durable(let batch, let pushes, let at, let delay):
                    if next.isWarned { notes.warnings = warnings.removeFirst() }
                    runs.append(
                        .accepted(
                            firstItem: next.item, count: next.count, batch: batch, firstPush: next.firstPush,
                            at: at, delay, notes: notes
                        )
                    )
                    shrink(next, left: pushes - next.count) { .durable(batch, pushes: $0, at: at, delay) }
                case .failed(let batch, let pushes, let error):
                    if next.isWarned { warnings.removeFirst() }
                    runs.append(
                        .failed(
                            firstItem: next.item, count: next.count, batch: batch, firstPush: next.firstPush, error,
                            notes: notes
                        )
                    )
                    shrink(next, left: pushes - next.count) { .failed(batch, pushes: $0, error) }
                }
            }
            pending.removeFirst()
            removed += next.count
        }
        return runs
    }

    /// Frees the slot of a batch once all of its results are removed.
    private mutating func shrink(_ run: PendingRun, left: Int, _ remaining: (Int) -> Slot) {
        slots[run.slot] = left > 0 ? remaining(left) : nil
    }
}

extension BulkResults.Run {
    /// Whether the results are of an item with several device tokens.
    var hasTokens: Bool {
        switch self {
        case .accepted(_, _, _, _, _, _, let notes), .failed(_, _, _, _, _, let notes): notes.firstToken != nil
        case .refused(_, _, let token): token != nil
        case .verbatim: false
        }
    }
}
