import Crypto

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// An APNs signing key: a `.p8` file from Apple's developer portal, with its two identifiers.
///
/// Its descriptions contain the key ID. Neither descriptions nor errors contain the key.
public struct ProviderTokenKey: Sendable {
    /// The key ID, `kid` of the token; 10 characters.
    public let keyID: String
    /// The team ID, `iss` of the token; 10 characters.
    public let teamID: String
    let privateKey: P256.Signing.PrivateKey

    /// - Parameter pem: the text of the `.p8` file: a P-256 private key, PKCS#8 in PEM.
    public init(pem: String, keyID: String, teamID: String) throws(ProviderTokenError) {
        try Self.checkIdentifier(keyID, code: .badKeyID, name: "key ID")
        try Self.checkIdentifier(teamID, code: .badTeamID, name: "team ID")
        self.keyID = keyID
        self.teamID = teamID
        privateKey = try Self.parse(pem)
    }

    /// Reads the key from a `.p8` file.
    public init(file path: String, keyID: String, teamID: String) throws(ProviderTokenError) {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw ProviderTokenError(code: .unreadable, message: "the key file \(path) cannot be read")
        }
        guard let pem = String(data: data, encoding: .utf8) else {
            throw ProviderTokenError(code: .notPEM, message: "the key file \(path) is not PEM text")
        }
        do {
            try self.init(pem: pem, keyID: keyID, teamID: teamID)
        } catch {
            throw ProviderTokenError(code: error.code, message: "the key file \(path): \(error.message)")
        }
    }

    private static func parse(_ pem: String) throws(ProviderTokenError) -> P256.Signing.PrivateKey {
        guard let label = pemLabel(of: pem) else {
            throw ProviderTokenError(
                code: .notPEM, message: "the key is not PEM text: there is no line \"-----BEGIN PRIVATE KEY-----\""
            )
        }
        guard label == "PRIVATE KEY" || label == "EC PRIVATE KEY" else {
            throw ProviderTokenError(
                code: .notP256, message: "the PEM text contains a \(label), not a private key as Apple's .p8 files do"
            )
        }
        // The underlying error is left out: it may quote parts of the key.
        guard let key = try? P256.Signing.PrivateKey(pemRepresentation: pem) else {
            throw ProviderTokenError(code: .notP256, message: "the PEM text is not a P-256 private key")
        }
        return key
    }

    /// The label of the first PEM header; nil without one. Only capital letters, digits and spaces are accepted, so
    /// that no key material can be taken for a label.
    private static func pemLabel(of pem: String) -> String? {
        for line in pem.split(whereSeparator: \.isNewline) {
            guard line.hasPrefix("-----BEGIN "), let end = line.dropFirst(11).firstIndex(of: "-") else { continue }
            let label = line[line.index(line.startIndex, offsetBy: 11)..<end]
            guard label.utf8.allSatisfy({ (65...90).contains($0) || $0 == 32 || (48...57).contains($0) }) else {
                return nil
            }
            return label.count <= 40 ? String(label) : nil
        }
        return nil
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
