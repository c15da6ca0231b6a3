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

    /// Makes the last beat as old as that.
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

    /// What a crash would leave of the database: opened in a folder of its own.
    private func afterCrash(of folder: String) throws -> (SQLiteBackend, TemporaryFolder) {
        let copy = try TemporaryFolder()
        for name in [SQLiteBackend.fileName, SQLiteBackend.fileName + "-wal"] {
            try FileManager.default.copyItem(atPath: folder + "/" + name, toPath: copy.path + "/" + name)
        }
        return (try open(copy.path), copy)
    }

    @Test func `is taken over when it is silent, and whatever it writes afterwards is refused`() async throws {
        let folder = try TemporaryFolder()
        let zombie = try open(folder.path)
        let batch = sampleBatch(2, at: now)
        let lease = try #require(try await zombie.append([NewBatch(batch: batch, claim: .seconds(3600))])[0])
        try age(folder.path, by: .seconds(60))
        let heir = try open(folder.path, takeoverAfter: .seconds(30))
        let claimed = try await heir.claim(ClaimRequest(batchesMax: 9, lease: .seconds(3600)))
        #expect(claimed.map(\.batch.id) == [batch.id])

        await expectRefused {
            _ = try await zombie.settle([Settlement(lease: lease, outcomes: delivered(2), at: now)])
        }
        await expectRefused { _ = try await zombie.append([NewBatch(batch: sampleBatch(at: now))]) }
        #expect(try await heir.find([batch.id.push(0)])[0]?.state == .sending)
        #expect(try await heir.depth().pushes == 2)
        await zombie.close()

        // The zombie's farewell took nothing of the heir's with it.
        let late = sampleBatch(at: now)
        _ = try await heir.append([NewBatch(batch: late)])
        let (survivor, copy) = try afterCrash(of: folder.path)
        #expect(try await survivor.find([late.id.push(0)])[0]?.state == .queued)
        await survivor.close()
        await heir.close()
        withExtendedLifetime(copy) {}
    }

    @Test func `that is stopped in the middle of a write is taken over, and its write is not answered for`()
        async throws
    {
        let folder = try TemporaryFolder()
        let clock = StoppingClock()
        let zombie = try open(folder.path, clock: clock.queueClock)
        let known = sampleBatch(3, at: now)
        _ = try await zombie.append([NewBatch(batch: known)])
        clock.stop()
        let unanswered = sampleBatch(at: now)
        async let written = zombie.append([NewBatch(batch: unanswered)])
        while zombie.statistics.startedCalls < 2 { await Task.yield() }

        try age(folder.path, by: .seconds(60))
        let heir = try open(folder.path, takeoverAfter: .seconds(30))
        #expect(try await heir.claim(ClaimRequest(batchesMax: 9, lease: .seconds(9))).map(\.batch) == [known])
        let late = sampleBatch(at: now)
        _ = try await heir.append([NewBatch(batch: late)])

        clock.goOn()
        do {
            _ = try await written
            Issue.record("a former owner answered for a write")
        } catch {
            guard case .unavailable(_, isOutcomeKnown: false) = error as? QueueError else { throw error }
        }
        await expectRefused { _ = try await zombie.append([NewBatch(batch: sampleBatch(at: now))]) }
        await zombie.close()
        #expect(try await heir.find([unanswered.id.push(0)]) == [nil])
        let (survivor, copy) = try afterCrash(of: folder.path)
        #expect(try await survivor.find([known.id.push(0), late.id.push(0)]).map { $0?.state } == [.queued, .queued])
        await survivor.close()
        await heir.close()
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names.contains { $0.hasPrefix(SQLiteBackend.fileName + ".left-") }, "\(names)")
        withExtendedLifetime(copy) {}
    }

    @Test func `is not taken over while it beats`() async throws {
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

    /// The wall clock was set forward: the owner looks silent, and yet it beats.
    @Test func `is not taken over when it beats while it is watched`() async throws {
        let folder = try TemporaryFolder()
        let owner = try open(folder.path)
        try age(folder.path, by: .seconds(3600))
        let load = Load()
        let beating = Thread {
            while !load.isDone.load(ordering: .relaxed) { owner.heartbeat() }
        }
        // The watch begins before the first beat is seen, however the threads are scheduled: it is a long one.
        var configuration = SQLiteConfiguration()
        configuration.takeoverObservation = .seconds(3)
        let later = now + .seconds(3600)
        let clock = QueueClock(wall: { later }, monotonic: { .zero })
        beating.start()
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
    func `refuses to write when its files are gone, and notices it by itself`(name: String) async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))])
        let path = name.isEmpty ? folder.path : folder.path + "/" + name
        try FileManager.default.moveItem(atPath: path, toPath: path + ".moved")
        defer { try? FileManager.default.removeItem(atPath: path + ".moved") }
        backend.heartbeat()
        await expectRefused { _ = try await backend.append([NewBatch(batch: sampleBatch(at: now))]) }
        // It stays so, even if they come back: nobody knows what happened to them.
        try FileManager.default.moveItem(atPath: path + ".moved", toPath: path)
        await expectRefused { _ = try await backend.depth() }
        await backend.close()
    }

    @Test(arguments: ["-wal", "-shm"])
    func `keeps what it acknowledged when its log is deleted, and puts it into the database at its end`(
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

    @Test func `goes on when another connection copies its database and is closed`() async throws {
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
