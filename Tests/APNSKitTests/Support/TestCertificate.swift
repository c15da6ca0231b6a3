import Foundation

/// A self-signed certificate for `localhost` and 127.0.0.1, created with the `openssl` command.
struct TestCertificate: Sendable {
    let keyPath: String
    let certificatePath: String

    /// The certificate of the tests' servers, which clients trust.
    static let server = TestCertificate()
    /// A certificate that no client trusts.
    static let untrusted = TestCertificate()

    private init() {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apns-kit-\(UUID().uuidString)")
        try! FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        keyPath = folder.appending(path: "key.pem").path
        certificatePath = folder.appending(path: "cert.pem").path
        let openssl = Process()
        openssl.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        openssl.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", keyPath, "-out", certificatePath,
        ]
        openssl.standardError = FileHandle.nullDevice
        try! openssl.run()
        openssl.waitUntilExit()
        precondition(openssl.terminationStatus == 0, "openssl could not create a certificate")
    }
}
