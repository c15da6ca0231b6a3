import ArgumentParser
import Foundation

/// Checks of a port before a server binds it, so that an error can name the option to change.
enum ListenPort {
    /// - Throws: `ValidationError` if `port` is not a number of a port, which names `option`.
    static func check(_ port: Int?, _ option: String) throws(ValidationError) {
        guard let port, !(0...65_535).contains(port) else { return }
        throw ValidationError("\(option) must be 0 to 65535; 0 selects a free port")
    }

    /// How to find the process that listens on a port.
    static func ownerAdvice(_ port: Int) -> String { "find the process that has it with: ss -ltnp 'sport = :\(port)'" }

    /// Whether another socket listens on the port. False for 0, and for a host that is not an IPv4 address: these are
    /// checked when the server binds them.
    static func isInUse(_ port: Int, host: String) -> Bool {
        var address = sockaddr_in()
        guard port != 0, let number = in_port_t(exactly: port), inet_pton(AF_INET, host, &address.sin_addr) == 1 else {
            return false
        }
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = number.bigEndian
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var isOn: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isOn, socklen_t(MemoryLayout<Int32>.size))
        // SAFETY: `address` outlives the call.
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return result != 0 && errno == EADDRINUSE
    }
}
