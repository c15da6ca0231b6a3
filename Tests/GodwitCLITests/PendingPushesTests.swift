import APNSWire
import GodwitCLI
import Testing

@Suite struct `Pending pushes` {
    private static func push(_ index: Int) -> SentPush {
        SentPush(id: APNSID(high: 1, low: UInt64(index)), index: index, line: PushLine(number: index + 1, token: ""))
    }

    @Test func `pushes are polled in turn until each has a verdict`() {
        var pending = PendingPushes()
        for low in 0..<10_000 { pending.append(Self.push(low)) }
        var settled: Set<UInt64> = []
        while !pending.isEmpty {
            let polled = pending.removeFirst(upTo: 300)
            // One of the polled pushes has no verdict yet.
            let left = polled.prefix(polled.count > 1 ? 1 : 0)
            for id in polled.dropFirst(left.count) { settled.insert(id.id.low) }
            pending.requeue(Array(left), scheduled: 0, settled: polled.count - left.count)
        }
        #expect(settled.count == 10_000)
    }

    @Test func `a round without a verdict is idle, and only scheduled pushes may be left`() {
        var pending = PendingPushes()
        for low in 0..<4 { pending.append(Self.push(low)) }
        pending.requeue(pending.removeFirst(upTo: 2), scheduled: 2, settled: 0)
        #expect(!pending.isIdle)
        pending.requeue(pending.removeFirst(upTo: 2), scheduled: 1, settled: 0)
        #expect(pending.isIdle && !pending.isAllScheduled)
        pending.requeue(pending.removeFirst(upTo: 4), scheduled: 4, settled: 0)
        #expect(pending.isAllScheduled)
        pending.requeue(Array(pending.removeFirst(upTo: 4).dropLast()), scheduled: 3, settled: 1)
        #expect(!pending.isIdle)
    }
}
