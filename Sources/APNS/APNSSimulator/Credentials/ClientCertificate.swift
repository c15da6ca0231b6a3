import Crypto
public import Foundation
import SwiftASN1
import X509

/// A client certificate and its private key, both in PEM, for certificate-based authentication.
public struct SimulatorClientCertificate: Sendable {
    public let certificatePEM: String
    /// PKCS#8, P-256.
    public let privateKeyPEM: String
}

extension SimulatorAuthority {
    /// Issues a push certificate for an app, as Apple's developer portal does.
    ///
    /// - Parameters:
    ///   - bundleID: The UID of the subject, also part of its common name.
    ///   - topics: Full topics, including suffixes, for the extension 6.3.6. nil omits the extension, as in older
    ///     certificates, which are valid for the bundle ID only.
    ///   - environments: The environments that accept the certificate.
    ///   - notAfter: The end of validity; nil for a year from now. A time in the past creates an expired certificate.
    /// - Throws: `SimulatorError.badCredential`.
    public func issueClientCertificate(
        bundleID: String, topics: [String]? = nil,
        environments: Set<SimulatorConfiguration.Environment> = [.production, .sandbox], notAfter: Date? = nil
    ) throws(SimulatorError) -> SimulatorClientCertificate {
        do {
            let key = P256.Signing.PrivateKey()
            let end = notAfter ?? Date().addingTimeInterval(365 * 86_400)
            let userID = RelativeDistinguishedName.Attribute(
                type: ProviderCertificate.ObjectIdentifiers.userID, utf8String: bundleID)
            let certificate = try Certificate(
                version: .v3, serialNumber: Certificate.SerialNumber(),
                publicKey: Certificate.PrivateKey(key).publicKey,
                notValidBefore: min(Date(), end).addingTimeInterval(-86_400), notValidAfter: end, issuer: name,
                subject: DistinguishedName([
                    RelativeDistinguishedName(userID),
                    RelativeDistinguishedName(
                        RelativeDistinguishedName.Attribute(
                            type: .RDNAttributeType.commonName, utf8String: "Apple Push Services: \(bundleID)")),
                ]),
                signatureAlgorithm: .ecdsaWithSHA256,
                extensions: try Self.extensions(topics, environments), issuerPrivateKey: self.key
            )
            return SimulatorClientCertificate(
                certificatePEM: try certificate.serializeAsPEM().pemString + "\n",
                privateKeyPEM: key.pemRepresentation + "\n"
            )
        } catch {
            throw .badCredential("cannot issue a client certificate: \(error)")
        }
    }

    private static func extensions(
        _ topics: [String]?, _ environments: Set<SimulatorConfiguration.Environment>
    ) throws -> Certificate.Extensions {
        var list: [Certificate.Extension] = [
            try Certificate.Extension(BasicConstraints.notCertificateAuthority, critical: true),
            try Certificate.Extension(KeyUsage(digitalSignature: true), critical: true),
            try Certificate.Extension(ExtendedKeyUsage([.clientAuth]), critical: false),
        ]
        let marks: [(SimulatorConfiguration.Environment, ASN1ObjectIdentifier)] = [
            (.sandbox, ProviderCertificate.ObjectIdentifiers.sandbox),
            (.production, ProviderCertificate.ObjectIdentifiers.production),
        ]
        // The value of an environment extension is an ASN.1 NULL.
        for (environment, identifier) in marks where environments.contains(environment) {
            list.append(Certificate.Extension(oid: identifier, critical: false, value: [5, 0]))
        }
        if let topics {
            var coder = DER.Serializer()
            let kinds = topics.map { topic in
                topic.hasSuffix(".voip") ? "voip" : topic.hasSuffix(".complication") ? "complication" : "app"
            }
            try coder.serialize(ProviderCertificate.Topics(names: topics, kinds: kinds))
            list.append(
                Certificate.Extension(
                    oid: ProviderCertificate.ObjectIdentifiers.topics, critical: false,
                    value: coder.serializedBytes[...])
            )
        }
        return try Certificate.Extensions(list)
    }
}
