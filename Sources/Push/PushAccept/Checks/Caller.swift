import Crypto
import Foundation

/// Identifies the caller of a request.
///
/// There are no API keys yet, so a caller is the address of the client. Headers that the gateway does not verify, such
/// as `Authorization`, do not count: a caller could change them with each request.
struct Caller: Sendable, Hashable {
    /// Nil: the client has no IP address.
    let address: ClientAddress?

    /// The key for rate limits. Valid in this process only.
    var limitKey: UInt64 {
        var hasher = Hasher()
        hasher.combine(address?.network)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// The scope of `Idempotency-Key` and of request ids. Stable across restarts.
    var scope: SHA256.Digest {
        SHA256.hash(data: Data(address?.network.bytes ?? []))
    }

    /// The stored form of a request id, so that a caller selects only pushes of its own requests with it.
    func scoped(requestID: String) -> String {
        let bytes = scope.prefix(8).map { byte in
            let digits = String(byte, radix: 16)
            return byte < 16 ? "0" + digits : digits
        }
        return "\(requestID)@\(bytes.joined())"
    }
}
