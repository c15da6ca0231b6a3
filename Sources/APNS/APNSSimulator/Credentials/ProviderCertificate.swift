import APNSWire
import Foundation
import NIOSSL
import SwiftASN1
import X509

/// A verified client certificate.
///
/// Source: section 5 of the protocol notes: pushy `script/apns-extensions.cnf` (6.3.6), node-apn `oids.js` (6.3.1 and
/// 6.3.2), Apple "Establishing a certificate-based connection to APNs".
struct ProviderCertificate: Sendable, Equatable {
    /// Full topics, in the order of the certificate. If it lists none, the subject's UID is the only topic.
    var topics: [String]

    enum ObjectIdentifiers {
        static let sandbox: ASN1ObjectIdentifier = [1, 2, 840, 113635, 100, 6, 3, 1]
        static let production: ASN1ObjectIdentifier = [1, 2, 840, 113635, 100, 6, 3, 2]
        static let topics: ASN1ObjectIdentifier = [1, 2, 840, 113635, 100, 6, 3, 6]
        static let userID: ASN1ObjectIdentifier = [0, 9, 2342, 19_200_300, 100, 1, 1]
    }

    /// Verifies issuer, validity, environment and topics. TLS has already proved possession of the private key.
    ///
    /// - Parameter now: UNIX milliseconds.
    /// - Returns: The certificate, or the reason `badCertificate` or `badCertificateEnvironment`.
    static func verify(
        _ certificate: NIOSSLCertificate, authority: SimulatorAuthority,
        environment: SimulatorConfiguration.Environment, now: Int64
    ) -> Result<ProviderCertificate, Refusal> {
        guard let bytes = try? certificate.toDERBytes(), let parsed = try? Certificate(derEncoded: bytes),
            let issuer = try? Certificate(pemEncoded: authority.certificatePEM),
            issuer.publicKey.isValidSignature(parsed.signature, for: parsed)
        else { return .failure(Refusal(reason: .badCertificate)) }
        let date = Date(timeIntervalSince1970: Double(now) / 1000)
        guard parsed.notValidBefore <= date, date <= parsed.notValidAfter else {
            return .failure(Refusal(reason: .badCertificate))
        }
        let wanted = environment == .sandbox ? ObjectIdentifiers.sandbox : ObjectIdentifiers.production
        guard parsed.extensions[oid: wanted] != nil else {
            return .failure(Refusal(reason: .badCertificateEnvironment))
        }
        let topics = topics(parsed)
        return topics.isEmpty
            ? .failure(Refusal(reason: .badCertificate)) : .success(ProviderCertificate(topics: topics))
    }

    struct Refusal: Error, Equatable {
        var reason: APNSReason
    }

    private static func topics(_ certificate: Certificate) -> [String] {
        if let list = certificate.extensions[oid: ObjectIdentifiers.topics] {
            return (try? Topics(derEncoded: Array(list.value)).names) ?? []
        }
        for attribute in certificate.subject.flatMap({ $0 }) where attribute.type == ObjectIdentifiers.userID {
            return ["\(attribute.value)"]
        }
        return []
    }

    /// The value of the extension 6.3.6: a sequence of topics, each followed by a sequence of its kinds.
    struct Topics: DERImplicitlyTaggable {
        static let defaultIdentifier = ASN1Identifier.sequence

        var names: [String]
        /// The kind of each topic.
        var kinds: [String]

        init(names: [String], kinds: [String]) {
            self.names = names
            self.kinds = kinds
        }

        init(derEncoded node: ASN1Node, withIdentifier identifier: ASN1Identifier) throws {
            (names, kinds) = try DER.sequence(node, identifier: identifier) { nodes in
                var names: [String] = []
                var kinds: [String] = []
                while let name = nodes.next() {
                    names.append(String(try ASN1UTF8String(derEncoded: name)))
                    guard let list = nodes.next() else { break }
                    kinds.append(
                        try DER.sequence(list, identifier: .sequence) { kind in
                            let first = try ASN1UTF8String(derEncoded: &kind)
                            while kind.next() != nil {}
                            return String(first)
                        }
                    )
                }
                return (names, kinds)
            }
        }

        func serialize(into coder: inout DER.Serializer, withIdentifier identifier: ASN1Identifier) throws {
            try coder.appendConstructedNode(identifier: identifier) { coder in
                for (name, kind) in zip(names, kinds) {
                    try coder.serialize(ASN1UTF8String(name))
                    try coder.appendConstructedNode(identifier: .sequence) { coder in
                        try coder.serialize(ASN1UTF8String(kind))
                    }
                }
            }
        }
    }
}
