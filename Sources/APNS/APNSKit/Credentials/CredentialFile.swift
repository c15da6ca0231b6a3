#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Reads the files of keys and certificates.
enum CredentialFile {
    /// The largest file that is read: far more than a key or a chain of certificates has.
    private static let bytesMax = 1 << 20

    /// Why a file cannot be read: a phrase for an operator.
    struct Unreadable: Error {
        var reason: String
    }

    /// - Parameter path: a regular file, or a symbolic link to one. Reading anything else could wait indefinitely.
    static func read(_ path: String) throws(Unreadable) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw failure() }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw failure() }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Unreadable(reason: status.st_mode & S_IFMT == S_IFDIR ? "it is a folder" : "it is not a regular file")
        }
        guard status.st_size <= bytesMax else { throw Unreadable(reason: "it is larger than 1 MiB") }
        var bytes = [UInt8](repeating: 0, count: bytesMax + 1)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes { buffer in
                let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
                // SAFETY: `rest` is not empty, and the call writes at most its count.
                return readBytes(file, rest.baseAddress!, rest.count)
            }
            if read == 0 { break }
            if read < 0 {
                if errno == EINTR { continue }
                throw failure()
            }
            count += read
        }
        guard count <= bytesMax else { throw Unreadable(reason: "it is larger than 1 MiB") }
        return Array(bytes[..<count])
    }

    private static func readBytes(_ file: Int32, _ target: UnsafeMutableRawPointer, _ count: Int) -> Int {
        #if canImport(Glibc)
        Glibc.read(file, target, count)
        #elseif canImport(Musl)
        Musl.read(file, target, count)
        #else
        Darwin.read(file, target, count)
        #endif
    }

    private static func failure() -> Unreadable {
        Unreadable(reason: errno == ENOENT ? "no such file" : String(cString: strerror(errno)).lowercased())
    }
}
