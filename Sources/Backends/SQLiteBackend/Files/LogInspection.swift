import Foundation

// A write-ahead log that was damaged on the disk looks to SQLite like one whose last transaction was interrupted: recovery
// stops at the first frame whose checksum is wrong and drops the rest without an error. The inspection distinguishes both
// cases before SQLite opens the file.
//
// The format (SQLite, "Database File Format", 4): a header of 32 bytes with two salts, then frames, each a header of 24 bytes
// and a page. A frame has the salts of the log and a checksum over all frames before it. The last frame of a transaction has
// the size of the database, so that commits can be counted. When the log is full it is written from its beginning again, with
// other salts; old frames after the new ones are recognised by their salts.
//
// What an interruption leaves. With `synchronous=FULL` a commit is acknowledged after its sync, and the next transaction
// writes its first frame after that. So at most one transaction is incomplete, the last. After a crash of the process its
// frames are a prefix without a commit frame. After a crash of the machine any subset of its pages may be there, even its
// commit frame without a frame before it. Either way no frame was written after that commit frame.
//
// Two findings prove a loss, and neither can follow from a crash or a power cut:
//
// 1. After the first wrong frame there is a commit frame whose successor continues the checksum of that commit frame. The
//    successor was written after the commit was acknowledged.
// 2. The process noted the end of an acknowledged commit in `StoreMarks`, and the readable part of the same log ends before
//    it. This finds damage in the last transaction, a log that was cut, and a log that is missing. `StoreMarks` is not synced:
//    after a power cut it may be older than the log, never newer.
//
// A commit frame after a wrong frame without such a proof is reported as an incomplete write: a power cut explains it.

/// What a start finds out about the database's write-ahead log before SQLite opens it.
enum LogInspection: Equatable {
    /// Complete, apart from a transaction that was never committed.
    case sound
    /// The last transaction is incomplete although its commit frame is there, as after a power cut.
    case incomplete(byte: Int)
    /// Acknowledged writes cannot be read: a clause for the operator.
    case loss(String)

    /// - Parameters:
    ///   - path: of the log.
    ///   - acknowledged: what the last process noted; nil if it noted nothing.
    static func inspect(_ path: String, acknowledged: LogPosition?) throws -> LogInspection {
        var status = stat()
        guard stat(path, &status) == 0, status.st_size > 0 else {
            return acknowledged == nil
                ? .sound : .loss("its write-ahead log is missing, and acknowledged writes were in it")
        }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        return bytes.withUnsafeBytes { Log(bytes: $0).inspect(acknowledged) }
    }

    static let headerBytes = 32
    static let frameHeaderBytes = 24
}

private struct Log {
    let bytes: UnsafeRawBufferPointer

    func inspect(_ acknowledged: LogPosition?) -> LogInspection {
        guard let header = LogHeader(bytes) else {
            // SQLite ignores the whole file. Its header is synced before the first frame.
            let isInUse = acknowledged != nil || hasCommitWithSuccessor(LogHeader(guessedFrom: bytes), from: 0)
            return isInUse ? .loss("the header of its write-ahead log is damaged") : .sound
        }
        let (readable, committed, checksum) = readableFrames(header)
        let end = LogInspection.headerBytes + readable * header.frameBytes
        let lost = commits(header, from: readable)
        let damage = LogInspection.loss(
            lost > 0
                ? "its write-ahead log is damaged at byte \(end), and the \(lost) writes after it cannot be read"
                : "its write-ahead log ends at byte \(end), before the last acknowledged write"
        )
        if let acknowledged, acknowledged.salts == header.salts {
            let isThere =
                committed > acknowledged.frames || committed == acknowledged.frames && checksum == acknowledged.checksum
            if !isThere { return damage }
        }
        guard lost > 0 else { return .sound }
        return hasCommitWithSuccessor(header, from: readable) ? damage : .incomplete(byte: end)
    }

    /// - Returns: the frames that SQLite's recovery reads, those of them up to the last commit, and the checksum there.
    private func readableFrames(_ header: LogHeader) -> (readable: Int, committed: Int, checksum: UInt64) {
        var (readable, committed) = (0, 0)
        var (checksum, committedChecksum) = (header.checksum, header.checksum)
        while let frame = frame(readable, header), frame.salts == header.salts,
            self.checksum(of: readable, header, after: checksum) == frame.checksum
        {
            checksum = frame.checksum
            readable += 1
            if frame.isCommit { (committed, committedChecksum) = (readable, checksum) }
        }
        return (readable, committed, committedChecksum)
    }

    /// The commit frames with the log's salts from the given frame on.
    private func commits(_ header: LogHeader, from first: Int) -> Int {
        var (count, index) = (0, first)
        while let frame = frame(index, header) {
            if frame.salts == header.salts, frame.isCommit { count += 1 }
            index += 1
        }
        return count
    }

    private func hasCommitWithSuccessor(_ header: LogHeader, from first: Int) -> Bool {
        var index = first
        while let frame = frame(index, header) {
            index += 1
            guard frame.salts == header.salts, frame.isCommit, let next = self.frame(index, header),
                next.salts == header.salts
            else { continue }
            if checksum(of: index, header, after: frame.checksum) == next.checksum { return true }
        }
        return false
    }

    private struct Frame {
        var isCommit: Bool
        var salts: UInt64
        var checksum: UInt64
    }

    /// nil if the file ends before it.
    private func frame(_ index: Int, _ header: LogHeader) -> Frame? {
        let start = LogInspection.headerBytes + index * header.frameBytes
        guard start + header.frameBytes <= bytes.count else { return nil }
        return Frame(
            isCommit: bytes.bigEndian32(at: start + 4) != 0, salts: bytes.bigEndian64(at: start + 8),
            checksum: bytes.bigEndian64(at: start + 16)
        )
    }

    /// The checksum that the frame must have. It covers the first 8 bytes of its header and its page.
    private func checksum(of index: Int, _ header: LogHeader, after previous: UInt64) -> UInt64 {
        let start = LogInspection.headerBytes + index * header.frameBytes
        let sum = header.sum(bytes, start..<start + 8, after: previous)
        return header.sum(bytes, start + LogInspection.frameHeaderBytes..<start + header.frameBytes, after: sum)
    }
}

private struct LogHeader {
    let salts: UInt64
    let checksum: UInt64
    let frameBytes: Int
    private let isBigEndian: Bool

    /// nil if it is damaged.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= LogInspection.headerBytes else { return nil }
        let (magic, pageBytes) = (bytes.bigEndian32(at: 0), Int(bytes.bigEndian32(at: 8)))
        guard magic & ~1 == Self.magic, bytes.bigEndian32(at: 4) == 3_007_000,
            (512...65_536).contains(pageBytes), pageBytes & (pageBytes - 1) == 0
        else { return nil }
        isBigEndian = magic & 1 == 1
        salts = bytes.bigEndian64(at: 16)
        checksum = bytes.bigEndian64(at: 24)
        frameBytes = LogInspection.frameHeaderBytes + pageBytes
        guard sum(bytes, 0..<24, after: 0) == checksum else { return nil }
    }

    /// What the header would be, by the first frame, for a log of this program whose own header is damaged.
    init(guessedFrom bytes: UnsafeRawBufferPointer) {
        let first = LogInspection.headerBytes
        salts = bytes.count >= first + LogInspection.frameHeaderBytes ? bytes.bigEndian64(at: first + 8) : 0
        checksum = 0
        frameBytes = LogInspection.frameHeaderBytes + 4096
        isBigEndian = false
    }

    func sum(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, after previous: UInt64) -> UInt64 {
        var (first, second) = (UInt32(truncatingIfNeeded: previous >> 32), UInt32(truncatingIfNeeded: previous))
        var offset = range.lowerBound
        while offset < range.upperBound {
            let (a, b) = (
                bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self),
                bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
            )
            first &+= (isBigEndian ? UInt32(bigEndian: a) : UInt32(littleEndian: a)) &+ second
            second &+= (isBigEndian ? UInt32(bigEndian: b) : UInt32(littleEndian: b)) &+ first
            offset += 8
        }
        return UInt64(first) << 32 | UInt64(second)
    }

    private static let magic: UInt32 = 0x377F_0682
}

extension UnsafeRawBufferPointer {
    fileprivate func bigEndian32(at offset: Int) -> UInt32 {
        UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    func bigEndian64(at offset: Int) -> UInt64 {
        UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
