import Crypto
import SwiftASN1

/// Reads a P-256 private key from PKCS#8 (RFC 5208) or SEC 1 (RFC 5915), and names what another key is.
struct ECPrivateKey {
    /// Why the bytes are not such a key: a phrase that contains nothing of them.
    struct Unusable: Error {
        var reason: String
    }

    private static let ecPublicKey: ASN1ObjectIdentifier = [1, 2, 840, 10045, 2, 1]
    private static let p256: ASN1ObjectIdentifier = [1, 2, 840, 10045, 3, 1, 7]
    private static let algorithms: [ASN1ObjectIdentifier: String] = [
        [1, 2, 840, 113_549, 1, 1, 1]: "an RSA key", [1, 2, 840, 113_549, 1, 1, 10]: "an RSA-PSS key",
        [1, 2, 840, 10040, 4, 1]: "a DSA key", [1, 3, 101, 110]: "an X25519 key", [1, 3, 101, 111]: "an X448 key",
        [1, 3, 101, 112]: "an Ed25519 key", [1, 3, 101, 113]: "an Ed448 key",
    ]
    private static let curves: [ASN1ObjectIdentifier: String] = [
        [1, 2, 840, 10045, 3, 1, 1]: "P-192", [1, 3, 132, 0, 33]: "P-224", [1, 3, 132, 0, 34]: "P-384",
        [1, 3, 132, 0, 35]: "P-521", [1, 3, 132, 0, 10]: "secp256k1",
    ]

    let key: P256.Signing.PrivateKey

    /// - Parameter bytes: PKCS#8, the content of a `PRIVATE KEY` block.
    init(pkcs8 bytes: [UInt8]) throws(Unusable) {
        guard let info = try? Self.children(of: try BER.parse(bytes)), info.count >= 3,
            let algorithm = try? Self.children(of: info[1]), let type = algorithm.first.flatMap(Self.identifier),
            case .primitive(let content) = info[2].content
        else { throw Self.damaged }
        guard type == Self.ecPublicKey else {
            throw Unusable(
                reason: "it is \(Self.algorithms[type] ?? "a key of another algorithm"), not an EC key on P-256")
        }
        try self.init(sec1: Array(content), curve: algorithm.count > 1 ? algorithm[1] : nil)
    }

    /// - Parameters:
    ///   - bytes: SEC 1, the content of an `EC PRIVATE KEY` block.
    ///   - parameters: the content of an `EC PARAMETERS` block, if there is one.
    init(sec1 bytes: [UInt8], parameters: [UInt8]?) throws(Unusable) {
        try self.init(sec1: bytes, curve: parameters.flatMap { try? BER.parse($0) })
    }

    private init(sec1 bytes: [UInt8], curve: ASN1Node?) throws(Unusable) {
        guard let fields = try? Self.children(of: try BER.parse(bytes)), fields.count >= 2,
            case .primitive(let secret) = fields[1].content
        else { throw Self.damaged }
        func tagged(_ number: UInt) -> ASN1Node? {
            let tag = ASN1Identifier(tagWithNumber: number, tagClass: .contextSpecific)
            return fields.first { $0.identifier == tag }.flatMap { try? Self.children(of: $0).first }
        }
        // Without a curve of its own, the key is on the one of the algorithm or of the block before.
        if let curve = tagged(0) ?? curve {
            guard let name = Self.identifier(curve) else {
                throw Unusable(reason: "its curve is described by parameters instead of its name, as P-256 must be")
            }
            guard name == Self.p256 else {
                throw Unusable(reason: "it is an EC key on \(Self.curves[name] ?? "another curve"), not on P-256")
            }
        }
        // Some programs drop leading zeros.
        guard secret.count <= 32,
            let key = try? P256.Signing.PrivateKey(
                rawRepresentation: [UInt8](repeating: 0, count: 32 - secret.count) + secret)
        else { throw Self.damaged }
        if case .primitive(let bits) = tagged(1)?.content {
            // A BIT STRING begins with the number of unused bits.
            let point = Array(bits.dropFirst())
            guard
                point == Array(key.publicKey.x963Representation)
                    || point == Array(key.publicKey.compressedRepresentation)
            else { throw Unusable(reason: "it is damaged: its private and its public part do not belong together") }
        }
        self.key = key
    }

    private static let damaged = Unusable(reason: "it is not a P-256 private key, or is damaged")

    private static func identifier(_ node: ASN1Node) -> ASN1ObjectIdentifier? {
        try? ASN1ObjectIdentifier(berEncoded: node)
    }

    private static func children(of node: ASN1Node) throws -> [ASN1Node] {
        guard case .constructed(let nodes) = node.content else { throw damaged }
        return Array(nodes)
    }
}
