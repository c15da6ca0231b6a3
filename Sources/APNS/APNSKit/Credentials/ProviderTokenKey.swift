import Crypto

/// An APNs signing key: a `.p8` file from Apple's developer portal, with its two identifiers.
///
/// Its descriptions contain the key ID. Neither descriptions nor errors contain the key.
public struct ProviderTokenKey: Sendable {
    /// The key ID, `kid` of the token; 10 characters.
    public let keyID: String
    /// The team ID, `iss` of the token; 10 characters.
    public let teamID: String
    let privateKey: P256.Signing.PrivateKey

    /// - Parameter pem: the text of the `.p8` file: a P-256 private key in PEM, PKCS#8 or SEC 1. It is read as openssl reads
    ///   it: any line length and ending, any text before and after the key.
    public init(pem: String, keyID: String, teamID: String) throws(ProviderTokenError) {
        try self.init(pem: Array(pem.utf8), keyID: keyID, teamID: teamID)
    }

    /// Reads the key from a `.p8` file, a regular file of at most 1 MiB.
    public init(file path: String, keyID: String, teamID: String) throws(ProviderTokenError) {
        let pem: [UInt8]
        do throws(CredentialFile.Unreadable) {
            pem = try CredentialFile.read(path)
        } catch {
            throw ProviderTokenError(
                code: .unreadable, message: "the key file \(path) cannot be read: \(error.reason)"
            )
        }
        do {
            try self.init(pem: pem, keyID: keyID, teamID: teamID)
        } catch {
            throw ProviderTokenError(code: error.code, message: "the key file \(path): \(error.message)")
        }
    }

    private init(pem: [UInt8], keyID: String, teamID: String) throws(ProviderTokenError) {
        try Self.checkIdentifier(keyID, code: .badKeyID, name: "key ID")
        try Self.checkIdentifier(teamID, code: .badTeamID, name: "team ID")
        self.keyID = keyID
        self.teamID = teamID
        privateKey = try Self.parse(pem)
    }

    /// Errors are phrases of this function: nothing of the text is quoted, not even a label.
    private static func parse(_ pem: [UInt8]) throws(ProviderTokenError) -> P256.Signing.PrivateKey {
        let document = PEMBlock.read(pem)
        guard let block = document.blocks.first(where: \.isPrivateKey) else {
            if document.isDamaged {
                throw ProviderTokenError(
                    code: .notP256,
                    message: "the PEM text is damaged or cut off: a block does not end, or is not Base64"
                )
            }
            guard let other = document.blocks.first else {
                throw ProviderTokenError(
                    code: .notPEM,
                    message: "the key is not PEM text: there is no line \"-----BEGIN PRIVATE KEY-----\""
                )
            }
            let name =
                other.isCertificate ? "a certificate" : other.label == "PUBLIC KEY" ? "a public key" : "other data"
            throw ProviderTokenError(
                code: .notP256, message: "the PEM text contains \(name), not a private key as Apple's .p8 files do"
            )
        }
        guard !block.isEncrypted else {
            throw ProviderTokenError(
                code: .notP256, message: "the key is encrypted with a password, which Apple's .p8 files are not"
            )
        }
        do throws(ECPrivateKey.Unusable) {
            switch block.label {
            case "PRIVATE KEY": return try ECPrivateKey(pkcs8: block.bytes).key
            case "EC PRIVATE KEY":
                let parameters = document.blocks.first { $0.label == "EC PARAMETERS" }
                return try ECPrivateKey(sec1: block.bytes, parameters: parameters?.bytes).key
            case "RSA PRIVATE KEY": throw .init(reason: "it is an RSA key, not an EC key on P-256")
            case "DSA PRIVATE KEY": throw .init(reason: "it is a DSA key, not an EC key on P-256")
            case "OPENSSH PRIVATE KEY": throw .init(reason: "it is a key of OpenSSH, not an EC key on P-256 in PKCS#8")
            default: throw .init(reason: "it is a key of another kind, not an EC key on P-256")
            }
        } catch {
            throw ProviderTokenError(code: .notP256, message: "the private key cannot be used: \(error.reason)")
        }
    }

    // Apple, "Establishing a token-based connection to APNs": both identifiers have 10 characters. Test setups use
    // other lengths, so only characters that would break the JSON or the header are rejected.
    private static func checkIdentifier(
        _ text: String, code: ProviderTokenError.Code, name: String
    ) throws(ProviderTokenError) {
        let isPlain = text.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
                || byte == 95
        }
        guard (1...64).contains(text.utf8.count), isPlain else {
            throw ProviderTokenError(
                code: code, message: "the \(name) must be 1 to 64 letters, digits, dashes or underscores")
        }
    }
}

extension ProviderTokenKey: Equatable {
    public static func == (left: ProviderTokenKey, right: ProviderTokenKey) -> Bool {
        left.keyID == right.keyID && left.teamID == right.teamID
            && left.privateKey.publicKey.rawRepresentation == right.privateKey.publicKey.rawRepresentation
    }
}

extension ProviderTokenKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "signing key \(keyID) of team \(teamID)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["keyID": keyID, "teamID": teamID]) }
}

/// A signing key cannot be read, or no token can be signed with it.
public struct ProviderTokenError: Error, Equatable, CustomStringConvertible {
    /// An open set: later versions may add codes.
    public struct Code: Sendable, Hashable {
        private let name: String

        public static let unreadable = Code(name: "unreadable")
        public static let notPEM = Code(name: "notPEM")
        public static let notP256 = Code(name: "notP256")
        public static let badKeyID = Code(name: "badKeyID")
        public static let badTeamID = Code(name: "badTeamID")
        public static let signing = Code(name: "signing")
    }

    public let code: Code
    /// A phrase for the operator; never contains the key.
    public let message: String

    public var description: String { message }
}
