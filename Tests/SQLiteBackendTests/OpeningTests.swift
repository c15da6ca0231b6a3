import Foundation
import PushModel
import PushStore
import SQLiteBackend
import Testing

@Suite struct `Opening an SQLite database` {
    private func open(_ folder: String) throws -> SQLiteBackend {
        try SQLiteBackend.open(folder: folder, logger: silence)
    }

    @Test func `every commit waits for the disk, as read back from SQLite`() async throws {
        let folder = try TemporaryFolder()
        let backend = try open(folder.path)
        #expect(backend.durability.journalMode == "wal")
        #expect(backend.durability.synchronous == 2)
        #expect(backend.durability.sqliteVersion.hasPrefix("3."))
        await backend.close()
    }

    @Test(arguments: [
        ("3.40.1", false), ("3.44.5", false), ("3.44.6", true), ("3.45.0", false), ("3.50.7", true), ("3.51.2", false),
        ("3.51.3", true), ("3.52.0", true), ("4.0.0", true), ("", false),
    ])
    func `versions with the fix of the WAL-reset race are recognized`(version: String, isFixed: Bool) {
        let durability = SQLiteDurability(sqliteVersion: version, journalMode: "wal", synchronous: 2)
        #expect(durability.hasWALResetFix == isFixed)
    }

    @Test func `a missing folder is created for its owner only`() async throws {
        let parent = try TemporaryFolder()
        let backend = try open(parent.path + "/a/b")
        await backend.close()
        for (name, mode) in [("a/b", 0o700), ("a/b/" + SQLiteBackend.fileName, 0o600)] {
            let attributes = try FileManager.default.attributesOfItem(atPath: parent.path + "/" + name)
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == mode)
        }
    }

    @Test func `a second process is refused until the first one has closed the database`() async throws {
        let folder = try TemporaryFolder()
        let first = try open(folder.path)
        #expect(throws: SQLiteOpenError.inUse(folder.path, processID: Int(getpid()))) { try open(folder.path) }
        await first.close()
        await (try open(folder.path)).close()
    }

    @Test func `a file where the folder should be is refused`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/file"
        try Data("x".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: SQLiteOpenError.notAFolder(path)) { try open(path) }
    }

    @Test func `a folder that cannot be created is refused`() throws {
        let path = "/proc/godwit-cannot-be-made"
        let error = #expect(throws: SQLiteOpenError.self) { try open(path) }
        guard case .folderNotWritable(path, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    /// Tests the decision only, because a test cannot mount network file systems.
    @Test(
        arguments: [
            ("/", nil), ("/var/lib/godwit", nil), ("/mnt/share", "nfs4"), ("/mnt/share/a/b", "nfs4"),
            ("/mnt/shared", nil),
            ("/mnt/share/disk/db", nil), ("/mnt/two words/db", "cifs"), ("/covered/db", "9p"),
        ] as [(String, String?)])
    func `network file systems are distinguished from local ones`(path: String, type: String?) {
        let mounts = """
            /dev/vda / ext4 rw,relatime 0 0
            server:/x /mnt/share nfs4 rw 0 0
            /dev/vdb /mnt/share/disk xfs rw 0 0
            //server/y /mnt/two\\040words cifs rw 0 0
            /dev/vdc /covered ext4 rw 0 0
            z /covered 9p rw 0 0
            """
        #expect(DatabaseFolder.networkFileSystem(of: path, mounts: mounts) == type)
    }

    @Test func `a file that is not a database is refused and not changed`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/" + SQLiteBackend.fileName
        let text = Data(String(repeating: "no database at all\n", count: 1000).utf8)
        try text.write(to: URL(fileURLWithPath: path))
        #expect(throws: SQLiteOpenError.notADatabase(path)) { try open(folder.path) }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == text)
    }

    /// The header of an SQLite file: the user version at byte 60, the application id at byte 68, big-endian.
    /// Source: SQLite, "Database File Format", 1.3.
    @Test(arguments: [(60, true), (68, false)])
    func `a database that is newer or of another program is refused and not changed`(
        offset: Int, isNewer: Bool
    ) async throws {
        let folder = try TemporaryFolder()
        await (try open(folder.path)).close()
        let path = folder.path + "/" + SQLiteBackend.fileName
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes.replaceSubrange(offset..<offset + 4, with: [0, 0, 0x03, 0xE7])
        try bytes.write(to: URL(fileURLWithPath: path))
        let expected: SQLiteOpenError =
            isNewer ? .newerSchema(path, found: 999, supported: 5) : .foreignDatabase(path)
        #expect(throws: expected) { try open(folder.path) }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == bytes)
    }

    @Test func `each error is one line without a full stop that names the path`() {
        let errors: [SQLiteOpenError] = [
            .notAFolder("/p"), .folderNotWritable("/p", reason: "r"), .notLocal("/p", fileSystem: "NFS"),
            .inUse("/p", processID: 7),
            .inUse("/p", processID: nil), .notADatabase("/p"),
            .ownerAlive("/p", processID: 7, since: .seconds(12), needed: .seconds(60)), .foreignDatabase("/p"),
            .newerSchema("/p", found: 2, supported: 1),
            .notDurable("/p", setting: "synchronous", found: "1", wanted: "2 (FULL)"), .failed("/p", reason: "r"),
            .diskFull("/p", bytesFree: 5000, reason: "r"), .noLog("/p", mode: "delete"),
        ]
        for error in errors {
            #expect(!error.description.hasSuffix("."))
            #expect(error.description.contains("/p"))
        }
    }

    @Test func `closing ends the leases and keeps everything`() async throws {
        let folder = try TemporaryFolder()
        let first = try open(folder.path)
        let batch = sampleBatch(2, at: QueueClock.system.wall())
        _ = try await first.append([NewBatch(batch: batch, claim: .seconds(3600))])
        await first.close()
        await first.close()
        await #expect(throws: QueueError.closed) { try await first.depth() }
        await #expect(throws: QueueError.closed) { try await first.append([NewBatch(batch: batch)]) }
        let second = try open(folder.path)
        let claimed = try await second.claim(ClaimRequest(batchesMax: 1, lease: .seconds(1)))
        #expect(claimed.map(\.batch) == [batch])
        await second.close()
    }
}
