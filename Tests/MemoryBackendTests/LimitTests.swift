import Foundation
import MemoryBackend
import PushModel
import PushStore
import Testing

@Suite struct `Limits of the memory store` {
    private let clock = SteppedClock()

    @Test func `an append above the limit is refused as a whole, and fits after pruning`() throws {
        var limits = MemoryStore.Limits()
        limits.bytesMax = 200_000
        let backend = MemoryBackend(store: MemoryStore(clock: clock.queueClock, limits: limits))
        let lease = try backend.append([NewBatch(batch: sampleBatch(1000, at: clock.now), claim: .seconds(20))])[0]
        let key = IdempotencyKey(digest: Data(count: 32))
        let record = IdempotencyRecord(fingerprint: Data(), body: Data(), at: clock.now)
        #expect(throws: QueueError.self) {
            try backend.append([NewBatch(batch: sampleBatch(1000, at: clock.now))], storing: [key: record])
        }
        #expect(try backend.depth().pushes == 1000)
        #expect(try backend.idempotencyRecord(for: key, now: clock.now) == nil)
        _ = try backend.settle(try #require(lease), outcomes(.delivered, 0..<1000), at: clock.now)
        clock.advance(by: .seconds(1))
        _ = try backend.prune(endedBefore: clock.now, batchesMax: 10, now: clock.now)
        _ = try backend.append([NewBatch(batch: sampleBatch(1000, at: clock.now))])
    }

    @Test func `a claim returns at most the bytes of the limit, and one batch`() throws {
        var limits = MemoryStore.Limits()
        limits.claimBytesMax = 1
        let backend = MemoryBackend(store: MemoryStore(clock: clock.queueClock, limits: limits))
        _ = try backend.append((0..<3).map { _ in NewBatch(batch: sampleBatch(at: clock.now)) })
        #expect(try backend.claim().count == 1)
    }

    /// Outcomes of all kinds, dead letters, replays, retries, collapses and idempotency records.
    @Test(arguments: 0..<20)
    func `pruned batches leave nothing in the store`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let backend = MemoryBackend(store: MemoryStore(clock: clock.queueClock))
        for round in 0..<60 {
            var batches: [NewBatch] = []
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let collapseID = Bool.random(using: &random) ? "score" : nil
                let batch = sampleBatch(
                    Int.random(in: 1...20, using: &random), at: clock.now, app: "\(round % 3)", collapseID: collapseID
                )
                batches.append(NewBatch(batch: batch, claim: Bool.random(using: &random) ? .seconds(2) : nil))
            }
            let key = IdempotencyKey(digest: Data(repeating: UInt8(round), count: 32))
            let record = IdempotencyRecord(fingerprint: Data(), body: Data(count: round), at: clock.now)
            _ = try backend.append(batches, storing: [key: record])
            clock.advance(by: .milliseconds(Int64.random(in: 0...3000, using: &random)))
            for claimed in try backend.claim(Int.random(in: 1...5, using: &random)) {
                let indexes = claimed.pending?.map { Int($0.index) } ?? Array(0..<claimed.batch.count)
                let some = indexes.filter { _ in Bool.random(using: &random) }
                let verdict: Verdict = Bool.random(using: &random) ? .givenUp : .delivered
                let release: Settlement.Release = Bool.random(using: &random) ? .release : .keep
                _ = try backend.settle(claimed.lease, outcomes(verdict, some), release: release, at: clock.now)
            }
            if round % 20 == 7 { _ = try backend.replay(.app(nil), at: clock.now) }
            if round % 20 == 13 { _ = try backend.purge(.app(AppID("1"))) }
        }
        clock.advance(by: IdempotencyKey.lifetime)
        while case let claims = try backend.claim(), !claims.isEmpty {
            for claimed in claims {
                let indexes = claimed.pending?.map { Int($0.index) } ?? Array(0..<claimed.batch.count)
                let all = outcomes(.givenUp, indexes)
                _ = try backend.settle(claimed.lease, all, release: .release, at: clock.now)
            }
        }
        #expect(try backend.depth() == QueueDepth())
        clock.advance(by: .seconds(1))
        while try backend.prune(endedBefore: clock.now, batchesMax: 7, now: clock.now) {}
        #expect(backend.usage()?.bytesUsed == 0)
        #expect(try backend.deadLetters(of: nil, after: nil, limit: 9).isEmpty)
        #expect(backend.store.isEmpty)
    }
}
