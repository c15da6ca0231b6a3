import Foundation
import PushModel
import PushStore
import SQLiteBackend
import Synchronization
import Testing

/// A clock whose wall time blocks every reader, including the writer, between `stop` and `resume`.
final class StoppingClock: Sendable {
    private let isStopped = Mutex(false)
    private let semaphore = DispatchSemaphore(value: 0)

    var queueClock: QueueClock {
        QueueClock(
            wall: {
                if self.isStopped.withLock({ $0 }) { self.semaphore.wait() }
                return WallTime(seconds: 1_790_000_000)
            },
            monotonic: { .zero }
        )
    }

    func stop() { isStopped.withLock { $0 = true } }

    func resume() {
        isStopped.withLock { $0 = false }
        semaphore.signal()
    }
}

@Suite struct `Group commit` {
    private let folder: TemporaryFolder
    private let clock = StoppingClock()
    private let now = WallTime(seconds: 1_790_000_000)

    init() throws {
        folder = try TemporaryFolder()
    }

    private func open(_ configuration: SQLiteConfiguration = SQLiteConfiguration()) throws -> SQLiteBackend {
        try SQLiteBackend.open(
            folder: folder.path, configuration: configuration, clock: clock.queueClock, logger: silence
        )
    }

    /// Runs `calls` while a first append blocks the writer, until `waiting` of them wait.
    private func behindABusyWriter(
        _ backend: SQLiteBackend, waiting: Int, _ calls: @escaping @Sendable () async throws -> Void
    ) async throws {
        clock.stop()
        async let first = backend.append([NewBatch(batch: sampleBatch(at: now))])
        while backend.statistics.startedCalls < 1 { await Task.yield() }
        async let others: Void = calls()
        while backend.statistics.waitingCalls < waiting { await Task.yield() }
        clock.resume()
        _ = try await first
        try await others
    }

    @Test func `200 appends during a commit share the next one`() async throws {
        let backend = try open()
        let now = now
        try await behindABusyWriter(backend, waiting: 200) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<200 {
                    group.addTask { _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))]) }
                }
                try await group.waitForAll()
            }
        }
        #expect(backend.statistics.commits == 2)
        #expect(backend.statistics.calls == 201)
        #expect(try await backend.depth().pushes == 201)
        await backend.close()
    }

    @Test func `a call that fails does not affect other calls of the same commit`() async throws {
        let backend = try open()
        let now = now
        let known = sampleBatch(at: now)
        _ = try await backend.append([NewBatch(batch: known, claim: .seconds(9))])
        let before = backend.statistics.commits
        clock.stop()
        async let first = backend.append([NewBatch(batch: sampleBatch(at: now))])
        while backend.statistics.startedCalls < 2 { await Task.yield() }
        async let good = backend.append([NewBatch(batch: sampleBatch(at: now), claim: .seconds(9))])
        async let bad = backend.append([NewBatch(batch: sampleBatch(at: now)), NewBatch(batch: known)])
        async let settled = backend.settle([
            Settlement(lease: Lease(batch: known.id, epoch: 1), outcomes: delivered(1), at: now)
        ])
        while backend.statistics.waitingCalls < 3 { await Task.yield() }
        clock.resume()
        _ = try await first
        #expect(try await good.compactMap { $0 }.count == 1)
        #expect(try await settled.isEmpty)
        do {
            _ = try await bad
            Issue.record("a batch id that is in use was accepted")
        } catch {
            guard case .unavailable(_, isOutcomeKnown: true) = error as? QueueError else { throw error }
        }
        #expect(backend.statistics.commits == before + 2)
        #expect(try await backend.depth().rows.map(\.batches) == [2])
        await backend.close()
    }

    @Test func `a settlement that is repeated because another call failed is counted once`() async throws {
        let backend = try open()
        let now = now
        let known = sampleBatch(2, at: now)
        _ = try await backend.append([NewBatch(batch: known, claim: .seconds(9))])
        let started = backend.statistics.startedCalls
        clock.stop()
        async let first = backend.append([NewBatch(batch: sampleBatch(at: now))])
        while backend.statistics.startedCalls < started + 1 { await Task.yield() }
        async let settled = backend.settle([
            Settlement(lease: Lease(batch: known.id, epoch: 1), outcomes: delivered(2), at: now)
        ])
        while backend.statistics.waitingCalls < 1 { await Task.yield() }
        async let bad = backend.append([NewBatch(batch: known)])
        while backend.statistics.waitingCalls < 2 { await Task.yield() }
        clock.resume()
        _ = try await first
        #expect(try await settled.isEmpty)
        do {
            _ = try await bad
            Issue.record("a batch id that is in use was accepted")
        } catch {
            guard case .unavailable(_, isOutcomeKnown: true) = error as? QueueError else { throw error }
        }
        #expect(backend.settled().counts.values.reduce(0, +) == 2)
        await backend.close()
    }

    @Test func `waiting calls are bounded, and refused ones leave no trace`() async throws {
        var configuration = SQLiteConfiguration()
        configuration.waitingCallsMax = 3
        let backend = try open(configuration)
        let now = now
        clock.stop()
        async let first = backend.append([NewBatch(batch: sampleBatch(at: now))])
        while backend.statistics.startedCalls < 1 { await Task.yield() }
        async let second = backend.append([NewBatch(batch: sampleBatch(at: now))])
        async let third = backend.append([NewBatch(batch: sampleBatch(at: now))])
        async let fourth = backend.append([NewBatch(batch: sampleBatch(at: now))])
        while backend.statistics.waitingCalls < 3 { await Task.yield() }
        do {
            _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))])
            Issue.record("a call above the limit was accepted")
        } catch {
            guard case .full = error as QueueError else { throw error }
        }
        clock.resume()
        _ = try await (first, second, third, fourth)
        #expect(try await backend.depth().pushes == 4)
        await backend.close()
    }

    @Test func `a lone call is committed immediately`() async throws {
        let backend = try open()
        for _ in 0..<5 { _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))]) }
        #expect(backend.statistics.commits == 5)
        await backend.close()
    }

    @Test func `the log stays bounded`() async throws {
        var configuration = SQLiteConfiguration()
        configuration.checkpointPages = 100
        let backend = try open(configuration)
        for _ in 0..<200 { _ = try await backend.append([NewBatch(batch: sampleBatch(500, at: now))]) }
        let log = folder.path + "/" + SQLiteBackend.fileName + "-wal"
        let size = try FileManager.default.attributesOfItem(atPath: log)[.size] as? NSNumber
        // 100 pages of 4 KiB, and the pages of one transaction.
        #expect((size?.intValue ?? .max) < 1 << 20)
        await backend.close()
    }
}
