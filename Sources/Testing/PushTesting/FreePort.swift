import Foundation

/// A TCP port on 127.0.0.1 that is currently free.
///
/// Another process may bind it first. Prefer port 0 for servers that support it.
package func freePort() throws -> Int {
    let listener = try LoopbackListener()
    return listener.port
}

/// Occupies a port on 127.0.0.1 until it is deinitialised, for tests of a port that is in use.
package final class LoopbackListener: Sendable {
    package let port: Int
    private let descriptor: Int32

    package init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemCallFailed("socket") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        // SAFETY: `address` lives through the closure and `length` is its size; the calls only read and fill it.
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 1) == 0
                    && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else {
            let failure = SystemCallFailed("bind")
            close(descriptor)
            throw failure
        }
        self.descriptor = descriptor
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    deinit {
        close(descriptor)
    }
}

/// A failed system call: its name and error text.
package struct SystemCallFailed: Error, CustomStringConvertible {
    package let description: String

    package init(_ call: String, code: Int32 = errno) {
        description = "\(call): \(String(cString: strerror(code)))"
    }
}
