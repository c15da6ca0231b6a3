import APNSWire
import Crypto
import JSONText
import Synchronization

/// A parsed, unverified provider token.
struct ParsedProviderToken: Sendable, Equatable {
    var algorithm: String
    var keyID: String
    var teamID: String
    /// UNIX seconds.
    var issuedAt: Int64
    /// The number of leading bytes of the text that are signed.
    var signedLength: Int
    var signature: [UInt8]

    /// Parses a JSON Web Token; nil if `text` is not three base64url parts with the members that APNs requires.
    init?(_ text: UnsafeRawBufferPointer) {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3,
            let header = Base64URL.decode(UnsafeRawBufferPointer(rebasing: parts[0])),
            let claims = Base64URL.decode(UnsafeRawBufferPointer(rebasing: parts[1])),
            let signature = Base64URL.decode(UnsafeRawBufferPointer(rebasing: parts[2])),
            let headerMembers = try? Members(header), let claimMembers = try? Members(claims),
            let algorithm = headerMembers.strings["alg"], let keyID = headerMembers.strings["kid"],
            let teamID = claimMembers.strings["iss"], let issuedAt = claimMembers.integers["iat"]
        else { return nil }
        self.algorithm = algorithm
        self.keyID = keyID
        self.teamID = teamID
        self.issuedAt = issuedAt
        self.signature = signature
        signedLength = parts[0].count + 1 + parts[1].count
    }

    /// The strings and integers of a JSON object; other members are skipped.
    private struct Members {
        var strings: [String: String] = [:]
        var integers: [String: Int64] = [:]

        init(_ json: [UInt8]) throws(JSONError) {
            let result = json.withUnsafeBytes { bytes -> Result<Members, JSONError> in
                do throws(JSONError) { return .success(try Members(reading: bytes)) } catch { return .failure(error) }
            }
            self = try result.get()
        }

        private init(reading bytes: UnsafeRawBufferPointer) throws(JSONError) {
            var reader = JSONReader(bytes)
            try reader.enterObject()
            var isFirst = true
            while let key = try reader.nextKey(isFirst: isFirst) {
                isFirst = false
                switch try reader.peekKind() {
                case .string: strings[reader.text(key)] = reader.text(try reader.readString())
                case .number: integers[reader.text(key)] = try reader.readInteger()
                default: try reader.skipValue()
                }
            }
            try reader.finish()
        }
    }
}

/// A provider token that passed verification.
struct VerifiedToken: Sendable {
    /// The full value of `authorization`.
    var authorization: [UInt8]
    /// nil if signatures are not verified.
    var key: SimulatorSigningKey?
    var teamID: String
    var keyID: String
    /// UNIX seconds.
    var issuedAt: Int64
}

/// Verifies provider tokens. It caches verified tokens, so that many connections with one token cost one verification.
package final class ProviderTokenVerifier: Sendable {
    /// The largest number of cached tokens. One per key and hour is usual.
    private static let cachedMax = 256
    /// A longer `authorization` is refused without parsing.
    private static let authorizationBytesMax = 2048

    private let keys: [String: SimulatorSigningKey]
    private let isSignatureVerified: Bool
    private let environment: SimulatorConfiguration.Environment
    private let cache = Mutex<[[UInt8]: VerifiedToken]>([:])

    package init(_ configuration: SimulatorConfiguration) {
        environment = configuration.environment
        switch configuration.authentication {
        case .signingKeys(let keys):
            self.keys = Dictionary(keys.map { ($0.keyID, $0) }, uniquingKeysWith: { first, _ in first })
            isSignatureVerified = true
        case .unverified:
            keys = [:]
            isSignatureVerified = false
        }
    }

    /// Checks form and signature. The age is checked per request, because it changes.
    func verify(_ authorization: UnsafeRawBufferPointer) -> Result<VerifiedToken, ProviderTokenRefusal> {
        guard authorization.count <= Self.authorizationBytesMax else { return .failure(.invalid) }
        let bytes = Array(authorization)
        if let known = cache.withLock({ $0[bytes] }) { return .success(known) }
        let scheme = "bearer ".utf8
        guard bytes.count > scheme.count, bytes.prefix(scheme.count).map({ $0 | 0x20 }).elementsEqual(scheme) else {
            return .failure(.missing)
        }
        let jwt = UnsafeRawBufferPointer(rebasing: authorization[scheme.count...])
        guard let token = ParsedProviderToken(jwt), token.algorithm == "ES256" else { return .failure(.invalid) }
        let key = keys[token.keyID]
        if isSignatureVerified {
            guard let key, key.teamID == token.teamID else { return .failure(.invalid) }
            guard Self.isSigned(jwt.prefix(token.signedLength), token.signature, key.publicKey) else {
                return .failure(.invalid)
            }
            guard key.environment == nil || key.environment == environment else { return .failure(.otherEnvironment) }
        }
        let verified = VerifiedToken(
            authorization: bytes, key: key, teamID: token.teamID, keyID: token.keyID, issuedAt: token.issuedAt
        )
        cache.withLock { cache in
            if cache.count >= Self.cachedMax { cache.removeAll() }
            cache[bytes] = verified
        }
        return .success(verified)
    }

    /// Accepts raw and DER signatures: Apple documents the JOSE form, but its own recipes send DER.
    private static func isSigned(
        _ message: Slice<UnsafeRawBufferPointer>, _ signature: [UInt8], _ key: P256.Signing.PublicKey
    ) -> Bool {
        let parsed =
            signature.count == 64
            ? try? P256.Signing.ECDSASignature(rawRepresentation: signature)
            : try? P256.Signing.ECDSASignature(derRepresentation: signature)
        guard let parsed else { return false }
        return key.isValidSignature(parsed, for: Array(message))
    }
}

enum ProviderTokenRefusal: Error, Equatable {
    case missing, invalid, otherEnvironment

    var reason: APNSReason {
        switch self {
        case .missing: .missingProviderToken
        case .invalid: .invalidProviderToken
        case .otherEnvironment: .badEnvironmentKeyIdInToken
        }
    }
}
