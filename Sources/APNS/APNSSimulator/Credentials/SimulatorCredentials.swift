public import Crypto
import JSONText

/// The public half of a provider's signing key, as Apple would know it.
public struct SimulatorSigningKey: Sendable {
    public var teamID: String
    public var keyID: String
    /// nil: a team key, good for every topic. Else the bundle IDs of a topic-specific key.
    public var topics: Set<String>?
    /// Of a topic-specific key: the one other key that may be used on the same connection.
    public var relatedKeyID: String?
    /// nil: good in both environments.
    public var environment: SimulatorConfiguration.Environment?
    let publicKey: P256.Signing.PublicKey

    public init(teamID: String, keyID: String, publicKey: P256.Signing.PublicKey) {
        self.teamID = teamID
        self.keyID = keyID
        self.publicKey = publicKey
    }

    /// - Parameter pem: a P-256 key in PEM: public (`PUBLIC KEY`), or the private `.p8` itself.
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

/// A made-up provider's credential, for demos and tests: what Apple's developer portal would hand out.
public struct SimulatorCredentials: Sendable {
    public let teamID: String
    public let keyID: String
    private let privateKey: P256.Signing.PrivateKey

    /// Makes a new P-256 key.
    public init(teamID: String = "DEMOTEAM00", keyID: String = "DEMOKEY000") {
        self.teamID = teamID
        self.keyID = keyID
        privateKey = P256.Signing.PrivateKey()
    }

    /// The private key as Apple delivers it: PKCS#8 in PEM, the contents of an `AuthKey_….p8` file.
    public var privateKeyPEM: String { privateKey.pemRepresentation }

    /// What the simulator must be told to accept tokens of this credential.
    public var signingKey: SimulatorSigningKey {
        SimulatorSigningKey(teamID: teamID, keyID: keyID, publicKey: privateKey.publicKey)
    }

    /// How the signature of a token is written.
    public enum SignatureForm: Sendable {
        /// RFC 7518: 64 bytes, r and s.
        case raw
        /// ASN.1, as `openssl` and Apple's own shell recipe write it.
        case der
    }

    /// A provider token, for a client that is not ours: the value of `authorization` without `bearer `.
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
