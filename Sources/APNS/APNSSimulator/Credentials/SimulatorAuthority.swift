import Crypto
import Foundation
import SwiftASN1
import X509

/// Who signs the simulator's certificates. Kept over restarts, it spares clients a new root to trust each time.
public struct SimulatorAuthority: Sendable {
    /// What a client must trust, in PEM.
    public let certificatePEM: String
    /// In PEM; whoever has it can pose as the simulator, and as nothing else.
    public let privateKeyPEM: String
    let name: DistinguishedName
    let key: Certificate.PrivateKey

    /// Makes a new one, good for ten years.
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
            throw .badCredential("cannot make an authority: \(error)")
        }
    }

    /// One that was made before.
    public init(certificatePEM: String, privateKeyPEM: String) throws(SimulatorError) {
        do {
            let certificate = try Certificate(pemEncoded: certificatePEM)
            let key = try P256.Signing.PrivateKey(pemRepresentation: privateKeyPEM)
            guard certificate.publicKey == Certificate.PrivateKey(key).publicKey else {
                throw SimulatorError.badCredential("they do not go together")
            }
            self.certificatePEM = certificatePEM
            self.privateKeyPEM = privateKeyPEM
            name = certificate.subject
            self.key = Certificate.PrivateKey(key)
        } catch {
            throw .badCredential("not the certificate and the P-256 key of an authority, in PEM")
        }
    }

    /// Valid from an hour ago, for clocks that disagree.
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
