import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// Pushes to send: a file, standard input, or bytes in memory. Can be read once, chunk by chunk.
struct PushSource: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    private let reader: Reader

    /// nil if the size is unknown in advance, as for standard input.
    var sizeBytes: Int? { reader.sizeBytes }
    /// Bytes read so far.
    var bytesRead: Int { reader.bytesRead.load(ordering: .relaxed) }

    /// Whether the source was read to its end and had `count` lines that are not blank.
    func isComplete(lines count: Int) -> Bool { reader.lines.withLock { $0.isAtEnd && $0.count == count } }

    /// The lines that are not blank; nil before the source was read to its end.
    var count: Int? { reader.lines.withLock { $0.isAtEnd ? $0.count : nil } }

    /// The first push that was read and has no result; then it has one.
    func nextLine() -> PushLine? { reader.lines.withLock { $0.next() } }

    /// Fails the read in progress and all later ones, for example because of Ctrl-C while standard input has no data.
    func stop() { reader.isStopped.store(true, ordering: .relaxed) }

    /// - Parameter path: `-` is standard input.
    /// - Throws: `GatewayFailure` if the file cannot be read.
    init(path: String) throws {
        reader = try Reader(path: path)
    }

    init(bytes: [UInt8]) {
        reader = Reader(bytes: bytes)
    }

    func makeAsyncIterator() -> Iterator {
        Iterator(reader: reader)
    }

    struct Iterator: AsyncIteratorProtocol {
        fileprivate let reader: Reader

        mutating func next() async throws -> ByteBuffer? {
            // Reading blocks, on standard input possibly for hours, so it runs on the thread pool.
            let reader = reader
            return try await NIOThreadPool.singleton.runIfActive { try reader.next() }
        }
    }
}

private final class Reader: Sendable {
    private static let chunkBytes = 64 * 1024

    let sizeBytes: Int?
    let bytesRead = Atomic(0)
    let isStopped = Atomic(false)
    let lines = Mutex(PushLines())
    private let descriptor: Int32
    private let path: String
    private let bytesInMemory: Mutex<ByteBuffer?>

    init(path: String) throws {
        self.path = path
        bytesInMemory = Mutex(nil)
        descriptor = path == "-" ? 0 : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw GatewayFailure(description: "\(path) cannot be read: \(PlainReason.of(errno: errno))")
        }
        var status = stat()
        fstat(descriptor, &status)
        let kind = status.st_mode & S_IFMT
        guard kind != S_IFDIR else { throw GatewayFailure(description: "\(path) is a folder") }
        sizeBytes = kind == S_IFREG ? Int(status.st_size) - Int(max(0, lseek(descriptor, 0, SEEK_CUR))) : nil
    }

    init(bytes: [UInt8]) {
        path = ""
        descriptor = -1
        sizeBytes = bytes.count
        bytesInMemory = Mutex(ByteBuffer(bytes: bytes))
    }

    deinit {
        if descriptor > 0 { close(descriptor) }
    }

    func next() throws -> ByteBuffer? {
        guard descriptor >= 0 else {
            return bytesInMemory.withLock { bytes in
                defer { bytes = nil }
                if let bytes { record(bytes, isLast: true) }
                return bytes
            }
        }
        // A file may grow while it is sent; Content-Length is its size at the start.
        let left = sizeBytes.map { $0 - bytesRead.load(ordering: .relaxed) } ?? Self.chunkBytes
        guard left > 0 else { return nil }
        try waitForInput()
        var buffer = ByteBuffer()
        let count = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.chunkBytes) { bytes in
            while true {
                let count = read(descriptor, bytes.baseAddress, Swift.min(Self.chunkBytes, left))
                if count >= 0 { return count }
                guard errno == EINTR else {
                    throw GatewayFailure(description: "\(path) cannot be read: \(PlainReason.of(errno: errno))")
                }
            }
        }
        record(buffer, isLast: count == 0 || sizeBytes == bytesRead.load(ordering: .relaxed) + count)
        return count == 0 ? nil : buffer
    }

    private func record(_ buffer: ByteBuffer, isLast: Bool) {
        bytesRead.add(buffer.readableBytes, ordering: .relaxed)
        lines.withLock { lines in
            buffer.withUnsafeReadableBytes { lines.append($0) }
            if isLast { lines.end() }
        }
    }

    /// Waits until a read does not block.
    private func waitForInput() throws {
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        repeat {
            if isStopped.load(ordering: .relaxed) { throw CancellationError() }
            // A signal interrupts the wait.
        } while poll(&request, 1, 100) <= 0
    }
}
