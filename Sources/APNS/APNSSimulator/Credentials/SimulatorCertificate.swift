import Crypto
import Foundation
import NIOSSL
import SwiftASN1
import X509

/// The server's TLS identity and the authority that a client must trust.
struct SimulatorCertificate {
    var chain: [NIOSSLCertificateSource]
    var privateKey: NIOSSLPrivateKeySource
    /// The authority to trust, in PEM. For a certificate from files, this is the chain itself.
    var authorityPEM: String

    init(_ source: SimulatorConfiguration.CertificateSource) throws(SimulatorError) {
        switch source {
        case .generated: self = try Self.issued(by: SimulatorAuthority())
        case .issued(let authority): self = try Self.issued(by: authority)
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
    ///
    /// - Parameter requestsClientCertificate: Whether clients are asked for a certificate, which stays optional.
    func makeContext(requestsClientCertificate: Bool) throws(SimulatorError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: privateKey)
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["h2"]
        if requestsClientCertificate { configuration.certificateVerification = .optionalVerification }
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw .badCredential("the certificate and the private key do not match: \(error)")
        }
    }

    /// Issues a certificate for the loopback names.
    private static func issued(by authority: SimulatorAuthority) throws(SimulatorError) -> SimulatorCertificate {
        let leafKey = P256.Signing.PrivateKey()
        do {
            let leaf = try SimulatorAuthority.certificate(
                subject: DistinguishedName { CommonName("localhost") },
                publicKey: Certificate.PrivateKey(leafKey).publicKey, issuer: authority.name, issuerKey: authority.key,
                days: 30,
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
            let chain = try NIOSSLCertificate(bytes: Array(leaf.serializeAsPEM().pemString.utf8), format: .pem)
            return SimulatorCertificate(
                chain: [.certificate(chain)],
                privateKey: .privateKey(
                    try NIOSSLPrivateKey(bytes: Array(leafKey.pemRepresentation.utf8), format: .pem)),
                authorityPEM: authority.certificatePEM
            )
        } catch {
            throw .badCredential("cannot create a certificate: \(error)")
        }
    }
}
