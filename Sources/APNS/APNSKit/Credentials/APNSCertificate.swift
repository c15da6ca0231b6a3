import NIOSSL
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
public import FoundationEssentials
#else
public import Foundation
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
    ///   - certificatePEM: the certificate and its intermediates, if any, in any order. The certificate that belongs to the
    ///     key is used, the one that is valid longest if there are several. Other text and keys are skipped.
    ///   - keyPEM: the private key. Other text and certificates are skipped.
    ///   - password: the password of the key, if it is encrypted.
    public init(certificatePEM: String, keyPEM: String, password: String? = nil) throws(APNSCertificateError) {
        try self.init(certificatePEM: Array(certificatePEM.utf8), keyPEM: Array(keyPEM.utf8), password: password)
    }

    private init(certificatePEM: [UInt8], keyPEM: [UInt8], password: String?) throws(APNSCertificateError) {
        let document = PEMBlock.read(certificatePEM)
        let blocks = document.blocks.filter(\.isCertificate)
        let chain = blocks.compactMap { try? NIOSSLCertificate(bytes: $0.bytes, format: .der) }
        guard !document.isDamaged, chain.count == blocks.count else {
            throw APNSCertificateError(
                code: .notACertificate, message: "a certificate in the text is damaged or cut off"
            )
        }
        guard !chain.isEmpty else {
            throw APNSCertificateError(code: .notACertificate, message: "the text contains no certificate in PEM")
        }
        guard chain.count <= Self.chainMax else {
            throw APNSCertificateError(
                code: .notACertificate, message: "the text contains more than \(Self.chainMax) certificates"
            )
        }
        try self.init(chain: chain, privateKey: Self.key(keyPEM, password))
    }

    /// Far more than a chain has; each is tried with the key.
    private static let chainMax = 32

    /// Reads certificate and key from PEM files. Both may be the same file.
    public init(
        certificateFile: String, keyFile: String, password: String? = nil
    ) throws(APNSCertificateError) {
        let certificate = try Self.read(certificateFile)
        let key = try Self.read(keyFile)
        do {
            try self.init(certificatePEM: certificate, keyPEM: key, password: password)
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
        let fitting = chain.filter { Self.isPair($0, privateKey) }
        let readable = (fitting.isEmpty ? chain : fitting).compactMap { certificate in
            Self.parsed(certificate).map { (tls: certificate, x509: $0) }
        }
        guard let leaf = readable.max(by: { $0.x509.notValidAfter < $1.x509.notValidAfter }) else {
            throw APNSCertificateError(code: .notACertificate, message: "the certificate is not an X.509 certificate")
        }
        guard !fitting.isEmpty else {
            throw APNSCertificateError(
                code: .keyMismatch,
                message: chain.count == 1
                    ? "the private key does not belong to the certificate"
                    : "the private key belongs to none of the \(chain.count) certificates"
            )
        }
        let claims = CertificateClaims(leaf.x509)
        self.chain = Self.ordered(chain, from: leaf.tls)
        self.privateKey = privateKey
        notBefore = leaf.x509.notValidBefore
        notAfter = leaf.x509.notValidAfter
        topics = claims.topics
        environments = claims.environments
        commonName = claims.commonName
    }

    private static func parsed(_ certificate: NIOSSLCertificate) -> Certificate? {
        (try? certificate.toDERBytes()).flatMap { try? Certificate(derEncoded: $0) }
    }

    /// The certificate, then each issuer after what it issued, as TLS sends them (RFC 8446, section 4.4.2). Certificates that
    /// issued none of these are left out.
    private static func ordered(_ all: [NIOSSLCertificate], from leaf: NIOSSLCertificate) -> [NIOSSLCertificate] {
        var rest = all.filter { $0 != leaf }
        var chain = [leaf]
        while let issuer = chain.last.flatMap(parsed)?.issuer,
            let index = rest.firstIndex(where: { parsed($0)?.subject == issuer })
        {
            chain.append(rest.remove(at: index))
        }
        return chain
    }

    /// Whether the key belongs to the certificate. TLS checks this when both are set.
    private static func isPair(_ certificate: NIOSSLCertificate, _ key: NIOSSLPrivateKey) -> Bool {
        var tls = TLSConfiguration.makeClientConfiguration()
        // Nothing is connected, and the system's roots would be read each time.
        tls.trustRoots = .certificates([])
        tls.certificateChain = [.certificate(certificate)]
        tls.privateKey = .privateKey(key)
        return (try? NIOSSLContext(configuration: tls)) != nil
    }

    /// The common names of the chain in its order.
    package var commonNames: [String] { chain.compactMap(Self.parsed).map { CertificateClaims($0).commonName } }

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
        guard let block = PEMBlock.read(bytes).blocks.first(where: \.isPrivateKey) else {
            throw APNSCertificateError(code: .badKey, message: "the text contains no private key in PEM")
        }
        guard !block.isEncrypted || password != nil else {
            throw APNSCertificateError(code: .badKey, message: "the private key is encrypted: its password is missing")
        }
        let pem = Array(block.canonicalText.utf8)
        let key =
            if let password {
                try? NIOSSLPrivateKey(bytes: pem, format: .pem) { $0(password.utf8) }
            } else {
                try? NIOSSLPrivateKey(bytes: pem, format: .pem)
            }
        guard let key else {
            throw APNSCertificateError(
                code: .badKey,
                message: block.isEncrypted
                    ? "the private key cannot be decrypted: its password is wrong, or it is damaged"
                    : "the private key is damaged, or of a kind that TLS does not use"
            )
        }
        return key
    }

    private static func read(_ path: String) throws(APNSCertificateError) -> [UInt8] {
        do throws(CredentialFile.Unreadable) {
            return try CredentialFile.read(path)
        } catch {
            throw APNSCertificateError(
                code: .unreadable, message: "the file \(path) cannot be read: \(error.reason)"
            )
        }
    }
}

extension APNSCertificate: Equatable {
    /// Whether both are the same chain. The key of a certificate always belongs to it.
    public static func == (left: APNSCertificate, right: APNSCertificate) -> Bool { left.chain == right.chain }
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
