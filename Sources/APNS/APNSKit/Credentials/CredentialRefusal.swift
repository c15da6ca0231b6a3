import APNSWire

extension APNSCredential {
    /// Why APNs refuses pushes with this credential: the reason, the IDs of the credential, and the likely cause. Contains
    /// no secret: key IDs and team IDs are none.
    ///
    /// - Parameter endpoint: the host that refused it.
    func refusalDetail(_ reason: APNSReason, endpoint: String) -> String {
        let name: String =
            switch self {
            case .none: "no credential"
            case .token(let source): "key ID \(source.key.keyID), team ID \(source.key.teamID)"
            case .certificate(let certificate): "certificate \(SafeText(certificate.commonName))"
            }
        return "\(reason) by \(endpoint) for \(name): \(likelyCause(of: reason))"
    }

    private func likelyCause(of reason: APNSReason) -> String {
        switch reason {
        case .invalidProviderToken:
            "key ID and team ID are swapped, one of them is wrong, or the key file belongs to another key ID"
        case .expiredProviderToken: "the clock of this host is wrong, or the token was used for over an hour"
        case .missingProviderToken: "a proxy removes the authorization field, or the client certificate was not sent"
        case .unrelatedKeyIdInToken: "the key belongs to another team than the first push of the connection"
        case .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken:
            "the key is for the other environment, sandbox or production"
        case .badCertificateEnvironment: "the certificate is for the other environment, sandbox or production"
        case .badCertificate: "the certificate has expired, was revoked, or is not one for APNs"
        case .forbidden: "the key or certificate lacks the permission to send to this app"
        case .tooManyProviderTokenUpdates: "another program signs tokens with the same key"
        case .topicDisallowed, .topicMismatch, .badTopic, .missingTopic:
            "the bundle ID is wrong, or the key or certificate is not for it"
        default: reason.advice?.meaning ?? "the cause is not known"
        }
    }
}
