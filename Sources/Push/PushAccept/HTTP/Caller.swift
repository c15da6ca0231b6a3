import CNIOLinux
import Crypto
import Foundation
import Hummingbird
import NIOCore

/// Who sends a request, as far as that can be told without API keys.
enum Caller {
    /// For limits, which are kept in memory only: the `Authorization` header if there is one, else the peer's address.
    ///
    /// Of an IPv6 address the first 64 bits count, because one host has all of the rest. Behind a proxy all callers
    /// without an `Authorization` header share the proxy's address.
    static func limitKey(of request: Request, _ context: AcceptContext) -> UInt64 {
        var hasher = Hasher()
        if let authorization = request.headers[.authorization] {
            hasher.combine(authorization)
        } else {
            switch context.channel.remoteAddress {
            case .v4(let address): hasher.combine(address.address.sin_addr.s_addr)
            case .v6(let address):
                withUnsafeBytes(of: address.address.sin6_addr) { bytes in
                    // An IPv4 address in the clothes of an IPv6 one has nothing but zeros there.
                    let prefix = UnsafeRawBufferPointer(rebasing: bytes.prefix(8))
                    hasher.combine(bytes: prefix.allSatisfy { $0 == 0 } ? bytes : prefix)
                }
            case .unixDomainSocket, nil: break
            }
        }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// For what is remembered across restarts: the SHA-256 of the `Authorization` header; all callers without one are
    /// the same.
    ///
    /// Not the peer's address: a caller that repeats a request after its own restart may have another one, and its
    /// pushes would be sent twice.
    static func scope(of request: Request) -> SHA256.Digest {
        SHA256.hash(data: Data((request.headers[.authorization] ?? "").utf8))
    }
}
