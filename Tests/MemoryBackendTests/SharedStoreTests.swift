import MemoryBackend
import PushModel
import PushStore
import Testing

/// Two instances on one store.
@Suite struct `Instances that share a store` {
    private let clock: SteppedClock
    private let first: MemoryBackend
    private let second: MemoryBackend

    init() {
        clock = SteppedClock()
        let store = MemoryStore(clock: clock.queueClock)
        first = MemoryBackend(store: store)
        second = MemoryBackend(store: store)
    }

    private func append(_ batches: Batch...) throws {
        _ = try first.append(batches.map { NewBatch(batch: $0) })
    }

    private func state(_ batch: Batch, _ index: Int = 0) throws -> PushStatus.State? {
        try second.find([batch.id.push(index)])[0]?.state
    }

    // MARK: Leases

    @Test func `a batch that one instance has leased is not claimed by another until the lease runs out`() throws {
        let batch = sampleBatch(2, at: clock.now)
        try append(batch)
        let old = try #require(try first.claim().first).lease
        clock.advance(by: .seconds(19))
        #expect(try second.claim().isEmpty)
        clock.advance(by: .seconds(1))
        let new = try #require(try second.claim().first).lease
        #expect(new.batch == old.batch && new.epoch > old.epoch)
        #expect(try first.claim().isEmpty)
    }

    @Test func `the holder of an overtaken lease can neither settle nor renew`() throws {
        let batch = sampleBatch(2, at: clock.now)
        try append(batch)
        let old = try #require(try first.claim().first).lease
        clock.advance(by: .seconds(20))
        let new = try #require(try second.claim().first).lease
        #expect(try first.settle(old, outcomes(.delivered, 0..<2), release: .release, at: clock.now) == [old])
        #expect(try first.renew([old], for: .seconds(20)) == [old])
        #expect(try state(batch) == .sending)
        #expect(try second.settle(new, outcomes(.rejected, 0..<2), at: clock.now) == [])
        #expect(try state(batch) == .settled(.rejected))
        #expect(first.settled() == OutcomeCounts())
    }

    @Test func `a lease that ran out stays good while no other instance has claimed its batch`() throws {
        let batches = [sampleBatch(at: clock.now), sampleBatch(2, at: clock.now + .milliseconds(1))]
        try append(batches[0], batches[1])
        clock.advance(by: .seconds(1))
        let leases = try first.claim().map(\.lease)
        clock.advance(by: .seconds(21))
        #expect(try second.claim(1).map(\.batch.id) == [batches[0].id])
        #expect(try first.settle(leases[1], outcomes(.delivered, [0]), at: clock.now) == [])
        #expect(try first.renew(leases, for: .seconds(20)) == [leases[0]])
        #expect(try second.claim().isEmpty, "the renewed lease excludes it again")
        #expect(try first.settle(leases[1], outcomes(.delivered, [1]), at: clock.now) == [])
    }

    @Test func `a lease that was given back is no longer good, although no instance has claimed the batch`() throws {
        try append(sampleBatch(2, at: clock.now))
        let lease = try #require(try first.claim().first).lease
        #expect(try first.settle(lease, release: .release, at: clock.now) == [])
        #expect(try first.settle(lease, outcomes(.delivered, [0]), at: clock.now) == [lease])
        #expect(try first.renew([lease], for: .seconds(20)) == [lease])
    }

    @Test func `leases are measured by the clock of the store, due times by the clock of the instance`() throws {
        let ahead = SteppedClock()
        ahead.advance(by: .seconds(3600))
        let third = MemoryBackend(store: first.store, clock: ahead.queueClock)
        try append(sampleBatch(at: clock.now, notBefore: clock.now + .seconds(60)))
        #expect(try first.claim().isEmpty)
        let lease = try #require(try third.claim().first).lease
        clock.advance(by: .seconds(61))
        ahead.advance(by: .seconds(-3600))
        #expect(try first.claim().map(\.lease.epoch) == [lease.epoch + 1])
    }

    // MARK: The end of an instance

    @Test func `a crash ends the leases of that instance only`() throws {
        try append(sampleBatch(at: clock.now), sampleBatch(at: clock.now))
        let lost = try first.claim(1).map(\.lease.batch)
        let kept = try second.claim(1).map(\.lease)
        first.crash()
        #expect(try MemoryBackend(store: second.store).claim().map(\.lease.batch) == lost)
        #expect(try second.settle(kept[0], outcomes(.delivered, [0]), at: clock.now) == [])
    }

    @Test func `an instance that closes gives its leases back, and that is not held against the batches`() throws {
        try append(sampleBatch(at: clock.now))
        for _ in 0..<5 {
            let instance = MemoryBackend(store: first.store)
            #expect(try instance.claim().map(\.isQuarantined) == [false])
            instance.close()
        }
    }

    @Test func `a closed instance refuses every call`() throws {
        let batch = sampleBatch(at: clock.now)
        first.close()
        first.close()
        #expect(throws: QueueError.closed) { try first.append([NewBatch(batch: batch)]) }
        #expect(throws: QueueError.closed) { try first.claim() }
        #expect(throws: QueueError.closed) { try first.settle([]) }
        #expect(throws: QueueError.closed) { try first.pausedApps() }
        #expect(throws: StoreError.unavailable("the queue is closed")) { try first.find([batch.id.push(0)]) }
        #expect(try second.depth() == QueueDepth())
    }

    // MARK: Control

    @Test func `a pause and a cancellation by one instance hold for all`() throws {
        let (leased, waiting) = (sampleBatch(at: clock.now), sampleBatch(3, at: clock.now + .milliseconds(1)))
        try append(leased, waiting)
        clock.advance(by: .seconds(1))
        _ = try first.claim(1)
        try second.setPaused(true, app: AppID("app"), at: clock.now)
        #expect(try first.claim().isEmpty)
        #expect(try second.cancel(.app(AppID("app")), at: clock.now) == CancelCount(cancelled: 3, tooLate: 1))
        #expect(try first.find([waiting.id.push(2)])[0]?.state == .settled(.cancelled))
    }

    @Test func `each instance counts what it has settled itself`() throws {
        try append(sampleBatch(at: clock.now), sampleBatch(at: clock.now))
        for instance in [first, second] {
            let lease = try #require(try instance.claim(1).first).lease
            _ = try instance.settle(lease, outcomes(instance === first ? .delivered : .expired, [0]), at: clock.now)
        }
        #expect(first.settled().counts.map(\.key.verdict) == [.delivered])
        #expect(second.settled().counts.map(\.key.verdict) == [.expired])
    }
}
