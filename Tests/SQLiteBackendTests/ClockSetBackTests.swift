import PushModel
import PushStore
import SQLiteBackend
import Testing

/// The clock is set back by an hour. Nobody must wait for it to catch up.
@Suite struct `A wall clock that is set back under SQLite` {
    private let clock = ManualClock()
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func open() throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder.path, clock: clock.queueClock, logger: silence)
    }

    /// Between two starts, or under the running process.
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
    func `what asked for no moment is due at once, before what comes later`(reopening: Bool) async throws {
        var backend = try open()
        let waiting = (0..<300).map { sampleBatch(at: clock.now + .milliseconds(Int64($0))) }
        _ = try await backend.append(waiting.map { NewBatch(batch: $0) })
        clock.advance(by: .seconds(2))
        backend = try await setBack(backend, reopening: reopening)
        let first = try await claim(backend, 10).map(\.batch.id)
        clock.advance(by: .seconds(5))
        let newer = sampleBatch(at: clock.now)
        _ = try await backend.append([NewBatch(batch: newer)])
        let rest = try await claim(backend).map(\.batch.id)
        let isOrdered = first + rest == waiting.map(\.id) + [newer.id]
        #expect(isOrdered, "\(first.count) + \(rest.count) batches")
        await backend.close()
    }

    @Test func `a long backlog is looked at in steps, and keeps its order`() async throws {
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
    func `what is scheduled waits for its moment by the clock`(reopening: Bool) async throws {
        var backend = try open()
        let scheduled = sampleBatch(2, at: clock.now, notBefore: clock.now + .seconds(60))
        _ = try await backend.append([NewBatch(batch: scheduled)])
        // Once it was claimed and came back.
        let begun = sampleBatch(2, at: clock.now, notBefore: clock.now + .seconds(1))
        _ = try await backend.append([NewBatch(batch: begun)])
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
        #expect(try await claim(backend).map(\.batch.id) == [begun.id])
        clock.advance(by: .seconds(59))
        #expect(try await claim(backend).map(\.batch.id) == [scheduled.id])
        await backend.close()
    }

    @Test func `what may have been sent still shows it`() async throws {
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
        let soon = try #require(try await claim(backend).first)
        _ = try await backend.settle([Settlement(lease: soon.lease, release: .release, at: clock.now)])
        clock.advance(by: .seconds(7200))
        let claimed = try await claim(backend).flatMap { $0.pending ?? [] }
        #expect(claimed.filter { $0.index == 0 }.map(\.isUnanswered) == [true])
        await backend.close()
    }

    @Test(arguments: [true, false])
    func `a retry waits no longer than its delay, and keeps its attempts`(reopening: Bool) async throws {
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
    func `a dead letter that was replayed is due at once`(reopening: Bool) async throws {
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

    @Test func `what was claimed and is given back is due at once`() async throws {
        let backend = try open()
        let batch = sampleBatch(2, at: clock.now)
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(60))])[0])
        clock.set(by: .seconds(-3600))
        _ = try await backend.settle([Settlement(lease: lease, release: .release, at: clock.now)])
        let again = try await claim(backend)
        #expect(again.map(\.batch.id) == [batch.id])
        // And by a lease that ran out.
        clock.advance(by: .seconds(601))
        #expect(try await claim(backend).map(\.batch.id) == [batch.id])
        await backend.close()
    }

    @Test(arguments: [true, false])
    func `what was postponed does not wait for longer`(reopening: Bool) async throws {
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

    @Test func `outcomes are kept no longer than is meant`() async throws {
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
