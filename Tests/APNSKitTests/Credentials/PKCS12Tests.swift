import APNSKit
import Foundation
import PushTesting
import Testing

/// PKCS#12 files that are incomplete. The TLS library ends the process with some of them.
@Suite struct `An incomplete PKCS#12 file` {
    private static let password = "sesame"

    /// Creates a file with `openssl pkcs12 -export` and reads it.
    private func problem(_ options: [String], password: String = password) async throws -> APNSCertificateError? {
        let folder = try TemporaryFolder()
        let file = folder.file("identity.p12")
        let made = try await run(
            "/usr/bin/openssl", ["pkcs12", "-export", "-out", file, "-passout", "pass:\(Self.password)"] + options)
        try #require(made.exit == .status(0), "\(made.error)")
        do throws(APNSCertificateError) {
            _ = try APNSCertificate(p12File: file, password: password)
            return nil
        } catch {
            #expect(!error.message.contains(Self.password) && !error.message.contains("\n"))
            return error
        }
    }

    private static let (certificate, key) = (TestCertificate.server.certificatePath, TestCertificate.server.keyPath)

    @Test(arguments: [[], ["-legacy"], ["-keypbe", "NONE"], ["-nomaciter"]])
    func `with only a key is refused`(_ options: [String]) async throws {
        let error = try await problem(["-nocerts", "-inkey", Self.key, "-in", Self.key] + options)
        #expect(error?.code == .notACertificate)
        #expect(error?.message.hasPrefix("the .p12 contains no certificate;") == true)
    }

    @Test(arguments: [[], ["-legacy"], ["-certpbe", "NONE"]])
    func `with only a certificate, or several, is refused`(_ options: [String]) async throws {
        for more in [[], ["-certfile", TestCertificate.untrusted.certificatePath]] {
            let error = try await problem(["-nokeys", "-in", Self.certificate] + options + more)
            #expect(error?.code == .badKey)
            #expect(error?.message.hasPrefix("the .p12 contains no private key;") == true)
        }
    }

    @Test(arguments: [[], ["-legacy"], ["-certpbe", "NONE", "-keypbe", "NONE"]])
    func `differs from a complete one with several certificates`(_ options: [String]) async throws {
        let complete = ["-in", Self.certificate, "-inkey", Self.key] + options
        #expect(try await problem(complete) == nil)
        #expect(try await problem(complete + ["-certfile", TestCertificate.untrusted.certificatePath]) == nil)
        #expect(try await problem(complete, password: "wrong")?.code == .badPKCS12)
    }

    @Test func `without content, or cut off, is refused`() throws {
        let folder = try TemporaryFolder()
        let empty = try folder.write("", to: "empty.p12")
        for bytes in [[], [0x30], [0x30, 0x80], Array("-----BEGIN CERTIFICATE-----\n".utf8), [0x30, 0x03, 2, 1, 3]] {
            #expect { try APNSCertificate(p12: bytes, password: "") } throws: {
                ($0 as? APNSCertificateError)?.code == .badPKCS12
            }
        }
        #expect { try APNSCertificate(p12File: empty, password: "") } throws: { "\($0)".contains("empty") }
    }
}
