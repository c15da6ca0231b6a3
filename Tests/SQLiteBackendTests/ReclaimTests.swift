import Foundation
import GRDB
import PushModel
import PushStore
import SQLiteBackend
import Testing

@Suite struct `Free space of SQLite` {
    private let clock = ManualClock()

    private func open(_ folder: String) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder, clock: clock.queueClock, logger: silence)
    }

    /// How often the store's files contain the text.
    private func occurrences(of text: String, in folder: String) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: folder).reduce(0) { count, name in
            let bytes = try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name))
            guard !bytes.isEmpty else { return count }
            // `Data.range(of:)` takes a minute without optimization.
            let found = bytes.withUnsafeBytes { bytes in
                var (found, next) = (0, 0)
                while let hit = memchr(bytes.baseAddress! + next, CInt(text.utf8.first!), bytes.count - next) {
                    next = bytes.baseAddress!.distance(to: hit) + 1
                    let isHit = bytes.count - next + 1 >= text.utf8.count && memcmp(hit, text, text.utf8.count) == 0
                    if isHit { found += 1 }
                    if next == bytes.count { break }
                }
                return found
            }
            return count + found
        }
    }

    private func logBytes(_ folder: String) throws -> Int {
        try Data(contentsOf: URL(fileURLWithPath: folder + "/" + SQLiteBackend.fileName + "-wal")).count
    }

    /// Maintenance for this long, every second.
    private func maintain(_ backend: SQLiteBackend, seconds: Int) async throws {
        for _ in 0..<seconds {
            while try await backend.reclaim() {}
            clock.advance(by: .seconds(1))
        }
    }

    private func end(_ lease: Lease, _ count: Int, in backend: SQLiteBackend) async throws {
        _ = try await backend.settle([
            Settlement(lease: lease, outcomes: delivered(count), release: .release, at: clock.now)
        ])
    }

    /// Seeds of the order in which batches end: two that left content in pages in use, and a new one each time.
    /// `GODWIT_TEST_SEEDS=100..<140` runs others.
    private static var seeds: [UInt64] {
        let range = ProcessInfo.processInfo.environment["GODWIT_TEST_SEEDS"]?.split(separator: "..<")
        let bounds = range?.compactMap { UInt64($0) }
        guard let bounds, bounds.count == 2 else { return [4, 7, .random(in: 1000...9999)] }
        return Array(bounds[0]..<bounds[1])
    }

    @Test(arguments: seeds)
    func `has no content of ended pushes after a quiet minute, and the others keep theirs`(seed: UInt64) async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        var leases: [(lease: Lease, count: Int)] = []
        var waiting: [Batch] = []
        var random = SeededGenerator(seed: seed)
        for index in 0..<400 {
            let count = [1, 1, 3, 10, 200].randomElement(using: &random)!
            if index.isMultiple(of: 20) {
                let id = BatchID(at: clock.now, using: &random)
                let batch = sampleBatch(count, at: clock.now, id: id, text: "waiting")
                _ = try await backend.append([NewBatch(batch: batch)])
                waiting.append(batch)
            }
            let id = BatchID(at: clock.now, using: &random)
            let batch = sampleBatch(count, at: clock.now, id: id, text: "ended")
            leases.append(
                (try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(600))])[0]), count))
            guard leases.count > 30 else { continue }
            let next = leases.remove(at: leases.indices.randomElement(using: &random)!)
            try await end(next.lease, next.count, in: backend)
        }
        for next in leases { try await end(next.lease, next.count, in: backend) }
        let dead = sampleBatch(2, at: clock.now, id: BatchID(at: clock.now, using: &random), text: "dead")
        let lease = try #require(try await backend.append([NewBatch(batch: dead, claim: .seconds(600))])[0])
        let givenUp = Outcome(index: 0, verdict: .givenUp, code: .apnsUnavailable, attempts: 50)
        _ = try await backend.settle([
            Settlement(lease: lease, outcomes: [givenUp] + delivered(2).suffix(1), at: clock.now)
        ])

        #expect(try occurrences(of: "\"ended\"", in: folder.path) > 1000, "the search finds content")
        try await maintain(backend, seconds: 60)
        #expect(try occurrences(of: "\"ended\"", in: folder.path) == 0)
        #expect(try logBytes(folder.path) == 0)
        #expect(try occurrences(of: "\"waiting\"", in: folder.path) > 0)
        #expect(try occurrences(of: "\"dead\"", in: folder.path) > 0)
        clock.advance(by: .seconds(1))
        let claimed = try await backend.claim(ClaimRequest(batchesMax: 999, lease: .seconds(9)))
        #expect(Set(claimed.map(\.batch.id)) == Set(waiting.map(\.id)))
        let letter = try await backend.deadLetter(dead.id.push(0))
        #expect(letter?.push != nil)
        await backend.close()
    }

    @Test func `is kept under load, and the content of single pushes is removed although more arrive`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        func push(_ count: Int, _ text: String) async throws {
            let batch = sampleBatch(count, at: clock.now, text: text)
            let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(60))])[0])
            try await end(lease, count, in: backend)
        }
        for _ in 0..<30 {
            for _ in 0..<40 { try await push(2, "load") }
            try await maintain(backend, seconds: 1)
        }
        #expect(try logBytes(folder.path) > 0, "a load is not interrupted by truncations")
        var left: Set<Int> = []
        for second in 0..<80 {
            if second < 20 { try await push(1, "single") } else { try await push(1, "later") }
            try await maintain(backend, seconds: 1)
            if try occurrences(of: "\"load\"", in: folder.path) > 0 { left.insert(second) }
        }
        #expect(left.contains(0) && !left.contains(60), "\(left.sorted())")
        #expect(try occurrences(of: "\"single\"", in: folder.path) == 0)
        await backend.close()
    }

    /// A backup reads for minutes; writes must not wait for it.
    @Test func `is reclaimed after a reader has ended`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        let batch = sampleBatch(500, at: clock.now, text: "ended")
        let lease = try #require(try await backend.append([NewBatch(batch: batch, claim: .seconds(60))])[0])
        let reader = try DatabaseReaderInTransaction(folder.path + "/" + SQLiteBackend.fileName)
        try await end(lease, 500, in: backend)
        try await maintain(backend, seconds: 60)
        #expect(try occurrences(of: "\"ended\"", in: folder.path) > 0)
        try reader.end()
        try await maintain(backend, seconds: 60)
        #expect(try occurrences(of: "\"ended\"", in: folder.path) == 0)
        await backend.close()
    }
}

/// A connection that keeps its view of the database until `end`.
private struct DatabaseReaderInTransaction {
    private let queue: DatabaseQueue

    init(_ path: String) throws {
        var configuration = Configuration()
        configuration.readonly = true
        configuration.allowsUnsafeTransactions = true
        queue = try DatabaseQueue(path: path, configuration: configuration)
        try queue.inDatabase { db in
            try db.execute(sql: "BEGIN")
            _ = try Int.fetchOne(db, sql: "SELECT count(*) FROM batches")
        }
    }

    func end() throws {
        try queue.inDatabase { try $0.execute(sql: "COMMIT") }
        try queue.close()
    }
}
