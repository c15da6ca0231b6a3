import Foundation
import PushModel
import PushStore
import PushTesting
import SQLiteBackend
import Testing

@Suite struct `SQLite with damage or a full disk` {
    private let now = WallTime(seconds: 1_790_000_000)
    private let clock = ManualClock()

    private func open(_ folder: String) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder, clock: clock.queueClock, logger: silence)
    }

    /// Changes bytes of the closed database at the first occurrence of `text`.
    private func damage(_ folder: String, at text: String, _ change: (inout Data, Int) -> Void) throws {
        let url = URL(fileURLWithPath: folder + "/" + SQLiteBackend.fileName)
        var bytes = try Data(contentsOf: url)
        let found = try #require(bytes.range(of: Data(text.utf8)))
        change(&bytes, found.lowerBound)
        try bytes.write(to: url)
    }

    @Test func `a batch that cannot be read is given up once, and its bytes are kept`() async throws {
        let folder = try TemporaryFolder()
        let first = try open(folder.path)
        let (bad, good) = (sampleBatch(3, at: now), sampleBatch(2, at: now + .milliseconds(1)))
        _ = try await first.append([NewBatch(batch: bad), NewBatch(batch: good)])
        await first.close()
        // The push type in the first batch's headers becomes an unknown one.
        try damage(folder.path, at: "alert") { bytes, offset in bytes[offset] = UInt8(ascii: "z") }
        let second = try open(folder.path)
        clock.advance(by: .seconds(1))
        let claimed = try await second.claim(ClaimRequest(batchesMax: 9, lease: .seconds(9)))
        #expect(claimed.count == 1)
        let damaged = claimed.first?.batch.id == good.id ? bad : good
        let statuses = try await second.find((0..<damaged.count).map { damaged.id.push($0) })
        #expect(statuses.allSatisfy { $0?.state == .settled(.givenUp) && $0?.code == .storedDataDamaged })
        #expect(try await second.depth().rows.map(\.batches) == [1])
        let ids = (0..<damaged.count).map { damaged.id.push($0) }
        #expect(try await second.deadLetters(of: nil, after: nil, limit: 9).map(\.id) == ids)
        let shown = try await second.deadLetter(ids[0])
        #expect(shown?.letter.id == ids[0] && shown?.push == nil)
        // A readable one between them is replayed.
        let readable = claimed[0]
        let givenUp = Outcome(index: 0, verdict: .givenUp, code: .givenUp, status: 503, attempts: 50)
        _ = try await second.settle([Settlement(lease: readable.lease, outcomes: [givenUp], at: now)])
        let selected = [ids[0], readable.batch.id.push(0), ids[1]]
        #expect(try await second.replay(.ids(selected), at: now) == ReplayCount(replayed: 1, unreadable: 2))
        #expect(try await second.deadLetter(selected[1]) == nil)
        let skipped = ReplayCount(unreadable: damaged.count)
        #expect(try await second.replay(.app(nil), at: now) == skipped)
        #expect(try await second.deadLetters(of: nil, after: nil, limit: 9).count == damaged.count)
        await second.close()
        // After a repair of the damage the bytes are readable again.
        try damage(folder.path, at: "zlert") { bytes, offset in bytes[offset] = UInt8(ascii: "a") }
        let third = try open(folder.path)
        #expect(try await third.replay(.app(nil), at: now) == ReplayCount(replayed: damaged.count))
        await third.close()
    }

    @Test func `a damaged file stops all writing`() async throws {
        let folder = try TemporaryFolder()
        let first = try open(folder.path)
        _ = try await first.append([NewBatch(batch: sampleBatch(1000, at: now, text: "needle"))])
        await first.close()
        // The text is in an overflow page of the body; each begins with the number of the next one.
        try damage(folder.path, at: "\"needle\":500") { bytes, offset in
            let page = offset / 4096 * 4096
            bytes.replaceSubrange(page..<page + 4, with: [0x7F, 0xFF, 0xFF, 0xFF])
        }
        let second = try open(folder.path)
        func expectBroken(_ call: () async throws -> Void) async {
            do {
                try await call()
                Issue.record("a damaged database was used")
            } catch {
                guard case .broken = error as? QueueError else {
                    Issue.record(error)
                    return
                }
            }
        }
        await expectBroken { _ = try await second.claim(ClaimRequest(batchesMax: 1, lease: .seconds(9))) }
        await expectBroken { _ = try await second.append([NewBatch(batch: sampleBatch(at: now))]) }
        await expectBroken { _ = try await second.depth() }
        await second.close()
    }

    /// The schema table is in the first page, after the header of 100 bytes.
    /// Source: SQLite, "Database File Format", 1.3 and 2.6.
    @Test func `a database with an unreadable schema is refused and not changed`() async throws {
        let folder = try TemporaryFolder()
        await (try open(folder.path)).close()
        let path = folder.path + "/" + SQLiteBackend.fileName
        try damage(folder.path, at: "CREATE TABLE batches") { bytes, offset in
            bytes.replaceSubrange(offset..<offset + 12, with: Data("KREATE DABLE".utf8))
        }
        let damaged = try Data(contentsOf: URL(fileURLWithPath: path))
        let error = #expect(throws: SQLiteOpenError.self) { try open(folder.path) }
        guard case .failed(path, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == damaged)
    }

    /// A lookup cannot detect it: the push looks as if it was never accepted.
    @Test(arguments: [true, false], [1, 8, 13])
    func `a backup finds a flipped bit in the id of a record`(isFinished: Bool, byte: Int) async throws {
        let folder = try TemporaryFolder()
        let first = try open(folder.path)
        let batches = (0..<20).map { sampleBatch(at: now + .milliseconds(Int64($0))) }
        for batch in batches {
            let claim: Duration? = isFinished ? .seconds(60) : nil
            let lease = try await first.append([NewBatch(batch: batch, claim: claim)])[0]
            guard let lease else { continue }
            _ = try await first.settle([Settlement(lease: lease, outcomes: delivered(1), at: now)])
        }
        await first.close()
        _ = try SQLiteBackend.backup(folder: folder.path, to: folder.path + "/good")
        let url = URL(fileURLWithPath: folder.path + "/" + SQLiteBackend.fileName)
        var bytes = try Data(contentsOf: url)
        // In `records` the key, a number of one byte, is between the id and the name of the app.
        let id = batches[10].id.bytes
        var offsets: [Int] = []
        var rest = bytes[...]
        while let found = rest.range(of: id) {
            if bytes[(found.upperBound + 1)...].starts(with: Data("app".utf8)) { offsets.append(found.lowerBound) }
            rest = bytes[found.upperBound...]
        }
        try #require(!offsets.isEmpty)
        for offset in offsets { bytes[offset + byte] ^= 0x40 }
        try bytes.write(to: url)
        let error = #expect(throws: BackupError.self) {
            try SQLiteBackend.backup(folder: folder.path, to: folder.path + "/copy")
        }
        #expect(error?.description.contains("damaged") == true, "\(String(describing: error))")
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/copy"))
    }

    #if os(Linux)
    @Test(.needsRoot)
    func `as root, new pushes are refused while the disk is full, and accepted again without a restart`() async throws {
        let folder = try TemporaryFolder()
        let disk = try SmallDisk(at: folder.path, megabytes: 32)
        defer { disk.unmount() }
        let backend = try open(folder.path + "/db")
        let kept = sampleBatch(500, at: now)
        let leases = try await backend.append([NewBatch(batch: kept, claim: .seconds(9))])
        let filler = folder.path + "/filler"
        try disk.fill(filler)
        var refusals = 0
        var accepted: [Batch] = []
        for _ in 0..<40 where refusals < 3 {
            let batch = sampleBatch(500, at: now)
            do {
                _ = try await backend.append([NewBatch(batch: batch)])
                accepted.append(batch)
            } catch {
                guard case .full = error else { throw error }
                refusals += 1
            }
        }
        #expect(refusals == 3, "the disk was not full")
        try FileManager.default.removeItem(atPath: filler)
        let late = sampleBatch(500, at: now)
        _ = try await backend.append([NewBatch(batch: late)])
        let lease = try #require(leases[0])
        #expect(try await backend.settle([Settlement(lease: lease, outcomes: delivered(500), at: now)]) == [])
        let claimed = try await backend.claim(ClaimRequest(batchesMax: 99, lease: .seconds(9)))
        #expect(Set(claimed.map(\.batch.id)) == Set((accepted + [late]).map(\.id)))
        #expect(try await backend.find([kept.id.push(499)])[0]?.state == .settled(.delivered))
        await backend.close()
    }

    @Test(.needsRoot) func `as root, what was drained can be filled again`() async throws {
        let folder = try TemporaryFolder()
        let disk = try SmallDisk(at: folder.path, megabytes: 32)
        defer { disk.unmount() }
        let backend = try open(folder.path + "/db")
        func fill() async throws -> [Lease] {
            var leases: [Lease] = []
            while leases.count < 2000 {
                let new = NewBatch(batch: sampleBatch(500, at: clock.now), claim: .seconds(600))
                do {
                    guard let lease = try await backend.append([new])[0] else { break }
                    leases.append(lease)
                } catch {
                    guard case .full = error else { throw error }
                    break
                }
            }
            return leases
        }
        var counts: [Int] = []
        let before = try #require(await backend.usage()).bytesFree
        for _ in 0..<4 {
            let leases = try await fill()
            counts.append(leases.count)
            let full = try #require(await backend.usage()).bytesFree
            for lease in leases {
                _ = try await retrying {
                    try await backend.settle([Settlement(lease: lease, outcomes: delivered(500), at: clock.now)])
                }
            }
            for _ in 0..<60 {
                while try await backend.reclaim() {}
                clock.advance(by: .seconds(1))
            }
            let drained = try #require(await backend.usage()).bytesFree
            #expect(drained > full + (before - full) / 3, "\(before) bytes before, \(full) full, \(drained) drained")
        }
        #expect(counts.allSatisfy { $0 >= counts[0] * 8 / 10 }, "\(counts)")
        #expect(counts[0] < 2000, "the disk was not full")
        await backend.close()
    }

    /// Applications cannot use the space that the next start needs.
    @Test(
        .needsRoot,
        arguments: [true, false])
    func `as root, a store on a full disk opens, drains and closes, and accepts pushes after space is freed`(
        isFilledByStore: Bool
    ) async throws {
        let folder = try TemporaryFolder()
        let disk = try SmallDisk(at: folder.path, megabytes: 32)
        defer { disk.unmount() }
        let first = try open(folder.path + "/db")
        var waiting: [Batch] = []
        let claimed = sampleBatch(500, at: now)
        _ = try await first.append([NewBatch(batch: claimed, claim: .seconds(600))])
        func fill(_ backend: SQLiteBackend) async throws {
            for _ in 0..<2000 {
                let batch = sampleBatch(500, at: now)
                do {
                    _ = try await backend.append([NewBatch(batch: batch)])
                    waiting.append(batch)
                } catch {
                    guard case .full = error else { throw error }
                    return
                }
            }
            Issue.record("the disk is not full")
        }
        if isFilledByStore { try await fill(first) }
        await first.close()
        let filler = folder.path + "/filler"
        try disk.fill(filler)

        let second = try open(folder.path + "/db")
        #expect(try await second.find([claimed.id.push(0)])[0]?.state == .queued)
        try await fill(second)
        var delivered: Set<BatchID> = []
        while let held = try await retrying({
            try await second.claim(ClaimRequest(batchesMax: 1, lease: .seconds(600))).first
        }) {
            let all = SQLiteBackendTests.delivered(held.batch.count)
            _ = try await retrying {
                try await second.settle([Settlement(lease: held.lease, outcomes: all, at: now)])
            }
            delivered.insert(held.batch.id)
        }
        #expect(delivered == Set(([claimed] + waiting).map(\.id)))
        await second.close()
        try FileManager.default.removeItem(atPath: filler)
        let third = try open(folder.path + "/db")
        _ = try await third.append([NewBatch(batch: sampleBatch(500, at: now))])
        await third.close()
        #expect(FileManager.default.fileExists(atPath: folder.path + "/db/godwit.reserve"))
    }

    @Test(
        .needsRoot,
        arguments: [0, 1, 4, 8, 12, 20, 30])
    func `as root, a store that cannot be created on a full disk reports it, and is created after space is freed`(
        pagesFree: Int
    ) async throws {
        let folder = try TemporaryFolder()
        let disk = try SmallDisk(at: folder.path, megabytes: 8)
        defer { disk.unmount() }
        let filler = folder.path + "/filler"
        try disk.fill(filler)
        let size = try #require(FileManager.default.attributesOfItem(atPath: filler)[.size] as? NSNumber).intValue
        try #require(truncate(filler, off_t(size - 4096 * pagesFree)) == 0)
        let error = #expect(throws: SQLiteOpenError.self) { try open(folder.path) }
        guard case .diskFull = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        try FileManager.default.removeItem(atPath: filler)
        await (try open(folder.path)).close()
    }

    /// Retries while the disk is full, as the gateway does.
    private func retrying<Value>(_ call: () async throws -> Value) async throws -> Value {
        for _ in 0..<20 {
            do { return try await call() } catch QueueError.full {}
        }
        return try await call()
    }

    @Test(.needsRoot)
    func `as root, a start on a full disk without the reserve fails with advice, and finds all after space is freed`()
        async throws
    {
        let folder = try TemporaryFolder()
        let disk = try SmallDisk(at: folder.path, megabytes: 32)
        defer { disk.unmount() }
        let first = try open(folder.path + "/db")
        let batch = sampleBatch(500, at: now)
        _ = try await first.append([NewBatch(batch: batch)])
        await first.close()
        try FileManager.default.removeItem(atPath: folder.path + "/db/godwit.reserve")
        let filler = folder.path + "/filler"
        try disk.fill(filler)
        let error = #expect(throws: SQLiteOpenError.self) { try open(folder.path + "/db") }
        guard case .diskFull = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        try FileManager.default.removeItem(atPath: filler)
        let second = try open(folder.path + "/db")
        #expect(try await second.find([batch.id.push(0)])[0]?.state == .queued)
        await second.close()
    }
    #endif
}

#if os(Linux)
/// A file system of a few megabytes.
private struct SmallDisk {
    let path: String

    init(at path: String, megabytes: Int) throws {
        self.path = path
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(megabytes)m") == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EPERM)
        }
    }

    func unmount() {
        umount2(path, Int32(MNT_DETACH))
    }

    /// Writes zeros until the disk is full.
    func fill(_ file: String) throws {
        let descriptor = Foundation.open(file, O_CREAT | O_WRONLY, 0o600)
        defer { close(descriptor) }
        let zeros = [UInt8](repeating: 0, count: 4096)
        while write(descriptor, zeros, zeros.count) > 0 {}
        guard errno == ENOSPC else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }
}
#endif
