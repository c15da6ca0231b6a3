/// One of Apple's two worlds: tokens, channels and newer keys belong to one of them.
///
/// Hosts and ports: Apple, "Sending notification requests to APNs", "Sending channel management requests to APNs" and
/// "Sending broadcast push notification requests to APNs", read 2026-11-23.
public enum APNSEnvironment: String, Sendable, CaseIterable, Hashable {
    /// Apps installed from Xcode.
    case sandbox
    /// Apps from TestFlight and the App Store.
    case production

    /// Where pushes to devices go, and what is published to channels.
    public var host: String {
        switch self {
        case .sandbox: "api.sandbox.push.apple.com"
        case .production: "api.push.apple.com"
        }
    }

    public static let port = 443
    /// The same service on a port that a firewall can tell from other HTTPS.
    public static let alternativePort = 2197

    /// Where channels are created, read, listed and deleted.
    public var channelManagementHost: String {
        switch self {
        case .sandbox: "api-manage-broadcast.sandbox.push.apple.com"
        case .production: "api-manage-broadcast.push.apple.com"
        }
    }

    public var channelManagementPort: Int {
        switch self {
        case .sandbox: 2195
        case .production: 2196
        }
    }
}
