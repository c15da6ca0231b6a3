import Foundation
import GRDB
import PushModel
import PushStore
import SQLiteBackend
import Synchronization
import Testing

/// Load during a test.
final class Load: Sendable {
    let isDone = Atomic(false)
    let acknowledged = Mutex<[PushID]>([])

    /// Appends until `isDone`.
    func append(to backend: SQLiteBackend, at now: WallTime) async throws {
        while !isDone.load(ordering: .relaxed) {
            let batch = sampleBatch(50, at: now)
            _ = try await backend.append([NewBatch(batch: batch)])
            acknowledged.withLock { $0.append(batch.id.push(49)) }
        }
    }
}

@Suite struct `Backup and restore` {
    private let folder: TemporaryFolder
    private let now = WallTime(seconds: 1_790_000_000)
    private let clock = ManualClock()

    init() throws {
        folder = try TemporaryFolder()
    }

    private var store: String { folder.path + "/store" }
    private var target: String { folder.path + "/backup.sqlite" }

    private func open(_ folder: String? = nil) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder ?? store, clock: clock.queueClock, logger: silence)
    }

    @Test func `a backup under load has every push acknowledged before it`() async throws {
        let backend = try open()
        let load = Load()
        async let first: Void = load.append(to: backend, at: now)
        async let second: Void = load.append(to: backend, at: now)
        while load.acknowledged.withLock({ $0.count }) < 100 { await Task.yield() }
        let before = load.acknowledged.withLock { $0 }
        let report = try SQLiteBackend.backup(folder: store, to: target)
        load.isDone.store(true, ordering: .relaxed)
        _ = try await (first, second)
        #expect(report.batches >= before.count)
        #expect(report.pushesWaiting == 50 * report.batches)
        let folder = folder.path + "/restored"
        #expect(try SQLiteBackend.restore(from: target, folder: folder, clock: clock.queueClock) == report)
        let restored = try open(folder)
        #expect(try await restored.find(before).allSatisfy { $0?.state == .queued })
        #expect(try await restored.depth().pushes == report.pushesWaiting)
        await restored.close()
        await backend.close()
        for path in [target, folder + "/" + SQLiteBackend.fileName] {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
        }
    }

    @Test func `a backup overwrites no file and needs a database`() async throws {
        #expect(throws: BackupError.noDatabase(store)) { try SQLiteBackend.backup(folder: store, to: target) }
        await (try open()).close()
        try Data("mine".utf8).write(to: URL(fileURLWithPath: target))
        #expect(throws: BackupError.targetExists(target)) { try SQLiteBackend.backup(folder: store, to: target) }
        #expect(try String(contentsOfFile: target, encoding: .utf8) == "mine")
        #expect(throws: BackupError.self) {
            try SQLiteBackend.backup(folder: store, to: folder.path + "/nowhere/backup")
        }
    }

    @Test func `a restore is refused while the database is in use, and replaces a database only if allowed`()
        async throws
    {
        let first = try open()
        let kept = sampleBatch(2, at: now)
        _ = try await first.append([NewBatch(batch: kept)])
        _ = try SQLiteBackend.backup(folder: store, to: target)
        let late = sampleBatch(at: now)
        _ = try await first.append([NewBatch(batch: late)])
        let inUse = SQLiteOpenError.inUse(store, processID: Int(getpid()))
        #expect(throws: BackupError.folder(inUse)) {
            try SQLiteBackend.restore(from: target, folder: store, replacing: true)
        }
        await first.close()
        #expect(throws: BackupError.wouldReplace(store)) { try SQLiteBackend.restore(from: target, folder: store) }
        _ = try SQLiteBackend.restore(from: target, folder: store, replacing: true, clock: clock.queueClock)
        let second = try open()
        #expect(try await second.find([kept.id.push(1), late.id.push(0)]).map { $0 != nil } == [true, false])
        await second.close()

        // The replaced database is kept and intact.
        let keptName = try FileManager.default.contentsOfDirectory(atPath: store).first {
            $0.contains(".before-restore-") && !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm")
        }
        let name = try #require(keptName)
        let old = folder.path + "/old"
        _ = try SQLiteBackend.restore(from: store + "/" + name, folder: old)
        let third = try open(old)
        #expect(try await third.find([late.id.push(0)])[0]?.state == .queued)
        await third.close()
    }

    @Test func `a folder or an empty file is refused as backup, and leaves no files`() async throws {
        let (subfolder, empty) = (folder.path + "/nest", folder.path + "/empty")
        try FileManager.default.createDirectory(atPath: subfolder, withIntermediateDirectories: false)
        try Data().write(to: URL(fileURLWithPath: empty))
        for (path, reason) in [(subfolder, "not a file"), (empty, "the file is empty")] {
            #expect(throws: BackupError.unusable(path, reason: reason)) {
                try SQLiteBackend.restore(from: path, folder: store)
            }
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: store)
        #expect(left.allSatisfy { !$0.contains("sqlite") }, "\(left)")
    }

    @Test func `an unsound backup is refused and the database stays`() async throws {
        let first = try open()
        let batch = sampleBatch(1000, at: now, text: "needle")
        _ = try await first.append([NewBatch(batch: batch)])
        await first.close()
        let bad = folder.path + "/bad"
        func expectUnusable() {
            let error = #expect(throws: BackupError.self) {
                try SQLiteBackend.restore(from: bad, folder: store, replacing: true)
            }
            guard case .unusable(bad, _) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        expectUnusable()
        try Data("no database".utf8).write(to: URL(fileURLWithPath: bad))
        expectUnusable()
        try Data().write(to: URL(fileURLWithPath: bad))
        expectUnusable()
        // A newer schema, another program's id: the header of an SQLite file has them at bytes 60 and 68.
        let good = try Data(contentsOf: URL(fileURLWithPath: store + "/" + SQLiteBackend.fileName))
        for offset in [60, 68] {
            var bytes = good
            bytes.replaceSubrange(offset..<offset + 4, with: [0, 0, 0x03, 0xE7])
            try bytes.write(to: URL(fileURLWithPath: bad))
            expectUnusable()
        }
        // A page of a body points to a page that does not exist, which only the complete check finds.
        _ = try SQLiteBackend.backup(folder: store, to: target)
        var bytes = try Data(contentsOf: URL(fileURLWithPath: target))
        let page = try #require(bytes.range(of: Data("\"needle\":500".utf8))).lowerBound / 4096 * 4096
        bytes.replaceSubrange(page..<page + 4, with: [0x7F, 0xFF, 0xFF, 0xFF])
        try bytes.write(to: URL(fileURLWithPath: bad))
        expectUnusable()
        let second = try open()
        #expect(try await second.find([batch.id.push(999)])[0]?.state == .queued)
        await second.close()
    }

    /// As databases were before free pages could be returned.
    private func makeUnshrinkable(_ path: String) throws {
        let database = try DatabaseQueue(path: path)
        try database.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM")
        }
        try database.close()
    }

    @Test func `a restored database of an older version can return free pages`() async throws {
        let old = try open()
        let batch = sampleBatch(100, at: now)
        _ = try await old.append([NewBatch(batch: batch)])
        await old.close()
        func isShrinkable(_ path: String) throws -> Bool {
            let database = try DatabaseQueue(path: path)
            defer { try? database.close() }
            return try database.read { try Int.fetchOne($0, sql: "PRAGMA auto_vacuum") } == 2
        }
        let path = store + "/" + SQLiteBackend.fileName
        #expect(try isShrinkable(path), "a new database")
        try makeUnshrinkable(path)
        #expect(try !isShrinkable(path))
        _ = try SQLiteBackend.backup(folder: store, to: target)
        _ = try SQLiteBackend.restore(from: target, folder: store, replacing: true, clock: clock.queueClock)
        #expect(try isShrinkable(path))
        let new = try open()
        #expect(try await new.find([batch.id.push(99)])[0]?.state == .queued)
        await new.close()
    }

    /// A crash after each step of the replacement of a database.
    @Test(arguments: ["nothing moved", "log moved", "all moved", "in place", "not begun"])
    func `an interrupted replacement is completed, or has not begun`(point: String) async throws {
        let old = try open()
        let before = sampleBatch(at: now)
        _ = try await old.append([NewBatch(batch: before)])
        let other = try open(folder.path + "/other")
        let after = sampleBatch(at: now)
        _ = try await other.append([NewBatch(batch: after)])
        await other.close()
        // A crash of the old database: its log has the appended batch.
        let path = store + "/" + SQLiteBackend.fileName
        let crashed = folder.path + "/crashed"
        try FileManager.default.copyItem(atPath: store, toPath: crashed)
        await old.close()
        try FileManager.default.removeItem(atPath: store)
        try FileManager.default.moveItem(atPath: crashed, toPath: store)

        func move(_ from: String, _ to: String) throws { try FileManager.default.moveItem(atPath: from, toPath: to) }
        try move(folder.path + "/other/" + SQLiteBackend.fileName, path + ".new")
        if point != "not begun" { try Data(".aside".utf8).write(to: URL(fileURLWithPath: path + ".replace")) }
        if ["log moved", "all moved", "in place"].contains(point) { try move(path + "-wal", path + ".aside-wal") }
        if ["all moved", "in place"].contains(point) {
            try move(path + "-shm", path + ".aside-shm")
            try move(path + "-marks", path + ".aside-marks")
            try move(path, path + ".aside")
        }
        if point == "in place" { try move(path + ".new", path) }

        let backend = try open()
        let isNew = point != "not begun"
        #expect(try await backend.find([before.id.push(0), after.id.push(0)]).map { $0 != nil } == [!isNew, isNew])
        await backend.close()
        let names = try FileManager.default.contentsOfDirectory(atPath: store)
        #expect(!names.contains { $0.hasSuffix(".new") || $0.hasSuffix(".replace") }, "\(names)")
        #expect(names.contains(SQLiteBackend.fileName + ".aside") == isNew, "\(names)")
    }
}
