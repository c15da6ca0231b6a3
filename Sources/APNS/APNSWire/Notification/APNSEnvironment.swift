/// One of Apple's two environments. A device token, a channel and a newer signing key belong to exactly one.
///
/// Hosts and ports: Apple, "Sending notification requests to APNs", "Sending channel management requests to APNs" and
/// "Sending broadcast push notification requests to APNs", read 2026-11-23.
public enum APNSEnvironment: String, Sendable, CaseIterable, Hashable {
    /// Apps installed from Xcode.
    case sandbox
    /// Apps from TestFlight and the App Store.
    case production

    /// The host for pushes to devices and for broadcasts to channels.
    public var host: String {
        switch self {
        case .sandbox: "api.sandbox.push.apple.com"
        case .production: "api.push.apple.com"
        }
    }

    public static let port = 443
    /// The same service on a port that a firewall can distinguish from other HTTPS traffic.
    public static let alternativePort = 2197

    /// The host that creates, reads, lists and deletes channels.
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
