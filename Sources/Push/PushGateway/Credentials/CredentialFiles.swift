import APNSKit

/// Reads the files of credentials, each credential once.
///
/// A credential that is the same as an earlier one is that one: the provider token of a key changes only with the key, because
/// APNs limits how often it may.
struct CredentialFiles {
    /// Why a credential cannot be used. Contains nothing of its files.
    struct Unusable: Error, CustomStringConvertible {
        /// The key of the file within `key` or `certificate`.
        var key: String
        var description: String
    }

    private let earlier: [APNSCredential]
    private var loaded: [GatewayConfiguration.Credential: Result<APNSCredential, Unusable>] = [:]

    /// - Parameter earlier: the credentials in use.
    init(earlier: [APNSCredential] = []) {
        self.earlier = earlier
    }

    mutating func load(_ credential: GatewayConfiguration.Credential) throws(Unusable) -> APNSCredential {
        if let result = loaded[credential] { return try result.get() }
        let result: Result<APNSCredential, Unusable>
        do throws(Unusable) {
            let new = try Self.read(credential)
            result = .success((earlier + loaded.values.compactMap { try? $0.get() }).first { $0 == new } ?? new)
        } catch {
            result = .failure(error)
        }
        loaded[credential] = result
        return try result.get()
    }

    private static func read(_ credential: GatewayConfiguration.Credential) throws(Unusable) -> APNSCredential {
        switch credential {
        case .key(let key):
            do throws(ProviderTokenError) {
                return .token(
                    ProviderTokenSource(
                        key: try ProviderTokenKey(file: key.file, keyID: key.keyID, teamID: key.teamID)))
            } catch {
                throw Unusable(key: "file", description: error.message)
            }
        case .certificate(let files): return .certificate(try certificate(from: files))
        }
    }

    private static func certificate(
        from files: GatewayConfiguration.Certificate
    ) throws(Unusable) -> APNSCertificate {
        var password: String?
        if let file = files.passwordFile {
            do throws(UnreadableFile) {
                password = try TextFile.firstLine(of: file)
            } catch {
                throw Unusable(
                    key: "password_file", description: "the password file \(file) cannot be read: \(error)")
            }
        }
        let (certificateFile, keyFile) = (files.certificateFile ?? "", files.keyFile ?? "")
        do throws(APNSCertificateError) {
            if let file = files.p12File { return try APNSCertificate(p12File: file, password: password ?? "") }
            return try APNSCertificate(certificateFile: certificateFile, keyFile: keyFile, password: password)
        } catch {
            if let file = files.p12File {
                let prefix = error.code == .unreadable ? "" : "\(file): "
                throw Unusable(key: "p12_file", description: prefix + error.message)
            }
            let isAboutKey = error.code == .badKey || error.code == .unreadable && error.message.contains(keyFile)
            throw Unusable(key: isAboutKey ? "key_file" : "file", description: error.message)
        }
    }
}
