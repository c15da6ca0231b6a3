import APNSWire
import Foundation
import GRDB
import GRDBSQLite
import PushModel
import PushStore
import Synchronization

/// The end of a write-ahead log that has every acknowledged write.
struct LogPosition: Sendable, Equatable {
    /// The number of its frames.
    var frames: Int
    /// Both salts of the log, which change when it is written from its beginning again.
    var salts: UInt64
    /// Both checksums of the last frame.
    var checksum: UInt64
}

/// What the previous process left in its marks.
struct LeftMarks: Sendable {
    /// nil: nothing is known about the log.
    var position: LogPosition?
    /// The leases under which its holder had begun to send.
    var begun: Set<UInt64> = []

    func hasBegun(_ lease: Lease) -> Bool { begun.contains(StoreMarks.mark(of: lease)) }
}

/// Facts about the database that survive a crash of the process, though not always one of the machine: which leases have
/// begun to be used, and how far the write-ahead log is acknowledged.
///
/// They are in a memory-mapped file of fixed size next to the database, so that a mark costs no system call and no sync. A
/// mark is written only after the fact that it states. After a crash of the machine the file may therefore lack marks, but
/// those in it are true. A missing or damaged file states nothing.
///
/// Layout, in words of 64 bits: 0 the signature; from 8 and from 16 two records of the position, written in turn, so that a
/// crash during a write leaves the other one; from 512 the leases, in lines of `lineWords` that a hash selects.
final class StoreMarks: Sendable {
    private struct State {
        var words: UnsafeMutableBufferPointer<UInt64>
        var sequence: UInt64 = 0
        /// Overwritten next in a line without a free word.
        var victim = 0
    }

    private let state: Mutex<State>
    private let log: Int32
    private let pageBytes: Int

    /// Creates the file anew. Without space for it, the marks are in memory only and end with the process.
    ///
    /// - Parameters:
    ///   - path: of the database, which is open, so its log exists.
    ///   - pageBytes: the size of the database's pages.
    init(path: String, pageBytes: Int) {
        self.pageBytes = pageBytes
        log = open(path + "-wal", O_RDONLY | O_CLOEXEC)
        let words = Self.map(Self.path(of: path)) ?? Self.allocate()
        words[0] = Self.signature
        state = Mutex(State(words: words))
    }

    deinit {
        if log >= 0 { close(log) }
        state.withLock { _ = munmap($0.words.baseAddress, Self.bytes) }
    }

    static func path(of database: String) -> String { database + suffix }

    /// The marks of the database that the previous process left; nil if there are none.
    static func left(of database: String) -> LeftMarks? {
        guard let data = FileManager.default.contents(atPath: path(of: database)), data.count == bytes else {
            return nil
        }
        return data.withUnsafeBytes { raw in
            let words = raw.bindMemory(to: UInt64.self)
            guard words[0] == signature else { return nil }
            let newest = recordStarts.filter { words[$0] == check(words, $0) }.max { words[$0 + 1] < words[$1 + 1] }
            var left = LeftMarks(begun: Set(words[leasesStart...].lazy.filter { $0 != 0 }))
            if let newest, words[newest + 2] > 0 {
                left.position = LogPosition(
                    frames: Int(clamping: words[newest + 2]), salts: words[newest + 3], checksum: words[newest + 4]
                )
            }
            return left
        }
    }

    /// Removes the marks durably: they no longer describe the files next to them.
    static func remove(of database: String) throws {
        guard unlink(path(of: database)) == 0 else { return }
        try Disk.sync(Disk.folder(of: database))
    }

    // MARK: Leases

    /// Marks leases whose holder begins to send. Under 100 ns for each.
    func begin(_ leases: some Sequence<Lease>) {
        state.withLock { state in
            for lease in leases {
                let mark = Self.mark(of: lease)
                let line = Self.line(of: mark)
                var free: Int?
                var isMarked = false
                for word in line where state.words[word] == mark || state.words[word] == 0 {
                    if state.words[word] == mark { isMarked = true } else { free = free ?? word }
                }
                guard !isMarked else { continue }
                // More leases in a line than it has words: one of them will not count if the process crashes.
                state.victim &+= 1
                state.words[free ?? line.lowerBound + state.victim % Self.lineWords] = mark
            }
        }
    }

    /// Removes the marks of leases that have ended.
    func end(_ leases: some Sequence<Lease>) {
        state.withLock { state in
            for lease in leases {
                let mark = Self.mark(of: lease)
                for word in Self.line(of: mark) where state.words[word] == mark { state.words[word] = 0 }
            }
        }
    }

    func hasBegun(_ lease: Lease) -> Bool {
        let mark = Self.mark(of: lease)
        return state.withLock { state in Self.line(of: mark).contains { state.words[$0] == mark } }
    }

    /// A hash of 64 bits, never 0. That two of some 100,000 leases have the same is as improbable as 1 in 10^9.
    static func mark(of lease: Lease) -> UInt64 {
        max(1, mix(mix(mix(lease.batch.value.high) ^ lease.batch.value.low) ^ lease.epoch))
    }

    private static func line(of mark: UInt64) -> Range<Int> {
        let start = leasesStart + Int(mark % UInt64(lines)) * lineWords
        return start..<start + lineWords
    }

    // MARK: Position

    /// Records the position after each commit of `db`, which must be the only connection that writes.
    func observeCommits(of db: Database) {
        // SAFETY: the backend closes the connection before it releases this object, so the pointer stays valid for each
        // call of the hook.
        let context = Unmanaged.passUnretained(self).toOpaque()
        _ = sqlite3_wal_hook(
            db.sqliteConnection,
            { context, _, _, frames in
                guard let context else { return SQLITE_OK }
                // SAFETY: the context is this object, see above.
                Unmanaged<StoreMarks>.fromOpaque(context).takeUnretainedValue().acknowledge(frames: Int(frames))
                return SQLITE_OK
            }, context
        )
    }

    /// The last commit, whose sync has succeeded, ends with this frame of the log.
    private func acknowledge(frames: Int) {
        var header = [UInt8](repeating: 0, count: LogInspection.frameHeaderBytes)
        let offset = LogInspection.headerBytes + (frames - 1) * (header.count + pageBytes)
        // Without the new position the previous one stays, which is true as well.
        guard frames > 0, pread(log, &header, header.count, off_t(offset)) == header.count else { return }
        let (salts, checksum) = header.withUnsafeBytes { ($0.bigEndian64(at: 8), $0.bigEndian64(at: 16)) }
        record(LogPosition(frames: frames, salts: salts, checksum: checksum))
    }

    /// Removes the position durably. Required before the log is truncated or deleted, because otherwise a crash of the
    /// machine could leave a position without its log.
    ///
    /// - Throws: then the log must not be truncated.
    func forgetPosition() throws {
        record(nil)
        let result = state.withLock { msync($0.words.baseAddress, Self.pageWords * 8, Int32(MS_SYNC)) }
        guard result == 0 else { throw FileError("the marks cannot be synced: \(String(cString: strerror(errno)))") }
    }

    private func record(_ position: LogPosition?) {
        state.withLock { state in
            state.sequence += 1
            let start = Self.recordStarts[Int(state.sequence % 2)]
            state.words[start + 1] = state.sequence
            state.words[start + 2] = UInt64(position?.frames ?? 0)
            state.words[start + 3] = position?.salts ?? 0
            state.words[start + 4] = position?.checksum ?? 0
            state.words[start] = Self.check(UnsafeBufferPointer(state.words), start)
        }
    }

    // MARK: File

    private static func map(_ path: String) -> UnsafeMutableBufferPointer<UInt64>? {
        // A new file, because a suspended former owner may still have the previous one mapped.
        let partial = path + ".partial"
        unlink(partial)
        let descriptor = open(partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        defer { if descriptor >= 0 { close(descriptor) } }
        // Allocated, because a write to a mapped page without a block on a full disk would end the process.
        guard descriptor >= 0, posix_fallocate(descriptor, 0, off_t(bytes)) == 0,
            let words = map(descriptor, MAP_SHARED), rename(partial, path) == 0
        else {
            unlink(partial)
            unlink(path)
            try? Disk.sync(Disk.folder(of: path))
            return nil
        }
        // Otherwise a crash of the machine could bring back the previous marks after the log was truncated.
        try? Disk.sync(Disk.folder(of: path))
        return words
    }

    private static func allocate() -> UnsafeMutableBufferPointer<UInt64> {
        guard let words = map(-1, MAP_PRIVATE | MAP_ANONYMOUS) else {
            preconditionFailure("no memory for \(bytes) bytes")
        }
        return words
    }

    private static func map(_ descriptor: Int32, _ flags: Int32) -> UnsafeMutableBufferPointer<UInt64>? {
        guard let start = mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0),
            UInt(bitPattern: start) != .max
        else {
            return nil
        }
        return UnsafeMutableBufferPointer(
            start: start.bindMemory(to: UInt64.self, capacity: bytes / 8), count: bytes / 8)
    }

    private static func check(_ words: UnsafeBufferPointer<UInt64>, _ start: Int) -> UInt64 {
        (start + 1...start + 4).reduce(signature) { mix($0 ^ words[$1]) }
    }

    /// The finalizer of SplitMix64.
    private static func mix(_ value: UInt64) -> UInt64 {
        var value = value &+ 0x9E37_79B9_7F4A_7C15
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }

    static let suffix = "-marks"
    /// "gdwtmrk1".
    private static let signature: UInt64 = 0x6764_7774_6D72_6B31
    private static let recordStarts = [8, 16]
    private static let pageWords = 512
    private static let leasesStart = pageWords
    /// One cache line.
    private static let lineWords = 8
    /// 65,536 leases: several times what dispatch holds in memory.
    private static let lines = 8192
    private static let bytes = (leasesStart + lines * lineWords) * 8
}
