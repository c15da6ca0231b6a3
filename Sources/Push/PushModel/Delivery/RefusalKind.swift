/// The refusals of APNs that may be the fault of a push or of its app.
package enum RefusalKind: UInt8, Sendable, CaseIterable {
    /// APNs does not accept the key, the certificate or the provider token.
    case credential
    /// The provider token is too old. The client signs a new one.
    case expiredToken
    /// The provider token was changed too often. The client keeps the present one.
    case tokenUpdates
    /// `Forbidden`, or a 403 with an unknown reason. Apple: never retry.
    case permission
    /// The topic that the gateway derives from the app's bundle ID is refused.
    case ownTopic

    /// The code of a push that waits because its app is at fault.
    package var waitingCode: ErrorCode {
        switch self {
        case .credential, .tokenUpdates, .permission: .credentialRefused
        case .expiredToken: .credentialExpired
        case .ownTopic: .bundleIDRefused
        }
    }

    /// The code of a push that is rejected because it is at fault itself.
    package var rejectedCode: ErrorCode { self == .ownTopic ? .topicRefused : .requestRefused }
}
