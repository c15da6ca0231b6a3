import Crypto
import Foundation
import SwiftASN1
import X509

/// The certificate authority of a simulator. Store it across restarts, so that clients keep trusting the same root.
public struct SimulatorAuthority: Sendable {
    /// The root certificate that a client must trust, in PEM.
    public let certificatePEM: String
    /// The private key, in PEM. Clients that trust the authority accept any server certificate signed with it, so keep
    /// it secret.
    public let privateKeyPEM: String
    let name: DistinguishedName
    let key: Certificate.PrivateKey

    /// Creates a new authority, valid for ten years.
    ///
    /// - Throws: `SimulatorError.badCredential`.
    public init() throws(SimulatorError) {
        do {
            let key = P256.Signing.PrivateKey()
            let name = try DistinguishedName { CommonName("Godwit simulator authority") }
            let certificate = try Self.certificate(
                subject: name, publicKey: Certificate.PrivateKey(key).publicKey, issuer: name,
                issuerKey: Certificate.PrivateKey(key), days: 3650,
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                    Critical(KeyUsage(keyCertSign: true))
                }
            )
            certificatePEM = try certificate.serializeAsPEM().pemString + "\n"
            privateKeyPEM = key.pemRepresentation + "\n"
            self.name = name
            self.key = Certificate.PrivateKey(key)
        } catch {
            throw .badCredential("cannot create a certificate authority: \(error)")
        }
    }

    /// Loads an authority.
    ///
    /// - Throws: `SimulatorError.badCredential` if the texts are not the certificate and P-256 key of one authority.
    public init(certificatePEM: String, privateKeyPEM: String) throws(SimulatorError) {
        do {
            let certificate = try Certificate(pemEncoded: certificatePEM)
            let key = try P256.Signing.PrivateKey(pemRepresentation: privateKeyPEM)
            guard certificate.publicKey == Certificate.PrivateKey(key).publicKey else {
                throw SimulatorError.badCredential("the certificate and the private key do not match")
            }
            self.certificatePEM = certificatePEM
            self.privateKeyPEM = privateKeyPEM
            name = certificate.subject
            self.key = Certificate.PrivateKey(key)
        } catch {
            throw .badCredential("not a certificate and the matching P-256 key in PEM")
        }
    }

    /// Signs a certificate. It is valid from an hour ago, to tolerate clock differences.
    static func certificate(
        subject: DistinguishedName, publicKey: Certificate.PublicKey, issuer: DistinguishedName,
        issuerKey: Certificate.PrivateKey, days: Double, extensions: Certificate.Extensions
    ) throws -> Certificate {
        let now = Date()
        return try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
            notValidBefore: now.addingTimeInterval(-3600), notValidAfter: now.addingTimeInterval(days * 86_400),
            issuer: issuer, subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
            issuerPrivateKey: issuerKey
        )
    }
}
