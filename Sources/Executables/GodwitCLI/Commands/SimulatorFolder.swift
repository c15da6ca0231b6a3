package import APNSSimulator
import Foundation

/// The folder with the key and the certificate authority of a simulator, which its clients need.
package struct SimulatorFolder {
    package let path: String

    /// For the end of an error; starts with a semicolon unless it is empty.
    private let advice: String

    /// Creates the folder if it does not exist.
    ///
    /// - Parameter advice: what to do if a file or the folder cannot be written.
    package init(_ path: String, advice: String? = nil) throws {
        self.path = path
        self.advice = advice.map { "; \($0)" } ?? ""
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw CommandError("folder \(path) cannot be created: \(PlainReason.of(error))\(self.advice)")
        }
    }

    package var keyFile: String { "\(path)/AuthKey.p8" }
    package var authorityFile: String { "\(path)/ca.pem" }

    /// The key in the folder, or a new one.
    package func signingKey(teamID: String, keyID: String) throws -> SimulatorSigningKey {
        if let pem = try read(keyFile) {
            return try SimulatorSigningKey(teamID: teamID, keyID: keyID, pem: pem)
        }
        let credentials = SimulatorCredentials(teamID: teamID, keyID: keyID)
        try write(credentials.privateKeyPEM, to: keyFile, permissions: 0o600)
        return credentials.signingKey
    }

    /// The authority in the folder, or a new one. It is kept so that clients still trust the simulator after a restart.
    package func authority() throws -> SimulatorAuthority {
        let authorityKeyFile = "\(path)/ca.key"
        if let certificate = try read(authorityFile), let key = try read(authorityKeyFile) {
            return try SimulatorAuthority(certificatePEM: certificate, privateKeyPEM: key)
        }
        let authority = try SimulatorAuthority()
        try write(authority.privateKeyPEM, to: authorityKeyFile, permissions: 0o600)
        try write(authority.certificatePEM, to: authorityFile, permissions: 0o644)
        return authority
    }

    /// Writes a client certificate, with which a provider needs no signing key.
    package func writeClientCertificate(bundleID: String, by authority: SimulatorAuthority) throws {
        let certificate = try authority.issueClientCertificate(bundleID: bundleID)
        try write(certificate.privateKeyPEM, to: "\(path)/client.key", permissions: 0o600)
        try write(certificate.certificatePEM, to: "\(path)/client.pem", permissions: 0o644)
    }

    /// - Returns: nil if there is no such file.
    private func read(_ file: String) throws -> String? {
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            throw CommandError("file \(file) cannot be read")
        }
        return text
    }

    private func write(_ text: String, to file: String, permissions: Int) throws {
        guard
            FileManager.default.createFile(
                atPath: file, contents: Data(text.utf8), attributes: [.posixPermissions: permissions]
            )
        else { throw CommandError("file \(file) cannot be written\(advice)") }
    }
}
