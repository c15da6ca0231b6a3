package import APNSWire
package import NIOCore

/// The queue in front of the connections: pushes that no connection has taken.
///
/// Whole batches are queued, and taken push by push. Their owners take turns, so that the batches of one do not delay a
/// single push of another; the batches of one owner leave in order. Pushes that were requeued once leave first, those
/// that were requeued again last: they may be what ends each connection. Bounded by
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

    /// Pushes of one owner that leave in one turn: enough to fill TLS records, and few enough that hundreds of owners
    /// wait milliseconds.
    package static let turn = 64

    /// The batches of one owner.
    private final class Line {
        let owner: ObjectIdentifier
        var batches = CircularBuffer<InFlightBatch>()

        init(_ owner: ObjectIdentifier) {
            self.owner = owner
        }
    }

    private var requeued = CircularBuffer<Requeued>()
    private var requeuedAgain = CircularBuffer<Requeued>()
    /// The lines with pushes, in the order of their turns.
    private var lines = CircularBuffer<Line>()
    private var lineOf: [ObjectIdentifier: Line] = [:]
    /// Pushes that the first line has taken in its turn.
    private var taken = 0
    /// Pushes in the queue.
    package private(set) var count = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }

    package mutating func append(_ batch: InFlightBatch) {
        guard batch.untaken > 0 else { return }
        // A batch retains its receiver, so the identifier is unique while the line has batches.
        let owner = batch.receiver.owner
        if let line = lineOf[owner] {
            line.batches.append(batch)
        } else {
            let line = Line(owner)
            line.batches.append(batch)
            lineOf[owner] = line
            lines.append(line)
        }
        count += batch.untaken
    }

    /// - Parameter isAgain: whether the push was requeued before.
    package mutating func requeue(_ push: Requeued, isAgain: Bool = false) {
        if isAgain { requeuedAgain.append(push) } else { requeued.append(push) }
        count += 1
    }

    /// When the first push in the queue has waited too long.
    package var firstTimeout: NIODeadline {
        var first = requeued.reduce(NIODeadline.distantFuture) { min($0, $1.batch.waitUntil) }
        first = requeuedAgain.reduce(first) { min($0, $1.batch.waitUntil) }
        for line in lines { first = line.batches.reduce(first) { min($0, $1.waitUntil) } }
        return first
    }

    /// The next push; it stays in the queue until `removeFirst`.
    package var first: (batch: InFlightBatch, index: UInt16)? {
        if let first = requeued.first { return (first.batch, first.index) }
        if let batch = lines.first?.batches.first, let index = batch.next { return (batch, index) }
        return requeuedAgain.first.map { ($0.batch, $0.index) }
    }

    /// Removes the push returned by `first`.
    package mutating func removeFirst() {
        count -= 1
        if !requeued.isEmpty {
            requeued.removeFirst()
            return
        }
        guard !lines.isEmpty else {
            requeuedAgain.removeFirst()
            return
        }
        let line = lines[lines.startIndex]
        let batch = line.batches[line.batches.startIndex]
        batch.advance()
        taken += 1
        if batch.untaken == 0 { line.batches.removeFirst() }
        if line.batches.isEmpty {
            removeLine()
        } else if taken >= Self.turn {
            lines.append(lines.removeFirst())
            taken = 0
        }
    }

    private mutating func removeLine() {
        lineOf[lines.removeFirst().owner] = nil
        taken = 0
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
        Self.removeAll(where: isMatch, from: &requeued, &removed)
        Self.removeAll(where: isMatch, from: &requeuedAgain, &removed)
        let first = lines.first
        for _ in 0..<lines.count {
            let line = lines.removeFirst()
            Self.removeAll(where: isMatch, from: line, &removed)
            if line.batches.isEmpty { lineOf[line.owner] = nil } else { lines.append(line) }
        }
        if lines.first !== first { taken = 0 }
        count -= removed.count
        return removed
    }

    private static func removeAll(
        where isMatch: (InFlightBatch) -> Bool, from pushes: inout CircularBuffer<Requeued>, _ removed: inout [Removed]
    ) {
        for _ in 0..<pushes.count {
            let push = pushes.removeFirst()
            if isMatch(push.batch) {
                removed.append(Removed(batch: push.batch, index: push.index, answer: push.answer))
            } else {
                pushes.append(push)
            }
        }
    }

    private static func removeAll(
        where isMatch: (InFlightBatch) -> Bool, from line: Line, _ removed: inout [Removed]
    ) {
        for _ in 0..<line.batches.count {
            let batch = line.batches.removeFirst()
            guard isMatch(batch) else {
                line.batches.append(batch)
                continue
            }
            while let index = batch.next {
                batch.advance()
                removed.append(Removed(batch: batch, index: index, answer: nil))
            }
        }
    }
}
