import NIOSSL
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
public import FoundationEssentials
#else
import Foundation
#endif

/// A TLS client certificate for APNs with its private key.
///
/// Its descriptions contain the common name and the expiry date. Neither descriptions nor errors contain the key.
public struct APNSCertificate: Sendable {
    public let notBefore: Date
    /// The expiry date. APNs has no grace period: the certificate must be replaced before (Apple, "Sending notification
    /// requests to APNs").
    public let notAfter: Date
    /// The topics of the certificate, in its order; empty if it lists none.
    ///
    /// If there is more than one, `apns-topic` is mandatory, and a push type can be sent only if its complete topic is
    /// listed.
    public let topics: [String]
    /// The environments of the certificate; both if it names none.
    public let environments: Set<Environment>
    /// The common name of the subject, for example `Apple Push Services: com.example.app`; empty without one.
    public let commonName: String

    /// An environment of APNs, as certificates name it.
    public enum Environment: String, Sendable, Hashable, CaseIterable {
        case production, sandbox
    }

    let chain: [NIOSSLCertificate]
    let privateKey: NIOSSLPrivateKey

    /// Reads certificate and key from PEM texts.
    ///
    /// - Parameters:
    ///   - certificatePEM: the certificate, followed by its intermediates, if any.
    ///   - keyPEM: the private key.
    ///   - password: the password of the key, if it is encrypted.
    public init(certificatePEM: String, keyPEM: String, password: String? = nil) throws(APNSCertificateError) {
        guard let chain = try? NIOSSLCertificate.fromPEMBytes(Array(certificatePEM.utf8)), !chain.isEmpty else {
            throw APNSCertificateError(code: .notACertificate, message: "the text contains no certificate in PEM")
        }
        try self.init(chain: chain, privateKey: Self.key(Array(keyPEM.utf8), password))
    }

    /// Reads certificate and key from PEM files. Both may be the same file.
    public init(
        certificateFile: String, keyFile: String, password: String? = nil
    ) throws(APNSCertificateError) {
        let certificate = try Self.read(certificateFile)
        let key = try Self.read(keyFile)
        do {
            try self.init(
                certificatePEM: String(decoding: certificate, as: UTF8.self),
                keyPEM: String(decoding: key, as: UTF8.self), password: password
            )
        } catch {
            throw APNSCertificateError(
                code: error.code, message: "\(certificateFile) and \(keyFile): \(error.message)"
            )
        }
    }

    /// Reads a PKCS#12 file (`.p12`, `.pfx`) with exactly one identity, as Keychain Access exports it.
    public init(p12File path: String, password: String) throws(APNSCertificateError) {
        try self.init(p12: Self.read(path), password: password)
    }

    /// Reads the bytes of a PKCS#12 file.
    public init(p12 bytes: [UInt8], password: String) throws(APNSCertificateError) {
        try Self.checkContents(ofP12: bytes)
        let bundle: NIOSSLPKCS12Bundle
        do {
            bundle = try NIOSSLPKCS12Bundle(buffer: bytes, passphrase: Array(password.utf8))
        } catch {
            // The library's text is left out: it contains only positions in its source.
            throw APNSCertificateError(
                code: .badPKCS12,
                message: "the .p12 cannot be opened: the password is wrong, or the file is damaged"
            )
        }
        try self.init(chain: bundle.certificateChain, privateKey: bundle.privateKey)
    }

    private static func checkContents(ofP12 bytes: [UInt8]) throws(APNSCertificateError) {
        guard !bytes.isEmpty else { throw APNSCertificateError(code: .badPKCS12, message: "the .p12 is empty") }
        guard let contents = try? PKCS12Contents(bytes) else {
            throw APNSCertificateError(code: .badPKCS12, message: "the .p12 is not a PKCS#12 file")
        }
        guard contents.hasKey else {
            throw APNSCertificateError(
                code: .badKey,
                message: "the .p12 contains no private key; export the certificate together with its private key"
            )
        }
        guard contents.mayHaveCertificate else {
            throw APNSCertificateError(
                code: .notACertificate,
                message: "the .p12 contains no certificate; export the private key together with its certificate"
            )
        }
    }

    private init(chain: [NIOSSLCertificate], privateKey: NIOSSLPrivateKey) throws(APNSCertificateError) {
        guard let bytes = try? chain[0].toDERBytes(), let leaf = try? Certificate(derEncoded: bytes) else {
            throw APNSCertificateError(code: .notACertificate, message: "the certificate is not an X.509 certificate")
        }
        let claims = CertificateClaims(leaf)
        self.chain = chain
        self.privateKey = privateKey
        notBefore = leaf.notValidBefore
        notAfter = leaf.notValidAfter
        topics = claims.topics
        environments = claims.environments
        commonName = claims.commonName
        guard isPair else {
            throw APNSCertificateError(
                code: .keyMismatch, message: "the private key does not belong to the certificate"
            )
        }
    }

    /// Whether the key belongs to the certificate. TLS checks this when both are set.
    private var isPair: Bool {
        var tls = TLSConfiguration.makeClientConfiguration()
        add(to: &tls)
        return (try? NIOSSLContext(configuration: tls)) != nil
    }

    func add(to tls: inout TLSConfiguration) {
        tls.certificateChain = chain.map { .certificate($0) }
        tls.privateKey = .privateKey(privateKey)
    }

    private static func key(_ bytes: [UInt8], _ password: String?) throws(APNSCertificateError) -> NIOSSLPrivateKey {
        if let password, !password.utf8.allSatisfy({ $0 < 0x80 }) {
            // swift-nio-ssl 2.37 crashes here on bytes above 127; reading PKCS#12 is not affected.
            throw APNSCertificateError(
                code: .badKey, message: "the password of a PEM key must be ASCII; use a .p12 file for other passwords"
            )
        }
        let key =
            if let password {
                try? NIOSSLPrivateKey(bytes: bytes, format: .pem) { $0(password.utf8) }
            } else {
                try? NIOSSLPrivateKey(bytes: bytes, format: .pem)
            }
        guard let key else {
            throw APNSCertificateError(
                code: .badKey, message: "the text contains no private key in PEM, or its password is missing or wrong"
            )
        }
        return key
    }

    private static func read(_ path: String) throws(APNSCertificateError) -> [UInt8] {
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)) else {
            throw APNSCertificateError(code: .unreadable, message: "the file \(path) cannot be read")
        }
        return Array(data)
    }
}

extension APNSCertificate: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        "certificate \(commonName.isEmpty ? "without a common name" : commonName), valid until \(notAfter)"
    }
    public var debugDescription: String { description }
    public var customMirror: Mirror {
        Mirror(self, children: ["commonName": commonName, "notAfter": notAfter, "topics": topics])
    }
}

/// A certificate cannot be read.
public struct APNSCertificateError: Error, Equatable, CustomStringConvertible {
    /// An open set: later versions may add codes.
    public struct Code: Sendable, Hashable {
        private let name: String

        public static let unreadable = Code(name: "unreadable")
        public static let notACertificate = Code(name: "notACertificate")
        public static let badKey = Code(name: "badKey")
        public static let badPKCS12 = Code(name: "badPKCS12")
        public static let keyMismatch = Code(name: "keyMismatch")
    }

    public let code: Code
    /// A phrase for the operator; never contains the key or the password.
    public let message: String

    public var description: String { message }
}
