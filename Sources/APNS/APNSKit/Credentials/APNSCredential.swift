/// How a client authenticates to APNs.
public enum APNSCredential: Sendable {
    /// Not at all: for servers that do not require it.
    case none
    /// Provider tokens; valid for all push types.
    case token(ProviderTokenSource)
    /// A TLS client certificate. APNs then ignores tokens (Apple, "Sending notification requests to APNs").
    case certificate(APNSCertificate)

    var tokenSource: ProviderTokenSource? {
        if case .token(let source) = self { source } else { nil }
    }
}

extension APNSCredential: Equatable {
    /// Whether both prove the same identity.
    public static func == (left: APNSCredential, right: APNSCredential) -> Bool {
        switch (left, right) {
        case (.none, .none): true
        case (.token(let left), .token(let right)): left.key == right.key
        case (.certificate(let left), .certificate(let right)): left == right
        default: false
        }
    }
}

extension APNSCredential: CustomStringConvertible, CustomDebugStringConvertible {
    public var description: String {
        switch self {
        case .none: "no credential"
        case .token(let source): "\(source.key)"
        case .certificate(let certificate): "\(certificate)"
        }
    }

    public var debugDescription: String { description }
}
