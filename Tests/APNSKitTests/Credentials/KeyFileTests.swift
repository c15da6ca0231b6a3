import APNSKit
import Crypto
import Foundation
import PushTesting
import Testing

/// Forms of a `.p8` file that openssl reads.
@Suite struct `Key file` {
    private static let key = P256.Signing.PrivateKey()

    private static func openssl(_ arguments: String..., input: String? = nil) async throws -> String {
        let folder = try TemporaryFolder()
        let file = try input.map { try folder.write($0, to: "in.pem") }
        let result = try await run("openssl", arguments + (file.map { ["-in", $0] } ?? []))
        try #require(result.exit == .status(0), "openssl \(arguments): \(result.error)")
        return result.output
    }

    /// Whether the text is the same key.
    private static func reads(_ text: String) throws -> Bool {
        let read = try ProviderTokenKey(pem: text, keyID: "K", teamID: "T")
        return read == (try ProviderTokenKey(pem: key.pemRepresentation, keyID: "K", teamID: "T"))
    }

    private static func reason(_ text: String) -> String {
        do throws(ProviderTokenError) {
            _ = try ProviderTokenKey(pem: text, keyID: "K", teamID: "T")
            return "accepted"
        } catch {
            return error.message
        }
    }

    @Test func `the layout of the text does not matter`() throws {
        let pem = Self.key.pemRepresentation
        let lines = pem.split(separator: "\n").map(String.init)
        let body = lines.dropFirst().dropLast().joined()
        let (first, last) = (lines[0], try #require(lines.last))
        let forms = [
            pem, pem.replacing("\n", with: "\r\n"), pem.replacing("\n", with: "\r"), "\u{FEFF}" + pem,
            "\n\n  \n" + pem + "\n\ntext after it: -----\n", "Key: ABCDE12345\n# a comment\n" + pem,
            lines.map { "    " + $0 + " \t" }.joined(separator: "\n"),
            // One line, short lines, and lines of odd lengths with empty ones in between.
            "\(first)\n\(body)\n\(last)", "\(first)\n" + body.map { "\($0)\n" }.joined() + last,
            "\(first)\n\(body.prefix(7))\n\n\(body.dropFirst(7).prefix(100)) \n\(body.dropFirst(107))\n\(last)",
        ]
        for form in forms { #expect(try Self.reads(form), "\(form.prefix(30).debugDescription)") }
        let latin1 = [UInt8(0xE9), 0x0A] + Array(pem.utf8)
        let folder = try TemporaryFolder()
        let file = folder.file("latin1.p8")
        try Data(latin1).write(to: URL(fileURLWithPath: file))
        #expect(throws: Never.self) { try ProviderTokenKey(file: file, keyID: "K", teamID: "T") }
    }

    @Test func `every encoding of openssl is read`() async throws {
        let pem = Self.key.pemRepresentation
        let sec1 = try await Self.openssl("ec", input: pem)
        #expect(sec1.contains("BEGIN EC PRIVATE KEY"))
        let parameters = try await Self.openssl("ecparam", "-name", "prime256v1")
        #expect(parameters.contains("BEGIN EC PARAMETERS"))
        let withText = try await Self.openssl("pkey", "-text", input: pem)
        let compressed = try await Self.openssl("ec", "-conv_form", "compressed", input: pem)
        let withoutPoint = try await Self.openssl("ec", "-no_public", input: pem)
        let pkcs8 = try await Self.openssl("pkcs8", "-topk8", "-nocrypt", input: compressed)
        for form in [
            sec1, parameters + sec1, withText, compressed, withoutPoint, pkcs8, "Bag Attributes\n  x: y\n" + pkcs8,
        ] {
            #expect(try Self.reads(form), "\(form.prefix(40))")
        }
    }

    @Test func `another key is named, and nothing of it is shown`() async throws {
        func generate(_ arguments: String...) async throws -> String {
            let result = try await run("openssl", ["genpkey"] + arguments)
            try #require(result.exit == .status(0), "\(result.error)")
            return result.output
        }
        let rsa = try await generate("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
        let pem = Self.key.pemRepresentation
        let encrypted = try await Self.openssl("pkcs8", "-topk8", "-passout", "pass:x", input: pem)
        let encryptedSEC1 = try await Self.openssl("ec", "-aes128", "-passout", "pass:x", input: pem)
        let p384 = P384.Signing.PrivateKey().pemRepresentation
        let explicit = try await generate(
            "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit")
        let cases: [(text: String, says: String)] = [
            (rsa, "it is an RSA key"), (try await Self.openssl("rsa", "-traditional", input: rsa), "it is an RSA key"),
            (try await generate("-algorithm", "ED25519"), "it is an Ed25519 key"), (p384, "an EC key on P-384"),
            (try await Self.openssl("ec", input: p384), "an EC key on P-384"),
            (P521.Signing.PrivateKey().pemRepresentation, "an EC key on P-521"),
            (try await generate("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "on secp256k1"),
            (explicit, "described by parameters"), (encrypted, "encrypted with a password"),
            (encryptedSEC1, "encrypted with a password"),
            (Self.key.publicKey.pemRepresentation, "contains a public key"),
            (String(pem.dropLast(60)), "damaged or cut off"),
            (pem.replacing("\nMIG", with: "\nM!G"), "damaged or cut off"),
            (pem.replacing("BEGIN PRIVATE", with: "BEGIN SECRETS PRIVATE"), "damaged or cut off"),
            ("-----BEGIN S3CR3T-----\nAAAA\n-----END S3CR3T-----\n", "contains other data"), ("hello", "not PEM text"),
        ]
        for (text, says) in cases {
            let reason = Self.reason(text)
            #expect(reason.contains(says), "\(reason)")
            for line in text.split(separator: "\n") where line.count >= 16 && !line.hasPrefix("-----") {
                #expect(!reason.contains(line.prefix(16)))
            }
            #expect(!reason.contains("S3CR3T") && !reason.contains("SECRETS"))
        }
    }

    @Test func `a key whose parts do not belong together is refused`() throws {
        var bytes = Self.key.derRepresentation
        bytes[bytes.count - 1] ^= 1
        let text = "-----BEGIN PRIVATE KEY-----\n\(bytes.base64EncodedString())\n-----END PRIVATE KEY-----\n"
        #expect(Self.reason(text).contains("do not belong together"))
    }

    @Test func `only regular files of a sensible size are read`() throws {
        let folder = try TemporaryFolder()
        func reason(_ path: String) -> String {
            do throws(ProviderTokenError) {
                _ = try ProviderTokenKey(file: path, keyID: "K", teamID: "T")
                return "accepted"
            } catch {
                return error.message
            }
        }
        #expect(reason(folder.file("none.p8")).hasSuffix("cannot be read: no such file"))
        #expect(reason(folder.path).hasSuffix("cannot be read: it is a folder"))
        // Reading it would never end.
        #expect(reason("/dev/zero").hasSuffix("cannot be read: it is not a regular file"))
        let large = try folder.write(String(repeating: "x", count: (1 << 20) + 1), to: "large.p8")
        #expect(reason(large).hasSuffix("cannot be read: it is larger than 1 MiB"))
        let link = folder.file("link.p8")
        let file = try folder.write(Self.key.pemRepresentation, to: "key.p8")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
        #expect(reason(link) == "accepted")
    }
}
