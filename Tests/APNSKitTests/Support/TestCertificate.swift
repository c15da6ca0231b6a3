import Foundation

/// A self-signed certificate for `localhost` and 127.0.0.1, made with the `openssl` command.
struct TestCertificate: Sendable {
    let keyPath: String
    let certificatePath: String

    /// One that the tests' servers use, and one that nobody should trust.
    static let server = TestCertificate()
    static let stranger = TestCertificate()

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
        precondition(openssl.terminationStatus == 0, "openssl could not make a certificate")
    }
}
