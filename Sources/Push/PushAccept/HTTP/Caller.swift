import CNIOLinux
import Crypto
import Foundation
import HTTPTypes
import NIOCore

/// Identifies the caller of a request. There are no API keys; the `Authorization` header is not checked.
enum Caller {
    /// The key for rate limits: a hash of the `Authorization` header, or of the peer's address if there is none.
    ///
    /// Valid in this process only. Of an IPv6 address the first 64 bits count, because one host can use all addresses
    /// of a /64. Behind a proxy, all callers without an `Authorization` header share the proxy's address.
    static func limitKey(of head: RequestHead) -> UInt64 {
        var hasher = Hasher()
        if let authorization = head.fields[.authorization] {
            hasher.combine(authorization)
        } else {
            switch head.peer {
            case .v4(let address): hasher.combine(address.address.sin_addr.s_addr)
            case .v6(let address):
                withUnsafeBytes(of: address.address.sin6_addr) { bytes in
                    // An IPv4-mapped address has an all-zero prefix.
                    let prefix = UnsafeRawBufferPointer(rebasing: bytes.prefix(8))
                    hasher.combine(bytes: prefix.allSatisfy { $0 == 0 } ? bytes : prefix)
                }
            case .unixDomainSocket, nil: break
            }
        }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// The scope of `Idempotency-Key`: the SHA-256 of the `Authorization` header. All callers without one share a
    /// scope.
    ///
    /// Stable across restarts. The peer's address does not count: a caller that repeats a request after its own restart
    /// may have another one, and its pushes would be duplicated.
    static func scope(of head: RequestHead) -> SHA256.Digest {
        SHA256.hash(data: Data((head.fields[.authorization] ?? "").utf8))
    }
}
