import APNSKit
import APNSWire
import NIOCore
import Testing

@Suite struct `Batches in flight and request queue` {
    private final class IgnoringReceiver: APNSAnswerReceiver {
        func receive(_ answers: APNSAnswers) {}
    }

    /// A receiver of the pushes of `owned`, which several receivers may have in common.
    private final class OwnedReceiver: APNSAnswerReceiver {
        private let owned: IgnoringReceiver
        var owner: ObjectIdentifier { ObjectIdentifier(owned) }

        init(_ owned: IgnoringReceiver) {
            self.owned = owned
        }

        func receive(_ answers: APNSAnswers) {}
    }

    private static let receiver = IgnoringReceiver()

    private func inFlight(
        _ count: Int, indexes: [UInt16]? = nil, for receiver: any APNSAnswerReceiver = receiver
    ) -> InFlightBatch {
        InFlightBatch(
            Samples.batch(count), indexes: indexes, ticket: 7, serial: 1, waitUntil: .uptimeNanoseconds(1_000),
            answerTimeout: .seconds(10),
            receiver: receiver
        )
    }

    @Test func `answers are returned once, and the last group is marked`() throws {
        let batch = inFlight(3)
        #expect(batch.takeAnswers() == nil)
        batch.answer(.accepted, of: 2, latency: 5)
        let first = try #require(batch.takeAnswers())
        #expect(first.ticket == 7)
        #expect(first.indexes == [2])
        #expect(first.latencies == [5])
        #expect(!first.isLast)
        #expect(batch.takeAnswers() == nil)
        batch.answer(.failed(.goAway, .refused), of: 0, latency: 0)
        batch.answer(
            APNSAnswer(disposition: .answered, status: 400, reason: .unknown), of: 1, latency: 9, unknownReason: "New"
        )
        let last = try #require(batch.takeAnswers())
        #expect(last.indexes == [0, 1])
        #expect(last.unknownReasons == [1: "New"])
        #expect(last.isLast)
    }

    @Test func `an empty batch has one empty group of answers`() {
        #expect(inFlight(0).takeAnswers()?.isLast == true)
        #expect(inFlight(5, indexes: []).takeAnswers()?.isLast == true)
    }

    @Test func `a push is requeued five times at most`() {
        let batch = inFlight(2)
        for requeue in 1...5 { #expect(batch.countRequeue(of: 1) == UInt8(requeue)) }
        #expect(batch.countRequeue(of: 1) == nil)
        #expect(batch.countRequeue(of: 0) == 1)
    }

    @Test func `pushes leave in order, requeued ones first`() {
        var queue = RequestQueue()
        let first = inFlight(3, indexes: [2, 0])
        let second = inFlight(2)
        queue.append(first)
        queue.append(second)
        queue.append(inFlight(0))
        #expect(queue.count == 4)
        #expect(queue.first?.index == 2)
        queue.removeFirst()
        queue.requeue(RequestQueue.Requeued(batch: first, index: 2, answer: .failed(.streamRefused, .refused)))
        #expect(queue.count == 4)
        var order: [UInt16] = []
        while let next = queue.first {
            order.append(next.index)
            queue.removeFirst()
        }
        #expect(order == [2, 0, 0, 1])
        #expect(queue.isEmpty)
        #expect(first.untaken == 0)
    }

    @Test func `owners take turns, so that a single push does not wait for the batches of another`() {
        var queue = RequestQueue()
        let (large, small) = (IgnoringReceiver(), IgnoringReceiver())
        // One receiver for each batch, as dispatch has: what counts is the owner.
        for _ in 0..<10 { queue.append(inFlight(1000, for: OwnedReceiver(large))) }
        let (single, last) = (inFlight(1, for: small), inFlight(100, for: small))
        queue.append(single)
        queue.append(last)
        var order: [ObjectIdentifier] = []
        while let next = queue.first {
            order.append(next.batch.receiver.owner)
            queue.removeFirst()
        }
        #expect(order.count == 10_101 && queue.isEmpty)
        #expect(order.firstIndex(of: ObjectIdentifier(small)) == RequestQueue.turn)
        // Equal turns until one has no more pushes.
        let turns = order.prefix(4 * RequestQueue.turn).count { $0 == ObjectIdentifier(small) }
        #expect(turns == 101)
        // The line of a receiver ends with its last push, and a new one begins.
        queue.append(inFlight(1, for: small))
        #expect(queue.first?.index == 0)
    }

    @Test func `the first timeout is that of any push in the queue`() {
        var queue = RequestQueue()
        #expect(queue.firstTimeout == .distantFuture)
        let batch = inFlight(1)
        queue.append(batch)
        #expect(queue.firstTimeout == .uptimeNanoseconds(1_000))
        queue.removeFirst()
        queue.requeue(RequestQueue.Requeued(batch: batch, index: 0, answer: .failed(.goAway, .refused)))
        #expect(queue.firstTimeout == .uptimeNanoseconds(1_000))
    }

    @Test func `removing the pushes of one batch keeps the order of the others`() {
        var queue = RequestQueue()
        let (first, second, third) = (inFlight(2), inFlight(3), inFlight(1))
        for batch in [first, second, third] { queue.append(batch) }
        queue.removeFirst()
        queue.requeue(RequestQueue.Requeued(batch: second, index: 9, answer: .failed(.goAway, .refused)))
        let removed = queue.removeAll { $0 === second }
        #expect(removed.map(\.index) == [9, 0, 1, 2])
        #expect(removed.map { $0.answer?.disposition } == [.refused, nil, nil, nil])
        #expect(queue.count == 2)
        #expect(queue.first?.batch === first)
        queue.removeFirst()
        #expect(queue.first?.batch === third)
    }

    @Test func `a push that is requeued again waits for all others`() throws {
        var queue = RequestQueue()
        let (bad, waiting, other) = (inFlight(1), inFlight(2), inFlight(1))
        func requeued(_ batch: InFlightBatch) -> RequestQueue.Requeued {
            RequestQueue.Requeued(batch: batch, index: 0, answer: .failed(.goAway, .refused))
        }
        queue.requeue(requeued(bad), isAgain: true)
        queue.append(waiting)
        queue.requeue(requeued(other))
        #expect(queue.count == 4)
        var order: [ObjectIdentifier] = []
        while let first = queue.first {
            order.append(ObjectIdentifier(first.batch))
            queue.removeFirst()
        }
        #expect(order == [other, waiting, waiting, bad].map { ObjectIdentifier($0) } && queue.isEmpty)
        queue.requeue(requeued(bad), isAgain: true)
        #expect(queue.removeAll { $0 === bad }.count == 1 && queue.isEmpty)
    }
}
