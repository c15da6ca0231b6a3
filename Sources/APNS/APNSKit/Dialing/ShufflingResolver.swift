package import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Looks a host up anew each time and gives its addresses in random order.
///
/// APNs' name has several addresses, and the system's resolver sorts them (RFC 6724): without the shuffle all connections
/// of a machine would end up at the same one. Apple, "Sending notification requests to APNs", asks to spread them.
package final class ShufflingResolver: Resolver, Sendable {
    private let eventLoop: any EventLoop

    package init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    package func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        query(host, port, family: AF_INET)
    }

    package func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        query(host, port, family: AF_INET6)
    }

    // A look-up cannot be called off; its answer is dropped.
    package func cancelQueries() {}

    private func query(_ host: String, _ port: Int, family: CInt) -> EventLoopFuture<[SocketAddress]> {
        // getaddrinfo(3) blocks.
        NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) {
            try Self.addresses(of: host, port: port, family: family).shuffled()
        }
    }

    private static func addresses(of host: String, port: Int, family: CInt) throws -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = family
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_protocol = CInt(IPPROTO_TCP)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0 else {
            throw LookUpFailed()
        }
        // SAFETY: on success `list` is the head of a chain that is ours until it is freed below; each element's address
        // has the type that its family says.
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            guard let address = entry.pointee.ai_addr else { continue }
            switch entry.pointee.ai_family {
            case AF_INET:
                address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    addresses.append(SocketAddress($0.pointee, host: host))
                }
            case AF_INET6:
                address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    addresses.append(SocketAddress($0.pointee, host: host))
                }
            default: break
            }
        }
        return addresses
    }
}

/// The name has no address of the family that was asked for.
private struct LookUpFailed: Error {}
