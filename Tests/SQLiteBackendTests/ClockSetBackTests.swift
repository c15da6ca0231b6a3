import PushModel
import PushStore
import SQLiteBackend
import Testing

/// The clock moves back by an hour. No push waits for it to catch up.
@Suite struct `SQLite after the wall clock moved backwards` {
    private let clock = ManualClock()
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func open() throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
    }

    /// Moves the clock, between two starts or while the process runs.
    private func setBack(_ backend: SQLiteBackend, reopening: Bool) async throws -> SQLiteBackend {
        if reopening { await backend.close() }
        clock.set(by: .seconds(-3600))
        return reopening ? try open() : backend
    }

    private func claim(_ backend: SQLiteBackend, _ max: Int = 1000) async throws -> [ClaimedBatch] {
        try await backend.claim(ClaimRequest(batchesMax: max, lease: .seconds(600)))
    }

    private func retry(_ index: UInt16, in duration: Duration) -> Retry {
        Retry(index: index, code: .apnsUnavailable, status: 503, attempts: 3, due: clock.now + duration)
    }

    @Test(arguments: [true, false])
    func `claims batches without a schedule immediately, before newer ones`(reopening: Bool) async throws {
        var backend = try open()
        let waiting = (0..<300).map { sampleBatch(at: clock.now + .milliseconds(Int64($0))) }
        _ = try await backend.append(waiting.map { NewBatch(batch: $0) })
        clock.advance(by: .seconds(2))
        backend = try await setBack(backend, reopening: reopening)
        let first = try await claim(backend, 10).map(\.batch.id)
        clock.advance(by: .seconds(5))
        let newer = sampleBatch(at: clock.now)
        _ = try await backend.append([NewBatch(batch: newer)])
        let others = try await claim(backend).map(\.batch.id)
        let isOrdered = first + others == waiting.map(\.id) + [newer.id]
        #expect(isOrdered, "\(first.count) + \(others.count) batches")
        await backend.close()
    }

    @Test func `reschedules a long backlog in steps, in order`() async throws {
        var backend = try open()
        let waiting = (0..<6000).map { sampleBatch(at: clock.now + .milliseconds(Int64($0 / 10))) }
        _ = try await backend.append(waiting.map { NewBatch(batch: $0) })
        clock.advance(by: .seconds(1))
        backend = try await setBack(backend, reopening: true)
        var order: [BatchID] = []
        while case let claimed = try await claim(backend), !claimed.isEmpty { order += claimed.map(\.batch.id) }
        let isOrdered = order == waiting.map(\.id)
        #expect(isOrdered, "\(order.count) batches")
        await backend.close()
    }

    @Test(arguments: [true, false])
    func `claims scheduled batches at their time by the new clock`(reopening: Bool) async throws {
        var backend = try open()
        let scheduled = sampleBatch(2, at: clock.now, notBefore: clock.now + .seconds(60))
        _ = try await backend.append([NewBatch(batch: scheduled)])
        // A scheduled batch that was claimed and released before.
        let tried = sampleBatch(2, at: clock.now, notBefore: clock.now + .seconds(1))
        _ = try await backend.append([NewBatch(batch: tried)])
        clock.advance(by: .seconds(1))
        let lease = try #require(try await claim(backend).first?.lease)
        let settlement = Settlement(
            lease: lease, outcomes: delivered(1), retries: [retry(1, in: .seconds(5))], release: .release, at: clock.now
        )
        #expect(try await backend.settle([settlement]) == [])
        backend = try await setBack(backend, reopening: reopening)
        #expect(try await claim(backend).isEmpty)
        clock.advance(by: .seconds(3598))
        #expect(try await claim(backend).isEmpty)
        clock.advance(by: .seconds(2))
        #expect(try await claim(backend).map(\.batch.id) == [tried.id])
        clock.advance(by: .seconds(59))
        #expect(try await claim(backend).map(\.batch.id) == [scheduled.id])
        await backend.close()
    }

    @Test func `keeps the mark of pushes that may have been sent`() async throws {
        var backend = try open()
        let batch = sampleBatch(2, at: clock.now)
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(600))])[0])
        _ = try await backend.settle([
            Settlement(lease: lease, retries: [retry(0, in: .seconds(30))], release: .release, at: clock.now)
        ])
        clock.advance(by: .seconds(31))
        let second = try #require(try await claim(backend).first)
        _ = try await backend.settle([Settlement(lease: second.lease, sends: [0], at: clock.now)])
        backend = try await setBack(backend, reopening: true)
        let other = try #require(try await claim(backend).first)
        _ = try await backend.settle([Settlement(lease: other.lease, release: .release, at: clock.now)])
        clock.advance(by: .seconds(7200))
        let claimed = try await claim(backend).flatMap { $0.pending ?? [] }
        #expect(claimed.filter { $0.index == 0 }.map(\.isUnanswered) == [true])
        await backend.close()
    }

    @Test(arguments: [true, false])
    func `retries a push after the rest of its delay, with its attempts`(reopening: Bool) async throws {
        var backend = try open()
        let batch = sampleBatch(4, at: clock.now)
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(600))])[0])
        let retries = [retry(1, in: .seconds(30)), retry(2, in: .seconds(90))]
        _ = try await backend.settle([
            Settlement(lease: lease, outcomes: delivered(1), retries: retries, release: .release, at: clock.now)
        ])
        backend = try await setBack(backend, reopening: reopening)
        let first = try await claim(backend)
        #expect(first.map { $0.pending?.map(\.index) } == [[3]], "never tried")
        _ = try await backend.settle([
            Settlement(
                lease: try #require(first.first).lease,
                outcomes: [
                    Outcome(index: 3, verdict: .delivered, code: .none, status: 200, attempts: 1)
                ], release: .release, at: clock.now)
        ])
        clock.advance(by: .seconds(29))
        #expect(try await claim(backend).isEmpty)
        let status = try #require(try await backend.find([batch.id.push(1)])[0])
        #expect(status.state == .retrying && status.code == .apnsUnavailable && status.attempts == 3)
        clock.advance(by: .seconds(1))
        let second = try await claim(backend)
        #expect(second.map { $0.pending?.map(\.index) } == [[1]])
        #expect(second.first?.pending?.map(\.attempts) == [3])
        _ = try await backend.settle([
            Settlement(lease: try #require(second.first).lease, release: .release, at: clock.now)
        ])
        clock.advance(by: .seconds(60))
        #expect(try await claim(backend).map { $0.pending?.map(\.index) } == [[1, 2]])
        await backend.close()
    }

    @Test(arguments: [true, false])
    func `claims a replayed dead letter immediately`(reopening: Bool) async throws {
        var backend = try open()
        let batch = sampleBatch(2, at: clock.now)
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(600))])[0])
        let dead = Outcome(index: 0, verdict: .givenUp, code: .apnsUnavailable, attempts: 50)
        _ = try await backend.settle([Settlement(lease: lease, outcomes: [dead], release: .release, at: clock.now)])
        #expect(try await backend.replay(.app(nil), at: clock.now) == ReplayCount(replayed: 1))
        backend = try await setBack(backend, reopening: reopening)
        #expect(try await claim(backend).map { $0.pending?.map(\.index) } == [[0, 1]])
        await backend.close()
    }

    @Test func `claims a released batch immediately`() async throws {
        let backend = try open()
        let batch = sampleBatch(2, at: clock.now)
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(60))])[0])
        clock.set(by: .seconds(-3600))
        _ = try await backend.settle([Settlement(lease: lease, release: .release, at: clock.now)])
        let again = try await claim(backend)
        #expect(again.map(\.batch.id) == [batch.id])
        // And after its lease has expired.
        clock.advance(by: .seconds(601))
        #expect(try await claim(backend).map(\.batch.id) == [batch.id])
        await backend.close()
    }

    @Test(arguments: [true, false])
    func `claims a postponed batch no later than its time`(reopening: Bool) async throws {
        var backend = try open()
        let batch = sampleBatch(2, at: clock.now)
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(60))])[0])
        clock.advance(by: .seconds(7200))
        let until = clock.now + .seconds(30)
        _ = try await backend.settle([Settlement(lease: lease, release: .postpone(until: until), at: clock.now)])
        backend = try await setBack(backend, reopening: reopening)
        clock.advance(by: .seconds(30))
        #expect(try await claim(backend).map(\.batch.id) == [batch.id])
        await backend.close()
    }

    @Test func `keeps outcomes no longer than the retention`() async throws {
        let backend = try open()
        clock.set(by: .seconds(365 * 86_400))
        let batch = sampleBatch(at: clock.now)
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(60))])[0])
        _ = try await backend.settle([Settlement(lease: lease, outcomes: delivered(1), at: clock.now)])
        clock.set(by: .seconds(-365 * 86_400))
        let day: Duration = .seconds(86_400)
        while try await backend.prune(endedBefore: clock.now + (.zero - day), batchesMax: 9, now: clock.now) {}
        #expect(try await backend.find([batch.id.push(0)])[0]?.state == .settled(.delivered))
        clock.advance(by: day + .seconds(1))
        while try await backend.prune(endedBefore: clock.now + (.zero - day), batchesMax: 9, now: clock.now) {}
        #expect(try await backend.find([batch.id.push(0)]) == [nil])
        await backend.close()
    }
}
