public import Crypto
import JSONText

/// The public key of a provider token signing key, as registered with Apple.
public struct SimulatorSigningKey: Sendable {
    public var teamID: String
    public var keyID: String
    /// The bundle IDs of a topic-specific key; nil for a team key, which covers all topics.
    public var topics: Set<String>?
    /// The one other key that may be used on the same connection as this topic-specific key.
    public var relatedKeyID: String?
    /// nil: valid in both environments.
    public var environment: SimulatorConfiguration.Environment?
    let publicKey: P256.Signing.PublicKey

    public init(teamID: String, keyID: String, publicKey: P256.Signing.PublicKey) {
        self.teamID = teamID
        self.keyID = keyID
        self.publicKey = publicKey
    }

    /// - Parameter pem: A P-256 key in PEM: the public key (`PUBLIC KEY`) or the private `.p8` file.
    /// - Throws: `SimulatorError.badCredential`.
    public init(teamID: String, keyID: String, pem: String) throws(SimulatorError) {
        if let publicKey = try? P256.Signing.PublicKey(pemRepresentation: pem) {
            self.init(teamID: teamID, keyID: keyID, publicKey: publicKey)
        } else if let privateKey = try? P256.Signing.PrivateKey(pemRepresentation: pem) {
            self.init(teamID: teamID, keyID: keyID, publicKey: privateKey.publicKey)
        } else {
            throw .badCredential("the signing key \(keyID) is not a P-256 key in PEM")
        }
    }
}

/// A generated signing key for tests and demos, in place of one from Apple's developer portal.
public struct SimulatorCredentials: Sendable {
    public let teamID: String
    public let keyID: String
    private let privateKey: P256.Signing.PrivateKey

    /// Generates a P-256 key.
    public init(teamID: String = "DEMOTEAM00", keyID: String = "DEMOKEY000") {
        self.teamID = teamID
        self.keyID = keyID
        privateKey = P256.Signing.PrivateKey()
    }

    /// The private key in Apple's format: PKCS#8 in PEM, the contents of an `AuthKey_….p8` file.
    public var privateKeyPEM: String { privateKey.pemRepresentation }

    /// The key to configure the simulator with, so that it accepts tokens of this credential.
    public var signingKey: SimulatorSigningKey {
        SimulatorSigningKey(teamID: teamID, keyID: keyID, publicKey: privateKey.publicKey)
    }

    /// The encoding of a token's signature.
    public enum SignatureForm: Sendable {
        /// RFC 7518: 64 bytes, r and s.
        case raw
        /// ASN.1 DER, as produced by `openssl` and Apple's own shell recipe.
        case der
    }

    /// Creates a provider token: the value of `authorization` without `bearer `.
    ///
    /// - Parameter issuedAt: UNIX seconds.
    public func providerToken(issuedAt: Int64, signature form: SignatureForm = .raw) throws -> String {
        var header: [UInt8] = []
        JSONWriter.append("{\"alg\":\"ES256\",\"kid\":", to: &header)
        JSONWriter.appendString(keyID, to: &header)
        JSONWriter.append("}", to: &header)
        var claims: [UInt8] = []
        JSONWriter.append("{\"iss\":", to: &claims)
        JSONWriter.appendString(teamID, to: &claims)
        JSONWriter.append(",\"iat\":", to: &claims)
        JSONWriter.appendInteger(issuedAt, to: &claims)
        JSONWriter.append("}", to: &claims)
        let signed = "\(Base64URL.encode(header)).\(Base64URL.encode(claims))"
        let signature = try privateKey.signature(for: Array(signed.utf8))
        let bytes = form == .raw ? Array(signature.rawRepresentation) : Array(signature.derRepresentation)
        return "\(signed).\(Base64URL.encode(bytes))"
    }
}
