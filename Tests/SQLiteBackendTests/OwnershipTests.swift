import Foundation
import PushModel
import PushStore
import SQLiteBackend
import Synchronization
import Testing

@Suite struct `The owner of an SQLite database` {
    private let now = QueueClock.system.wall()

    private func open(
        _ folder: String, takeoverAfter: Duration? = nil, clock: QueueClock = .system
    ) throws -> SQLiteBackend {
        var configuration = SQLiteConfiguration()
        configuration.takeoverObservation = .milliseconds(50)
        configuration.busyTimeout = .milliseconds(50)
        return try SQLiteBackend.open(
            folder: folder, configuration: configuration, takeoverAfter: takeoverAfter, clock: clock, logger: silence
        )
    }

    /// Makes the last heartbeat `duration` old.
    private func age(_ folder: String, by duration: Duration) throws {
        let seconds = Double((now + (.zero - duration)).milliseconds) / 1000
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: seconds)], ofItemAtPath: folder + "/godwit.lock"
        )
    }

    private func expectRefused(_ call: () async throws -> Void) async {
        do {
            try await call()
            Issue.record("a former owner wrote")
        } catch {
            guard case .broken = error as? QueueError else {
                Issue.record(error)
                return
            }
        }
    }

    /// Opens a copy of the database as a crash would leave it.
    private func afterCrash(of folder: String) throws -> (SQLiteBackend, TemporaryFolder) {
        let copy = try TemporaryFolder()
        for name in [SQLiteBackend.fileName, SQLiteBackend.fileName + "-wal"] {
            try FileManager.default.copyItem(atPath: folder + "/" + name, toPath: copy.path + "/" + name)
        }
        return (try open(copy.path), copy)
    }

    @Test func `is taken over when its heartbeat is stale, and its later writes are refused`() async throws {
        let folder = try TemporaryFolder()
        let former = try open(folder.path)
        let batch = sampleBatch(2, at: now)
        let lease = try #require(try await former.append([NewBatch(batch: batch, claim: .seconds(3600))])[0])
        try age(folder.path, by: .seconds(60))
        let owner = try open(folder.path, takeoverAfter: .seconds(30))
        let claimed = try await owner.claim(ClaimRequest(batchesMax: 9, lease: .seconds(3600)))
        #expect(claimed.map(\.batch.id) == [batch.id])

        await expectRefused {
            _ = try await former.settle([Settlement(lease: lease, outcomes: delivered(2), at: now)])
        }
        await expectRefused { _ = try await former.append([NewBatch(batch: sampleBatch(at: now))]) }
        #expect(try await owner.find([batch.id.push(0)])[0]?.state == .sending)
        #expect(try await owner.depth().pushes == 2)
        await former.close()

        // Closing the former owner did not remove data of the new one.
        let late = sampleBatch(at: now)
        _ = try await owner.append([NewBatch(batch: late)])
        let (recovered, copy) = try afterCrash(of: folder.path)
        #expect(try await recovered.find([late.id.push(0)])[0]?.state == .queued)
        await recovered.close()
        await owner.close()
        withExtendedLifetime(copy) {}
    }

    @Test func `that is suspended during a write is taken over, and its write is not acknowledged`()
        async throws
    {
        let folder = try TemporaryFolder()
        let clock = StoppingClock()
        let former = try open(folder.path, clock: clock.queueClock)
        let known = sampleBatch(3, at: now)
        _ = try await former.append([NewBatch(batch: known)])
        clock.stop()
        let unacknowledged = sampleBatch(at: now)
        async let written = former.append([NewBatch(batch: unacknowledged)])
        while former.statistics.startedCalls < 2 { await Task.yield() }

        try age(folder.path, by: .seconds(60))
        let owner = try open(folder.path, takeoverAfter: .seconds(30))
        #expect(try await owner.claim(ClaimRequest(batchesMax: 9, lease: .seconds(9))).map(\.batch) == [known])
        let late = sampleBatch(at: now)
        _ = try await owner.append([NewBatch(batch: late)])

        clock.resume()
        do {
            _ = try await written
            Issue.record("a former owner acknowledged a write")
        } catch {
            guard case .unavailable(_, isOutcomeKnown: false) = error as? QueueError else { throw error }
        }
        await expectRefused { _ = try await former.append([NewBatch(batch: sampleBatch(at: now))]) }
        await former.close()
        #expect(try await owner.find([unacknowledged.id.push(0)]) == [nil])
        let (recovered, copy) = try afterCrash(of: folder.path)
        #expect(try await recovered.find([known.id.push(0), late.id.push(0)]).map { $0?.state } == [.queued, .queued])
        await recovered.close()
        await owner.close()
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names.contains { $0.hasPrefix(SQLiteBackend.fileName + ".left-") }, "\(names)")
        withExtendedLifetime(copy) {}
    }

    @Test func `is not taken over while it writes heartbeats`() async throws {
        let folder = try TemporaryFolder()
        let owner = try open(folder.path)
        try age(folder.path, by: .seconds(60))
        #expect(throws: SQLiteOpenError.inUse(folder.path, processID: Int(getpid()))) { try open(folder.path) }
        owner.heartbeat()
        let refusal = try #require(throws: SQLiteOpenError.self) {
            try open(folder.path, takeoverAfter: .seconds(30))
        }
        guard case .ownerAlive(folder.path, Int(getpid()), let since, .seconds(30)) = refusal else { throw refusal }
        #expect(since < .seconds(30))
        #expect(refusal.description.contains("try again in"))
        _ = try await owner.append([NewBatch(batch: sampleBatch(at: now))])
        await owner.close()
    }

    /// The wall clock moved forwards: the heartbeat looks stale, but the owner still writes heartbeats.
    @Test func `is not taken over when it writes a heartbeat during the observation`() async throws {
        let folder = try TemporaryFolder()
        let owner = try open(folder.path)
        try age(folder.path, by: .seconds(3600))
        let load = Load()
        let heartbeats = Thread {
            while !load.isDone.load(ordering: .relaxed) { owner.heartbeat() }
        }
        // Long enough to see a heartbeat, however the threads are scheduled.
        var configuration = SQLiteConfiguration()
        configuration.takeoverObservation = .seconds(3)
        let later = now + .seconds(3600)
        let clock = QueueClock(wall: { later }, monotonic: { .zero })
        heartbeats.start()
        let refusal = SQLiteOpenError.ownerAlive(
            folder.path, processID: Int(getpid()), since: .zero, needed: .seconds(30)
        )
        #expect(throws: refusal) {
            try SQLiteBackend.open(
                folder: folder.path, configuration: configuration, takeoverAfter: .seconds(30), clock: clock,
                logger: silence
            )
        }
        load.isDone.store(true, ordering: .relaxed)
        _ = try await owner.append([NewBatch(batch: sampleBatch(at: now))])
        await owner.close()
    }

    @Test(arguments: [
        SQLiteBackend.fileName, SQLiteBackend.fileName + "-wal", SQLiteBackend.fileName + "-shm", "godwit.lock", "",
    ])
    func `detects that its files are gone, and refuses to write`(name: String) async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))])
        let path = name.isEmpty ? folder.path : folder.path + "/" + name
        try FileManager.default.moveItem(atPath: path, toPath: path + ".moved")
        defer { try? FileManager.default.removeItem(atPath: path + ".moved") }
        backend.heartbeat()
        await expectRefused { _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))]) }
        // It still refuses when the files are back, because their content is not known.
        try FileManager.default.moveItem(atPath: path + ".moved", toPath: path)
        await expectRefused { _ = try await backend.depth() }
        await backend.close()
    }

    @Test(arguments: ["-wal", "-shm"])
    func `copies acknowledged data into the database when it closes, even if its log was deleted`(
        suffix: String
    ) async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        let batch = sampleBatch(2, at: now)
        _ = try await backend.append([NewBatch(batch: batch)])
        try FileManager.default.removeItem(atPath: folder.path + "/" + SQLiteBackend.fileName + suffix)
        backend.heartbeat()
        await expectRefused { _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))]) }
        await backend.close()
        let next = try open(folder.path)
        #expect(try await next.find([batch.id.push(1)])[0]?.state == .queued)
        await next.close()
    }

    @Test func `continues when another connection copies its database and is closed`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))])
        _ = try SQLiteBackend.backup(folder: folder.path, to: folder.path + "/copy")
        backend.heartbeat()
        _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))])
        #expect(try await backend.depth().pushes == 2)
        await backend.close()
    }
}
