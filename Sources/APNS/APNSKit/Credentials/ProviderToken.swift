public import APNSWire
import Crypto

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A signed provider token, with which a client authenticates for up to one hour.
public struct ProviderToken: Sendable, Equatable {
    /// The value of the `authorization` field: `bearer` and the JWT.
    package let authorization: String
    /// `iat`, to the second.
    public let issuedAt: UNIXTime

    /// Signs a token that is issued at `now`.
    ///
    /// Apple, "Establishing a token-based connection to APNs": header `alg` ES256 and `kid`, claims `iss` and `iat`,
    /// and a signature in JOSE form (RFC 7518, section 3.4: r and s, 64 bytes).
    package static func sign(with key: ProviderTokenKey, now: UNIXTime) throws(ProviderTokenError) -> ProviderToken {
        // The identifiers need no escaping: `ProviderTokenKey` allows only letters, digits, dashes and underscores.
        let header = Data("{\"alg\":\"ES256\",\"kid\":\"\(key.keyID)\"}".utf8)
        let claims = Data("{\"iss\":\"\(key.teamID)\",\"iat\":\(now.secondsSince1970)}".utf8)
        let signed = "\(base64URL(header)).\(base64URL(claims))"
        guard let signature = try? key.privateKey.signature(for: Data(signed.utf8)) else {
            throw ProviderTokenError(code: .signing, message: "no token could be signed with \(key)")
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
    public var description: String { "provider token issued at \(issuedAt.secondsSince1970)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["issuedAt": issuedAt.secondsSince1970]) }
}
