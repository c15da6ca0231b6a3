import Foundation

/// A self-signed certificate, created with the `openssl` command.
struct TestCertificate: Sendable {
    let keyPath: String
    let certificatePath: String

    /// The certificate of the tests' servers, which clients trust.
    static let server = TestCertificate()
    /// A certificate that no client trusts.
    static let untrusted = TestCertificate()
    static let expired = TestCertificate(validity: ("20200101000000Z", "20210101000000Z"))
    static let notYetValid = TestCertificate(validity: ("20900101000000Z", "20910101000000Z"))
    static let otherName = TestCertificate(names: "DNS:push.example.com,DNS:push.example.org,IP:192.0.2.1,DNS:last")

    private init(
        names: String = "DNS:localhost,IP:127.0.0.1",
        validity: (notBefore: String, notAfter: String) = ("20200101000000Z", "20900101000000Z")
    ) {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apns-kit-\(UUID().uuidString)").path
        keyPath = "\(folder)/key.pem"
        certificatePath = "\(folder)/cert.pem"
        // `openssl req` cannot set the times of validity.
        let settings = """
            [ca]
            default_ca = ca_settings
            [ca_settings]
            database = \(folder)/index.txt
            new_certs_dir = \(folder)
            default_md = sha256
            policy = policy
            rand_serial = yes
            x509_extensions = extensions
            [policy]
            commonName = supplied
            [extensions]
            subjectAltName = \(names)
            [req]
            distinguished_name = name
            [name]
            """
        try! FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try! settings.write(toFile: "\(folder)/ca.cnf", atomically: true, encoding: .utf8)
        try! "".write(toFile: "\(folder)/index.txt", atomically: true, encoding: .utf8)
        Self.openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
            "/CN=localhost", "-config", "\(folder)/ca.cnf", "-keyout", keyPath, "-out", "\(folder)/request.pem"
        )
        Self.openssl(
            "ca", "-batch", "-selfsign", "-notext", "-config", "\(folder)/ca.cnf", "-keyfile", keyPath, "-in",
            "\(folder)/request.pem", "-out", certificatePath, "-startdate", validity.notBefore, "-enddate",
            validity.notAfter
        )
    }

    private static func openssl(_ arguments: String...) {
        let openssl = Process()
        openssl.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        openssl.arguments = arguments
        openssl.standardOutput = FileHandle.nullDevice
        openssl.standardError = FileHandle.nullDevice
        try! openssl.run()
        openssl.waitUntilExit()
        precondition(openssl.terminationStatus == 0, "openssl could not create a certificate")
    }
}
