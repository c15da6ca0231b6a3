import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// Pushes to be sent: a file, standard input, or bytes at hand. Read once, a chunk at a time.
struct PushSource: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    private let reader: Reader

    /// Nil when it cannot be told in advance.
    var sizeBytes: Int? { reader.sizeBytes }
    /// How far it has been read.
    var bytesRead: Int { reader.bytesRead.load(ordering: .relaxed) }

    /// Whether it was read to its end and has so many lines, blank ones left out.
    func isEachLine(answeredBy answers: Int) -> Bool { reader.lines.withLock { $0.isAtEnd && $0.count == answers } }

    /// - Parameter path: `-` is standard input.
    /// - Throws: `GatewayFailure` when the file cannot be read.
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
            // Reading may block, on standard input for hours; that is what the thread pool is for.
            let reader = reader
            return try await NIOThreadPool.singleton.runIfActive { try reader.next() }
        }
    }
}

private final class Reader: Sendable {
    private static let chunkBytes = 64 * 1024

    let sizeBytes: Int?
    let bytesRead = Atomic(0)
    let lines = Mutex(LineCount())
    private let descriptor: Int32
    private let path: String
    private let given: Mutex<ByteBuffer?>

    init(path: String) throws {
        self.path = path
        given = Mutex(nil)
        descriptor = path == "-" ? 0 : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw GatewayFailure(description: "\(path) cannot be read: \(String(cString: strerror(errno)))")
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
        given = Mutex(ByteBuffer(bytes: bytes))
    }

    deinit {
        if descriptor > 0 { close(descriptor) }
    }

    func next() throws -> ByteBuffer? {
        guard descriptor >= 0 else {
            return given.withLock { given in
                defer { given = nil }
                bytesRead.add(given?.readableBytes ?? 0, ordering: .relaxed)
                return given
            }
        }
        // No more than was announced: a file may grow while it is sent.
        let left = sizeBytes.map { $0 - bytesRead.load(ordering: .relaxed) } ?? Self.chunkBytes
        guard left > 0 else { return nil }
        var buffer = ByteBuffer()
        let count = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.chunkBytes) { bytes in
            while true {
                let count = read(descriptor, bytes.baseAddress, Swift.min(Self.chunkBytes, left))
                if count >= 0 { return count }
                guard errno == EINTR else {
                    throw GatewayFailure(description: "\(path) cannot be read: \(String(cString: strerror(errno)))")
                }
            }
        }
        bytesRead.add(count, ordering: .relaxed)
        lines.withLock { lines in
            if count == 0 || sizeBytes == bytesRead.load(ordering: .relaxed) { lines.end() }
            lines.append(buffer.readableBytesView)
        }
        return count == 0 ? nil : buffer
    }
}
