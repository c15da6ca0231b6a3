import Foundation
import PushModel
import PushStore
import SQLiteBackend
import Testing

/// Bit flips and cuts in the write-ahead log of a crashed process.
@Suite struct `A damaged write-ahead log` {
    private let clock = ManualClock()
    private let names = ["", "-wal", "-marks"].map { SQLiteBackend.fileName + $0 }
    private static let log = SQLiteBackend.fileName + "-wal"
    private static let marks = SQLiteBackend.fileName + "-marks"

    private func open(_ folder: String, acceptsLoss: Bool = false) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder, acceptsLoss: acceptsLoss, clock: clock.queueClock, logger: silence)
    }

    /// The files as a crash of the process leaves them, and the acknowledged pushes.
    private func crashed(batches: Int = 12) async throws -> (files: [String: Data], pushes: [PushID]) {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        var pushes: [PushID] = []
        for index in 0..<batches {
            let batch = sampleBatch(index % 3 * 40 + 1, at: clock.now)
            _ = try await backend.append([NewBatch(batch: batch)])
            pushes.append(batch.id.push(0))
        }
        let files = try read(folder.path)
        await backend.close()
        return (files, pushes)
    }

    private func read(_ folder: String) throws -> [String: Data] {
        try names.reduce(into: [:]) { $0[$1] = try Data(contentsOf: URL(fileURLWithPath: folder + "/" + $1)) }
    }

    private func write(_ files: [String: Data]) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        for (name, data) in files { try data.write(to: URL(fileURLWithPath: folder.path + "/" + name)) }
        return folder
    }

    /// - Returns: why the start was refused; nil if it was not.
    private func refusal(_ files: [String: Data]) async throws -> String? {
        let folder = try write(files)
        do {
            await (try open(folder.path)).close()
            return nil
        } catch let error as SQLiteOpenError {
            guard case .writesMissing = error else { throw error }
            return error.description
        }
    }

    /// By frame: whether it ends a transaction. Source: SQLite, "Database File Format", 4.1.
    private func frames(_ log: Data) -> [Bool] {
        stride(from: 32, to: log.count, by: 24 + 4096).map { log[$0 + 4..<$0 + 8].contains { $0 != 0 } }
    }

    @Test func `without damage loses nothing`() async throws {
        let (files, pushes) = try await crashed()
        let folder = try write(files)
        let backend = try open(folder.path)
        #expect(try await backend.find(pushes).allSatisfy { $0?.state == .queued })
        await backend.close()
    }

    @Test func `is refused wherever a bit is flipped`() async throws {
        let (files, _) = try await crashed()
        let log = try #require(files[Self.log])
        let count = frames(log).count
        try #require(count > 20)
        // The parts of the log's header, and of each frame: size, salts, checksum, first and last bytes of the page.
        var offsets = [0, 9, 17, 25]
        for frame in 0..<count {
            for byte in [5, 9, 17, 24, 24 + 4095] { offsets.append(32 + frame * (24 + 4096) + byte) }
        }
        for offset in offsets {
            var damaged = files
            damaged[Self.log]![offset] ^= 0x10
            let refusal = try await refusal(damaged)
            #expect(refusal?.contains("write-ahead log") == true, "byte \(offset)")
            #expect(refusal?.contains("--accept-loss") == true)
        }
    }

    /// The marks may be missing after a crash of the machine.
    @Test func `is refused without marks if a later transaction was acknowledged`() async throws {
        var (files, pushes) = try await crashed()
        files[Self.marks] = nil
        let log = try #require(files[Self.log])
        let commits = frames(log).indices.filter { frames(log)[$0] }
        try #require(commits.count == pushes.count)
        for frame in stride(from: 0, through: commits[commits.count - 2], by: 3) {
            var damaged = files
            damaged[Self.log]![32 + frame * (24 + 4096) + 24 + 99] ^= 1
            #expect(try await refusal(damaged) != nil, "frame \(frame)")
        }
        // The last transaction looks like one that a power cut interrupted.
        var damaged = files
        damaged[Self.log]![log.count - 99] ^= 1
        #expect(try await refusal(damaged) == nil)
    }

    @Test func `is refused if it was cut or deleted, or if the database was`() async throws {
        let (files, _) = try await crashed()
        let log = try #require(files[Self.log])
        for length in [0, 1, 31, 32, 33, 4151, log.count / 2, log.count - 4120, log.count - 1] {
            var cut = files
            cut[Self.log] = log.prefix(length)
            #expect(try await refusal(cut) != nil, "\(length) bytes")
        }
        for name in [Self.log, SQLiteBackend.fileName] {
            var missing = files
            missing[name] = nil
            #expect(try await refusal(missing) != nil, "\(name)")
        }
        var empty = files
        empty[SQLiteBackend.fileName] = Data()
        #expect(try await refusal(empty) != nil)
    }

    /// The pages of the last transaction reach the disk in any order, and the marks later than all of them.
    @Test func `after a power cut is accepted`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        let (before, interrupted) = (sampleBatch(50, at: clock.now), sampleBatch(50, at: clock.now))
        _ = try await backend.append([NewBatch(batch: before)])
        let early = try read(folder.path)
        _ = try await backend.append([NewBatch(batch: interrupted)])
        let late = try read(folder.path)
        await backend.close()
        let (start, end) = (early[Self.log]!.count, late[Self.log]!.count)
        let pages = Array(stride(from: start, to: end, by: 24 + 4096))
        try #require(pages.count > 3)
        for marks in [early[Self.marks], nil] {
            for missing in pages + [end] {
                var files = late
                files[Self.marks] = marks
                if missing < end {
                    files[Self.log]!.replaceSubrange(missing..<missing + 24 + 4096, with: Data(count: 4120))
                }
                let folder = try write(files)
                let backend = try open(folder.path)
                let states = try await backend.find([before.id.push(0), interrupted.id.push(0)]).map { $0?.state }
                #expect(states == [.queued, missing < end ? nil : .queued])
                await backend.close()
            }
        }
    }

    /// The log is written from its beginning again, and truncated, in the meantime.
    @Test func `is not reported after a crash at any time under load`() async throws {
        let folder = try TemporaryFolder()
        var configuration = SQLiteConfiguration()
        configuration.checkpointPages = 20
        configuration.logBytesMax = 100_000
        let backend = try SQLiteBackend.open(
            folder: folder.path, configuration: configuration, clock: clock.queueClock, logger: silence
        )
        var pushes: [PushID] = []
        for index in 0..<60 {
            let batch = sampleBatch(index % 5 * 30 + 1, at: clock.now)
            _ = try await backend.append([NewBatch(batch: batch)])
            pushes.append(batch.id.push(0))
            let copy = try write(try read(folder.path))
            let other = try open(copy.path)
            #expect(try await other.find(pushes).allSatisfy { $0?.state == .queued })
            await other.close()
        }
        await backend.close()
    }

    @Test func `is accepted on demand, without the damaged writes and with a copy of the log`() async throws {
        var (files, pushes) = try await crashed()
        let log = try #require(files[Self.log])
        let commits = frames(log).indices.filter { frames(log)[$0] }
        files[Self.log]![32 + commits[6] * (24 + 4096) + 100] ^= 1
        let folder = try write(files)
        #expect(throws: SQLiteOpenError.self) { try open(folder.path) }
        let backend = try open(folder.path, acceptsLoss: true)
        let states = try await backend.find(pushes).map { $0?.state }
        #expect(states == Array(repeating: .queued, count: 6) + Array(repeating: nil, count: pushes.count - 6))
        await backend.close()
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        let copies = names.filter { $0.contains("-wal.damaged-") }
        #expect(copies.count == 1)
        for copy in copies {
            #expect(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/" + copy)) == files[Self.log])
        }
        await (try open(folder.path)).close()
    }

    @Test func `marks of many leases are kept, and a missing file of marks means that none had begun`() async throws {
        let folder = try TemporaryFolder()
        var backend = try open(folder.path)
        let batches = (0..<1000).map { _ in sampleBatch(at: clock.now) }
        _ = try await backend.append(batches.map { NewBatch(batch: $0) })
        clock.advance(by: .seconds(1))
        let request = ClaimRequest(batchesMax: batches.count, lease: .seconds(60), quarantinedMax: 0)
        var kept: [TemporaryFolder] = [folder]
        for crash in 0..<5 {
            let claims = try await backend.claim(request)
            #expect(claims.count == batches.count, "after \(crash) crashes")
            backend.begun(claims.map(\.lease))
            var files = try read(kept.last!.path)
            if crash < 2 { files[Self.marks] = crash == 0 ? nil : Data(files[Self.marks]!.prefix(9999)) }
            let copy = try write(files)
            await backend.close()
            kept.append(copy)
            backend = try open(copy.path)
        }
        #expect(try await backend.claim(request).isEmpty)
        await backend.close()
    }
}
