package import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Resolves the host for one connection, and returns its addresses in random order.
///
/// APNs' host name has several addresses, and the system's resolver sorts them (RFC 6724): without the shuffle, all
/// connections of a machine would use the same address. Apple, "Sending notification requests to APNs", recommends to
/// spread them.
package final class ShufflingResolver: Resolver, Sendable {
    private let lookup: HostLookup
    private let since: NIODeadline
    private let eventLoop: any EventLoop

    /// - Parameter since: when the last connection failed; earlier look-ups are not used.
    package init(_ lookup: HostLookup = .shared, since: NIODeadline = .distantPast, eventLoop: any EventLoop) {
        self.lookup = lookup
        self.since = since
        self.eventLoop = eventLoop
    }

    package func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        lookup.addresses(of: host, port: port, family: AF_INET, since: since, on: eventLoop)
    }

    package func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        lookup.addresses(of: host, port: port, family: AF_INET6, since: since, on: eventLoop)
    }

    // getaddrinfo(3) cannot be cancelled; its result is used by others.
    package func cancelQueries() {}
}

/// The system's resolver.
enum SystemResolver {
    /// Blocks. The addresses are in the resolver's order.
    static func addresses(of host: String, port: Int, family: CInt) throws -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = family
        #if canImport(Glibc)
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        #else
        hints.ai_socktype = SOCK_STREAM
        #endif
        hints.ai_protocol = CInt(IPPROTO_TCP)
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, String(port), &hints, &list)
        guard result == 0 else { throw LookupFailed(code: result) }
        // SAFETY: on success `list` is the head of a chain that we own until it is freed below; the type of each
        // element's address is given by its family.
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

/// The host has no address of the requested family.
struct LookupFailed: Error {
    /// The result of getaddrinfo(3).
    let code: CInt
}
