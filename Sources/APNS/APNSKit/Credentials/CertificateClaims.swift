import SwiftASN1
import X509

/// The topics and environments of an APNs certificate, from Apple's extensions.
///
/// Sources: node-apn `oids.js` (environments), Apple, "Sending notification requests to APNs" (topics), Pushy
/// `apns-extensions.cnf` (the encoding of the list of topics).
struct CertificateClaims {
    private static let development: ASN1ObjectIdentifier = [1, 2, 840, 113_635, 100, 6, 3, 1]
    private static let production: ASN1ObjectIdentifier = [1, 2, 840, 113_635, 100, 6, 3, 2]
    private static let topicList: ASN1ObjectIdentifier = [1, 2, 840, 113_635, 100, 6, 3, 6]
    /// `UID` (RFC 4519): the base topic.
    private static let userID: ASN1ObjectIdentifier = [0, 9, 2342, 19_200_300, 100, 1, 1]

    var topics: [String] = []
    var environments: Set<APNSCertificate.Environment> = []
    var commonName = ""

    init(_ certificate: Certificate) {
        for attribute in certificate.subject.flatMap({ Array($0) }) {
            if attribute.type == .RDNAttributeType.commonName { commonName = "\(attribute.value)" }
            if attribute.type == Self.userID { topics = ["\(attribute.value)"] }
        }
        if certificate.extensions[oid: Self.development] != nil { environments.insert(.sandbox) }
        if certificate.extensions[oid: Self.production] != nil { environments.insert(.production) }
        if environments.isEmpty { environments = Set(APNSCertificate.Environment.allCases) }
        if let list = certificate.extensions[oid: Self.topicList], let listed = try? Self.readTopics(list.value),
            !listed.isEmpty
        {
            topics = listed
        }
    }

    /// The list is one SEQUENCE, in which each topic (UTF8String) is followed by a SEQUENCE of its kinds.
    private static func readTopics(_ bytes: ArraySlice<UInt8>) throws -> [String] {
        try DER.sequence(try DER.parse(bytes), identifier: .sequence) { nodes in
            var topics: [String] = []
            while let node = nodes.next() {
                if node.identifier == .utf8String { topics.append(String(try ASN1UTF8String(derEncoded: node))) }
            }
            return topics
        }
    }
}
