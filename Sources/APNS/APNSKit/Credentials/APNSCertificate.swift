import NIOSSL
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
public import FoundationEssentials
#else
import Foundation
#endif

/// A TLS client certificate for APNs with its private key, and what it says about itself.
///
/// Its descriptions name the subject and the end of its validity; the key is in none of them, nor in an error.
public struct APNSCertificate: Sendable {
    /// When it begins and ends to be valid. APNs has no grace: a successor must be in place before the end (Apple, "Sending
    /// notification requests to APNs").
    public let notBefore: Date
    public let notAfter: Date
    /// The topics it may push to, in its own order; empty when it lists none.
    ///
    /// With more than one of them `apns-topic` is mandatory, and a push type can be sent only when its whole topic is listed.
    public let topics: [String]
    /// Where it is good. A certificate that does not say is taken to be good in both.
    public let environments: Set<Environment>
    /// The subject's common name, such as `Apple Push Services: com.example.app`; empty without one.
    public let commonName: String

    /// One of Apple's two worlds, as certificates name them.
    public enum Environment: String, Sendable, Hashable, CaseIterable {
        case production, sandbox
    }

    let chain: [NIOSSLCertificate]
    let privateKey: NIOSSLPrivateKey

    /// From PEM texts.
    ///
    /// - Parameters:
    ///   - certificatePEM: the certificate, then its intermediates, if any.
    ///   - keyPEM: the private key.
    ///   - password: of the key, when it is encrypted.
    public init(certificatePEM: String, keyPEM: String, password: String? = nil) throws(APNSCertificateError) {
        guard let chain = try? NIOSSLCertificate.fromPEMBytes(Array(certificatePEM.utf8)), !chain.isEmpty else {
            throw APNSCertificateError(code: .notACertificate, message: "the text holds no certificate in PEM")
        }
        try self.init(chain: chain, privateKey: Self.key(Array(keyPEM.utf8), password))
    }

    /// From two PEM files, which may be one and the same.
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

    /// From a PKCS#12 file (`.p12`, `.pfx`), as Keychain Access exports it: exactly one identity.
    public init(p12File path: String, password: String) throws(APNSCertificateError) {
        try self.init(p12: Self.read(path), password: password)
    }

    /// From the bytes of a PKCS#12 file.
    public init(p12 bytes: [UInt8], password: String) throws(APNSCertificateError) {
        let bundle: NIOSSLPKCS12Bundle
        do {
            bundle = try NIOSSLPKCS12Bundle(buffer: bytes, passphrase: Array(password.utf8))
        } catch {
            // The library's text is left out: it names its own source lines and nothing that helps.
            throw APNSCertificateError(
                code: .badPKCS12,
                message: "the .p12 cannot be opened: either the password is wrong or it is not a PKCS#12 file"
            )
        }
        guard !bundle.certificateChain.isEmpty else {
            throw APNSCertificateError(code: .notACertificate, message: "the .p12 holds no certificate")
        }
        try self.init(chain: bundle.certificateChain, privateKey: bundle.privateKey)
    }

    private init(chain: [NIOSSLCertificate], privateKey: NIOSSLPrivateKey) throws(APNSCertificateError) {
        guard let bytes = try? chain[0].toDERBytes(), let leaf = try? Certificate(derEncoded: bytes) else {
            throw APNSCertificateError(code: .notACertificate, message: "the certificate is not one of X.509")
        }
        let says = CertificateClaims(leaf)
        self.chain = chain
        self.privateKey = privateKey
        notBefore = leaf.notValidBefore
        notAfter = leaf.notValidAfter
        topics = says.topics
        environments = says.environments
        commonName = says.commonName
        guard isPair else {
            throw APNSCertificateError(
                code: .keyMismatch, message: "the private key does not belong to the certificate"
            )
        }
    }

    /// Whether key and certificate go together, which TLS checks when it is given both.
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
            // swift-nio-ssl 2.37 crashes on bytes above 127 here; PKCS#12 takes another way.
            throw APNSCertificateError(
                code: .badKey, message: "the password of a PEM key must be ASCII; use a .p12 file for any other"
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
                code: .badKey, message: "there is no private key in PEM, or its password is missing or wrong"
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
        "certificate \(commonName.isEmpty ? "without a common name" : commonName), good until \(notAfter)"
    }
    public var debugDescription: String { description }
    public var customMirror: Mirror {
        Mirror(self, children: ["commonName": commonName, "notAfter": notAfter, "topics": topics])
    }
}

/// Why there is no certificate.
public struct APNSCertificateError: Error, Equatable, CustomStringConvertible {
    /// An open set: later versions may add to it.
    public struct Code: Sendable, Hashable {
        private let name: String

        public static let unreadable = Code(name: "unreadable")
        public static let notACertificate = Code(name: "notACertificate")
        public static let badKey = Code(name: "badKey")
        public static let badPKCS12 = Code(name: "badPKCS12")
        public static let keyMismatch = Code(name: "keyMismatch")
    }

    public let code: Code
    /// One sentence for an operator; never holds the key or the password.
    public let message: String

    public var description: String { message }
}
