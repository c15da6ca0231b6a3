package import APNSWire
package import NIOCore

/// The queue in front of the connections: pushes that no connection has taken.
///
/// Whole batches are queued, and taken push by push; requeued pushes leave first. Bounded by
/// `APNSClientConfiguration.queuedPushesMax`.
package struct RequestQueue {
    /// A push that a connection returned unprocessed.
    package struct Requeued {
        package var batch: InFlightBatch
        package var index: UInt16
        /// The answer to report if the push cannot be sent again in time.
        package var answer: APNSAnswer

        package init(batch: InFlightBatch, index: UInt16, answer: APNSAnswer) {
            self.batch = batch
            self.index = index
            self.answer = answer
        }
    }

    private var requeued = CircularBuffer<Requeued>()
    private var batches = CircularBuffer<InFlightBatch>()
    /// Pushes in the queue.
    package private(set) var count = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }

    package mutating func append(_ batch: InFlightBatch) {
        guard batch.untaken > 0 else { return }
        batches.append(batch)
        count += batch.untaken
    }

    package mutating func requeue(_ push: Requeued) {
        requeued.append(push)
        count += 1
    }

    /// When the first push in the queue has waited too long.
    package var firstTimeout: NIODeadline {
        let batches = batches.reduce(NIODeadline.distantFuture) { min($0, $1.waitUntil) }
        return requeued.reduce(batches) { min($0, $1.batch.waitUntil) }
    }

    /// The next push; it stays in the queue until `removeFirst`.
    package var first: (batch: InFlightBatch, index: UInt16)? {
        if let first = requeued.first { return (first.batch, first.index) }
        guard let batch = batches.first, let index = batch.next else { return nil }
        return (batch, index)
    }

    /// Removes the push returned by `first`.
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

    /// A push removed from the queue.
    package struct Removed {
        package var batch: InFlightBatch
        package var index: UInt16
        /// The answer with which the push was requeued; nil if it was not.
        package var answer: APNSAnswer?
    }

    /// Removes all pushes of the batches that match; the others keep their order.
    package mutating func removeAll(where isMatch: (InFlightBatch) -> Bool) -> [Removed] {
        var removed: [Removed] = []
        for _ in 0..<requeued.count {
            let push = requeued.removeFirst()
            if isMatch(push.batch) {
                removed.append(Removed(batch: push.batch, index: push.index, answer: push.answer))
            } else {
                requeued.append(push)
            }
        }
        for _ in 0..<batches.count {
            let batch = batches.removeFirst()
            guard isMatch(batch) else {
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
