import SwiftASN1

/// Which parts a PKCS#12 file has, as far as they can be read without its password (RFC 7292).
///
/// swift-nio-ssl 2.37 ends the process when a file that it can decrypt has no private key or no certificate, so this is
/// checked before.
struct PKCS12Contents {
    private static let data: ASN1ObjectIdentifier = [1, 2, 840, 113_549, 1, 7, 1]
    private static let encryptedData: ASN1ObjectIdentifier = [1, 2, 840, 113_549, 1, 7, 6]
    private static let keyBag: ASN1ObjectIdentifier = [1, 2, 840, 113_549, 1, 12, 10, 1, 1]
    private static let encryptedKeyBag: ASN1ObjectIdentifier = [1, 2, 840, 113_549, 1, 12, 10, 1, 2]
    private static let certificateBag: ASN1ObjectIdentifier = [1, 2, 840, 113_549, 1, 12, 10, 1, 3]

    /// Whether it has a private key. Programs encrypt a key by itself, so that it can be seen from outside.
    private(set) var hasKey = false
    /// Whether it has a certificate, or an encrypted part, in which programs write certificates.
    private(set) var mayHaveCertificate = false

    /// - Throws: if the bytes are not a PKCS#12 file.
    init(_ bytes: [UInt8]) throws {
        // PFX: version, authenticated safe, MAC.
        let file = try Self.children(of: try BER.parse(bytes))
        guard file.count >= 2 else { throw Malformed() }
        let (type, safe) = try Self.contentInfo(file[1])
        guard type == Self.data, let safe else { throw Malformed() }
        for part in try Self.children(of: try BER.parse(try Self.octets(of: safe))) {
            let (type, content) = try Self.contentInfo(part)
            if type == Self.encryptedData {
                mayHaveCertificate = true
            } else if type == Self.data, let content {
                for bag in try Self.children(of: try BER.parse(try Self.octets(of: content))) {
                    try add(bag)
                }
            }
        }
    }

    private mutating func add(_ bag: ASN1Node) throws {
        guard let identifier = try Self.children(of: bag).first else { throw Malformed() }
        switch try ASN1ObjectIdentifier(berEncoded: identifier) {
        case Self.keyBag, Self.encryptedKeyBag: hasKey = true
        case Self.certificateBag: mayHaveCertificate = true
        default: break
        }
    }

    /// A type, and the content inside its explicit tag.
    private static func contentInfo(_ node: ASN1Node) throws -> (ASN1ObjectIdentifier, ASN1Node?) {
        let fields = try children(of: node)
        guard let type = fields.first else { throw Malformed() }
        let content = fields.count > 1 ? try children(of: fields[1]).first : nil
        return (try ASN1ObjectIdentifier(berEncoded: type), content)
    }

    private static func children(of node: ASN1Node) throws -> [ASN1Node] {
        guard case .constructed(let nodes) = node.content else { throw Malformed() }
        return Array(nodes)
    }

    /// The bytes of an OCTET STRING, which BER allows to be split.
    private static func octets(of node: ASN1Node) throws -> [UInt8] {
        switch node.content {
        case .primitive(let bytes): Array(bytes)
        case .constructed(let nodes): try nodes.flatMap(octets)
        }
    }

    private struct Malformed: Error {}
}
