import DequeModule
import PushModel
import PushStore

/// The results of a bulk request in the order of its items, until they are written.
///
/// Accepted neighbours of one batch are one run, so a million pushes that wait for a slow reader take a few dozen bytes
/// for each batch, not for each push.
struct BulkResults {
    /// Some results that follow one another.
    enum Piece: Equatable {
        case accepted(first: Int, count: Int, batch: BatchID, place: Int, at: WallTime, DeliveryDelay?)
        case failed(first: Int, count: Int, batch: BatchID, place: Int, QueueError)
        case refused(index: Int, Refusal)
        /// A refused item as it was written before.
        case verbatim(json: [UInt8])
    }

    private struct Run {
        /// The batch's slot, or `refusalSlot`.
        var slot: Int
        /// Index in the batch of the run's first push.
        var place: Int
        var count: Int
    }

    private enum Slot {
        case pending(BatchID, pushes: Int)
        case durable(BatchID, pushes: Int, at: WallTime, DeliveryDelay?)
        case failed(BatchID, pushes: Int, QueueError)
    }

    private static let refusalSlot = -1

    private var runs: Deque<Run> = []
    private var refusals: Deque<Refusal> = []
    /// Batches of which results are still to be taken, by slot.
    private var slots: [Int: Slot] = [:]
    private var nextSlot = 0
    /// Index of the first item that was not taken yet.
    private(set) var takenCount = 0
    /// Items recorded so far.
    private(set) var itemCount = 0

    /// Records that wait to be taken.
    var waitingCount: Int { runs.count }

    /// Whether `take` would return something.
    var isNextKnown: Bool {
        guard let run = runs.first else { return false }
        if case .pending = slots[run.slot] { return false }
        return true
    }

    mutating func openSlot(for batch: BatchID) -> Int {
        defer { nextSlot += 1 }
        slots[nextSlot] = .pending(batch, pushes: 0)
        return nextSlot
    }

    /// The next item is push number `place` of the batch in `slot`.
    @inline(__always)
    mutating func appendAccepted(slot: Int, place: Int) {
        itemCount += 1
        if let last = runs.indices.last, runs[last].slot == slot, runs[last].place + runs[last].count == place {
            runs[last].count += 1
        } else {
            runs.append(Run(slot: slot, place: place, count: 1))
        }
    }

    mutating func appendRefused(_ refusal: Refusal) {
        itemCount += 1
        runs.append(Run(slot: Self.refusalSlot, place: 0, count: 1))
        refusals.append(refusal)
    }

    /// The batch in `slot` holds `pushes` pushes and is durable, or has failed.
    ///
    /// - Parameter outlook: why its pushes wait, if they do.
    mutating func resolve(
        slot: Int, pushes: Int, error: QueueError?, at now: WallTime, delay: DeliveryDelay? = nil
    ) {
        guard case .pending(let batch, _) = slots[slot] else { preconditionFailure("a batch is committed once") }
        slots[slot] =
            error.map { .failed(batch, pushes: pushes, $0) } ?? .durable(batch, pushes: pushes, at: now, delay)
    }

    /// Takes results whose turn it is and that are known, of about `itemsMax` items.
    mutating func take(itemsMax: Int) -> [Piece] {
        var pieces: [Piece] = []
        let start = takenCount
        while takenCount - start < itemsMax, let run = runs.first {
            if run.slot == Self.refusalSlot {
                pieces.append(.refused(index: takenCount, refusals.removeFirst()))
            } else {
                switch slots[run.slot]! {
                case .pending: return pieces
                case .durable(let batch, let pushes, let at, let delay):
                    pieces.append(
                        .accepted(first: takenCount, count: run.count, batch: batch, place: run.place, at: at, delay)
                    )
                    release(run, left: pushes - run.count) { .durable(batch, pushes: $0, at: at, delay) }
                case .failed(let batch, let pushes, let error):
                    pieces.append(.failed(first: takenCount, count: run.count, batch: batch, place: run.place, error))
                    release(run, left: pushes - run.count) { .failed(batch, pushes: $0, error) }
                }
            }
            runs.removeFirst()
            takenCount += run.count
        }
        return pieces
    }

    private mutating func release(_ run: Run, left: Int, _ remaining: (Int) -> Slot) {
        slots[run.slot] = left > 0 ? remaining(left) : nil
    }
}
