import Crypto
import Foundation
import NIOSSL
import SwiftASN1
import X509

/// The server's TLS identity and what a client needs to trust it.
struct SimulatorCertificate {
    var chain: [NIOSSLCertificateSource]
    var privateKey: NIOSSLPrivateKeySource
    /// The authority to trust, in PEM; for files, the chain itself.
    var authorityPEM: String

    init(_ source: SimulatorConfiguration.CertificateSource) throws(SimulatorError) {
        switch source {
        case .generated:
            do { self = try Self.generate() } catch { throw .badCredential("cannot make a certificate: \(error)") }
        case .pemFiles(let chainPath, let keyPath):
            do {
                chain = try NIOSSLCertificate.fromPEMFile(chainPath).map { .certificate($0) }
                authorityPEM = try String(contentsOfFile: chainPath, encoding: .utf8)
            } catch {
                throw .badCredential("cannot read a PEM certificate chain from \(chainPath)")
            }
            do {
                privateKey = .privateKey(try NIOSSLPrivateKey(file: keyPath, format: .pem))
            } catch {
                throw .badCredential("cannot read a PEM private key from \(keyPath)")
            }
        }
    }

    private init(chain: [NIOSSLCertificateSource], privateKey: NIOSSLPrivateKeySource, authorityPEM: String) {
        self.chain = chain
        self.privateKey = privateKey
        self.authorityPEM = authorityPEM
    }

    /// TLS 1.2 or later (Apple, "Sending notification requests to APNs"); `h2` by ALPN, or prior knowledge.
    func makeContext() throws(SimulatorError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: privateKey)
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["h2"]
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw .badCredential("certificate and private key do not go together: \(error)")
        }
    }

    private static func generate() throws -> SimulatorCertificate {
        let authorityKey = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let authorityName = try DistinguishedName { CommonName("Godwit simulator authority") }
        let authority = try make(
            subject: authorityName, publicKey: authorityKey.publicKey, issuer: authorityName, issuerKey: authorityKey,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true))
            }
        )
        let leafKey = P256.Signing.PrivateKey()
        let leaf = try make(
            subject: DistinguishedName { CommonName("localhost") },
            publicKey: Certificate.PrivateKey(leafKey).publicKey, issuer: authorityName, issuerKey: authorityKey,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames([
                    .dnsName("localhost"), .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1])),
                    .ipAddress(ASN1OctetString(contentBytes: ArraySlice(repeatElement(0, count: 15)) + [1])),
                ])
            }
        )
        return SimulatorCertificate(
            chain: [
                .certificate(try NIOSSLCertificate(bytes: Array(leaf.serializeAsPEM().pemString.utf8), format: .pem))
            ],
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(leafKey.pemRepresentation.utf8), format: .pem)),
            authorityPEM: try authority.serializeAsPEM().pemString + "\n"
        )
    }

    /// Valid from an hour ago, for clocks that disagree, for 30 days: it is made anew at every start.
    private static func make(
        subject: DistinguishedName, publicKey: Certificate.PublicKey, issuer: DistinguishedName,
        issuerKey: Certificate.PrivateKey, extensions: Certificate.Extensions
    ) throws -> Certificate {
        let now = Date()
        return try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
            notValidBefore: now.addingTimeInterval(-3600), notValidAfter: now.addingTimeInterval(30 * 86_400),
            issuer: issuer, subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
            issuerPrivateKey: issuerKey
        )
    }
}
