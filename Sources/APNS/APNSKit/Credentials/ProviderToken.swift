import Crypto

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A signed provider token: who we are, for up to one hour.
public struct ProviderToken: Sendable, Equatable {
    /// The value of the `authorization` field: `bearer` and the JWT.
    package let authorization: String
    /// `iat`, UNIX seconds.
    public let issuedAt: Int64

    /// Signs a token that is issued at `now`.
    ///
    /// Apple, "Establishing a token-based connection to APNs": header `alg` ES256 and `kid`, claims `iss` and `iat`, the
    /// signature in its JOSE form (RFC 7518, section 3.4: r and s, 64 bytes).
    package static func sign(with key: ProviderTokenKey, now: Int64) throws(ProviderTokenError) -> ProviderToken {
        // The identifiers are letters and digits (checked when the key was made), so they need no escaping.
        let header = Data("{\"alg\":\"ES256\",\"kid\":\"\(key.keyID)\"}".utf8)
        let claims = Data("{\"iss\":\"\(key.teamID)\",\"iat\":\(now)}".utf8)
        let signed = "\(base64URL(header)).\(base64URL(claims))"
        guard let signature = try? key.privateKey.signature(for: Data(signed.utf8)) else {
            throw ProviderTokenError(code: .signing, message: "a token could not be signed with \(key)")
        }
        return ProviderToken(
            authorization: "bearer \(signed).\(base64URL(signature.rawRepresentation))", issuedAt: now
        )
    }

    /// RFC 4648, section 5, without padding.
    private static func base64URL(_ data: Data) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(data.count * 4 / 3 + 4)
        for byte in data.base64EncodedData() {
            switch byte {
            case UInt8(ascii: "+"): text.append(UInt8(ascii: "-"))
            case UInt8(ascii: "/"): text.append(UInt8(ascii: "_"))
            case UInt8(ascii: "="): break
            default: text.append(byte)
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}

extension ProviderToken: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "provider token issued at \(issuedAt)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["issuedAt": issuedAt]) }
}
