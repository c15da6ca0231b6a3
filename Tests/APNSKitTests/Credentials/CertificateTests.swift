import APNSKit
import APNSWire
import Foundation
import PushTesting
import Testing

/// Client certificates with Apple's extensions, created with the `openssl` command.
@Suite struct `Certificate` {
    /// A certificate, its key, and both as PKCS#12.
    private struct Identity {
        let folder = try! TemporaryFolder()
        var certificate: String { folder.file("cert.pem") }
        var key: String { folder.file("key.pem") }
        func path(_ name: String) -> String { folder.file(name) }
    }

    private static let password = "sesame öffne dich"

    private func openssl(_ arguments: String...) throws { try openssl(arguments) }

    private func openssl(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "openssl \(arguments.first ?? "")")
    }

    private func make() throws -> Identity {
        let identity = Identity()
        let settings = """
            [req]
            distinguished_name = dn
            x509_extensions = apple
            prompt = no
            [dn]
            CN = Apple Push Services: com.example.app
            UID = com.example.app
            [apple]
            1.2.840.113635.100.6.3.1 = ASN1:NULL
            1.2.840.113635.100.6.3.2 = ASN1:NULL
            1.2.840.113635.100.6.3.6 = ASN1:SEQUENCE:topics
            [topics]
            a = UTF8:com.example.app
            b = SEQUENCE:app
            c = UTF8:com.example.app.voip
            d = SEQUENCE:voip
            e = UTF8:com.example.app.complication
            f = SEQUENCE:complication
            [app]
            a = UTF8:app
            [voip]
            a = UTF8:voip
            [complication]
            a = UTF8:complication
            """
        try identity.folder.write(settings, to: "apple.cnf")
        try openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-config", identity.path("apple.cnf"),
            "-keyout", identity.key, "-out", identity.certificate
        )
        try openssl(
            "pkcs12", "-export", "-in", identity.certificate, "-inkey", identity.key,
            "-out", identity.path("modern.p12"), "-passout", "pass:\(Self.password)"
        )
        // Keychain Access uses RC2 and triple DES.
        try openssl(
            "pkcs12", "-export", "-legacy", "-in", identity.certificate, "-inkey", identity.key,
            "-out", identity.path("legacy.p12"), "-passout", "pass:\(Self.password)"
        )
        try openssl(
            "pkey", "-in", identity.key, "-aes256", "-out", identity.path("locked.pem"),
            "-passout", "pass:open sesame"
        )
        return identity
    }

    @Test func `topics, environments and expiry date are read`() throws {
        let identity = try make()
        let certificate = try APNSCertificate(certificateFile: identity.certificate, keyFile: identity.key)
        #expect(certificate.topics == ["com.example.app", "com.example.app.voip", "com.example.app.complication"])
        #expect(certificate.environments == [.production, .sandbox])
        #expect(certificate.commonName == "Apple Push Services: com.example.app")
        let days = certificate.notAfter.timeIntervalSince(certificate.notBefore) / 86_400
        #expect((29.9...30.1).contains(days))
        #expect("\(certificate)".hasPrefix("certificate Apple Push Services: com.example.app, valid until "))
    }

    @Test(arguments: ["modern.p12", "legacy.p12"])
    func `a PKCS#12 file is read`(_ name: String) throws {
        let identity = try make()
        let certificate = try APNSCertificate(p12File: identity.path(name), password: Self.password)
        #expect(certificate.topics.count == 3)
        for wrong in ["", "sesame"] {
            #expect { try APNSCertificate(p12File: identity.path(name), password: wrong) } throws: { error in
                (error as? APNSCertificateError)?.code == .badPKCS12 && !"\(error)".contains("sesame")
            }
        }
    }

    @Test func `an encrypted key is read with its password`() throws {
        let identity = try make()
        let locked = identity.path("locked.pem")
        #expect(throws: Never.self) {
            try APNSCertificate(certificateFile: identity.certificate, keyFile: locked, password: "open sesame")
        }
        for wrong in [nil, "", "wrong", "öffne dich", String(repeating: "x", count: 5000)] {
            #expect {
                try APNSCertificate(certificateFile: identity.certificate, keyFile: locked, password: wrong)
            } throws: { ($0 as? APNSCertificateError)?.code == .badKey }
        }
    }

    @Test func `certificates may be in any order and among other text`() throws {
        let identity = try make()
        func path(_ name: String) -> String { identity.path(name) }
        try identity.folder.write(
            "basicConstraints=critical,CA:true\n1.2.840.113635.100.6.3.2=ASN1:NULL\n", to: "ca.ext")
        // A root that issued an intermediate, which issued two certificates for the same key; and a foreign one.
        func request(_ name: String, _ key: String? = nil) throws {
            let made = key.map { ["-key", $0] } ?? ["-newkey", "rsa:2048", "-nodes", "-keyout", path("\(name).key")]
            try openssl(["req", "-new", "-subj", "/CN=\(name)", "-out", path("\(name).csr")] + made)
        }
        func sign(_ name: String, by issuer: String, days: Int) throws {
            try openssl([
                "x509", "-req", "-in", path("\(name).csr"), "-CA", path("\(issuer).pem"), "-CAkey",
                path("\(issuer).key"),
                "-set_serial", "\(days)", "-days", "\(days)", "-extfile", path("ca.ext"), "-out", path("\(name).pem"),
            ])
        }
        try openssl([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=root", "-keyout", path("root.key"), "-out",
            path("root.pem"),
        ])
        try request("middle")
        try sign("middle", by: "root", days: 100)
        try request("old")
        try sign("old", by: "middle", days: 10)
        try request("new", path("old.key"))
        try sign("new", by: "middle", days: 20)
        func text(_ name: String) throws -> String { try String(contentsOfFile: path(name), encoding: .utf8) }
        let key = try text("old.key")
        let all = [
            try text("root.pem"), "\u{FEFF}Bag Attributes\r\n    friendlyName: old\r\n", try text("old.pem"),
            try text("cert.pem"), key, try text("middle.pem"), "# the new one\n", try text("new.pem"),
        ]
        for parts in [all, all.reversed()] {
            let certificate = try APNSCertificate(certificatePEM: parts.joined(), keyPEM: parts.joined())
            #expect(certificate.commonName == "new", "the one of the key that is valid longest")
            #expect(certificate.commonNames == ["new", "middle", "root"])
        }
        #expect {
            try APNSCertificate(certificatePEM: try text("root.pem") + text("middle.pem"), keyPEM: key)
        } throws: { "\($0)" == "the private key belongs to none of the 2 certificates" }
        #expect {
            try APNSCertificate(certificatePEM: try text("new.pem") + text("middle.pem").dropLast(40), keyPEM: key)
        } throws: { "\($0)" == "a certificate in the text is damaged or cut off" }
    }

    @Test func `each invalid combination has its error code`() throws {
        let identity = try make()
        func code(_ certificate: String, _ key: String) -> APNSCertificateError.Code? {
            do throws(APNSCertificateError) {
                _ = try APNSCertificate(certificateFile: certificate, keyFile: key)
                return nil
            } catch {
                #expect(!error.message.contains("BEGIN"))
                return error.code
            }
        }
        #expect(code(identity.certificate, TestCertificate.server.keyPath) == .keyMismatch)
        #expect(code(identity.key, identity.key) == .notACertificate)
        #expect(code(identity.certificate, identity.certificate) == .badKey)
        #expect(code("/no/such/file", identity.key) == .unreadable)
        #expect(code(identity.path("apple.cnf"), identity.key) == .notACertificate)
        #expect { try APNSCertificate(p12: Array("no".utf8), password: "") } throws: { error in
            (error as? APNSCertificateError)?.code == .badPKCS12
        }
    }

    @Test func `pushes are sent with a certificate and without a token`() async throws {
        let identity = try make()
        let server = try await ScriptedServer(.init(trustedClients: identity.certificate)) { $0.respond($1, 200) }
        let certificate = try APNSCertificate(p12File: identity.path("modern.p12"), password: Self.password)
        let client = try Samples.client(port: server.port) { $0.credential = .certificate(certificate) }
        #expect(await client.send(Samples.batch(3)).allSatisfy { $0 == .accepted })
        #expect(server.requests.allSatisfy { $0["authorization"] == nil })
        await client.shutdown()
        // A refusal follows after the handshake of the client; it is reported without further waiting.
        let other = try make()
        let foreign = try APNSCertificate(p12File: other.path("modern.p12"), password: Self.password)
        let refused = try Samples.client(port: server.port) { $0.credential = .certificate(foreign) }
        let before = server.connections
        let refusals = await refused.send(Samples.batch(2), requestTimeout: .seconds(30))
        let refusal = APNSAnswer(disposition: .neverWritten, reason: .badCertificate, failure: .tls)
        #expect(refusals == [APNSAnswer](repeating: refusal, count: 2))
        #expect(refused.snapshot().credentialReason == .badCertificate)
        #expect(server.connections == before + 2, "waiting until the timeout would take further connections")
        await refused.shutdown(grace: .zero)
        // Without a certificate, this server accepts no connection.
        let anonymous = try Samples.client(port: server.port)
        let answers = await anonymous.send(Samples.batch(1), requestTimeout: .seconds(2))
        #expect(answers[0].disposition == .neverWritten)
        await anonymous.shutdown(grace: .zero)
    }
}
