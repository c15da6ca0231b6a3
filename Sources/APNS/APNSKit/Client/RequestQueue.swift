package import APNSWire
import NIOCore

/// The queue in front of the connections: pushes that no connection has taken yet.
///
/// Batches wait as a whole and are taken apart push by push; what comes back from a connection unprocessed goes first.
/// Bounded by `APNSClientConfiguration.queuedPushesMax`.
package struct RequestQueue {
    /// A push that came back, and what to report should its time run out here.
    package struct Moved {
        package var batch: InFlightBatch
        package var index: UInt16
        package var answer: APNSAnswer

        package init(batch: InFlightBatch, index: UInt16, answer: APNSAnswer) {
            self.batch = batch
            self.index = index
            self.answer = answer
        }
    }

    private var requeued = CircularBuffer<Moved>()
    private var batches = CircularBuffer<InFlightBatch>()
    /// Pushes that wait.
    package private(set) var count = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }

    package mutating func append(_ batch: InFlightBatch) {
        guard batch.untaken > 0 else { return }
        batches.append(batch)
        count += batch.untaken
    }

    package mutating func putBack(_ push: Moved) {
        requeued.append(push)
        count += 1
    }

    /// The push whose turn it is; it stays until `removeFirst`.
    package var first: (batch: InFlightBatch, index: UInt16)? {
        if let first = requeued.first { return (first.batch, first.index) }
        guard let batch = batches.first, let index = batch.next else { return nil }
        return (batch, index)
    }

    /// Takes the push that `first` named.
    package mutating func removeFirst() {
        count -= 1
        if !requeued.isEmpty {
            requeued.removeFirst()
            return
        }
        let batch = batches[batches.startIndex]
        batch.advance()
        if batch.untaken == 0 { batches.removeFirst() }
    }

    /// A push that was taken out: `answer` is what was said of it when it came back, if it did.
    package struct Removed {
        package var batch: InFlightBatch
        package var index: UInt16
        package var answer: APNSAnswer?
    }

    /// Takes out everything that waits of the batches that `isWanted` picks; the rest keeps its order.
    package mutating func removeAll(where isWanted: (InFlightBatch) -> Bool) -> [Removed] {
        var removed: [Removed] = []
        for _ in 0..<requeued.count {
            let push = requeued.removeFirst()
            if isWanted(push.batch) {
                removed.append(Removed(batch: push.batch, index: push.index, answer: push.answer))
            } else {
                requeued.append(push)
            }
        }
        for _ in 0..<batches.count {
            let batch = batches.removeFirst()
            guard isWanted(batch) else {
                batches.append(batch)
                continue
            }
            while let index = batch.next {
                batch.advance()
                removed.append(Removed(batch: batch, index: index, answer: nil))
            }
        }
        count -= removed.count
        return removed
    }
}
