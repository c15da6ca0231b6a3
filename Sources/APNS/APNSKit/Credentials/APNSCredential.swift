/// Who we are to APNs.
public enum APNSCredential: Sendable {
    /// Nobody: for servers that do not ask.
    case none
    /// Provider tokens; good for every push type.
    case token(ProviderTokenSource)
    /// A TLS client certificate. APNs ignores tokens then (Apple, "Sending notification requests to APNs").
    case certificate(APNSCertificate)

    var tokenSource: ProviderTokenSource? {
        if case .token(let source) = self { source } else { nil }
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
