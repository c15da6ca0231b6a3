/// The kind of a push: the value of `apns-push-type`.
///
/// Source: Apple, "Sending notification requests to APNs" and the pages of each type, read 2026-11-23.
public enum PushType: UInt8, Sendable, CaseIterable, Hashable {
    case alert = 0
    case background = 1
    case voip = 2
    case complication = 3
    case fileprovider = 4
    case mdm = 5
    case location = 6
    case liveactivity = 7
    case pushtotalk = 8
    case controls = 9
    case widgets = 10

    /// The value of the header, in lower case as Apple documents it.
    public var label: StaticString {
        switch self {
        case .alert: "alert"
        case .background: "background"
        case .voip: "voip"
        case .complication: "complication"
        case .fileprovider: "fileprovider"
        case .mdm: "mdm"
        case .location: "location"
        case .liveactivity: "liveactivity"
        case .pushtotalk: "pushtotalk"
        case .controls: "controls"
        case .widgets: "widgets"
        }
    }

    public init?(label: some StringProtocol) {
        guard let match = Self.allCases.first(where: { $0.description == label }) else { return nil }
        self = match
    }

    /// The suffix that the topic appends to the bundle ID; may be empty.
    public var topicSuffix: String {
        switch self {
        case .alert, .background, .mdm: ""
        case .voip: ".voip"
        case .complication: ".complication"
        case .fileprovider: ".pushkit.fileprovider"
        case .location: ".location-query"
        case .liveactivity: ".push-type.liveactivity"
        case .pushtotalk: ".voip-ptt"
        case .controls: ".push-type.controls"
        case .widgets: ".push-type.widgets"
        }
    }

    /// The largest payload in bytes. Apple, "Generating a remote notification": 5,120 for VoIP, 4,096 for all others. A
    /// broadcast may have `APNSLimits.broadcastPayloadBytesMax`.
    public var payloadBytesMax: Int { self == .voip ? 5120 : 4096 }
}

extension PushType: CustomStringConvertible {
    public var description: String { "\(label)" }
}

/// `apns-priority`.
public enum Priority: UInt8, Sendable, CaseIterable, Hashable {
    /// Deliver immediately.
    case immediate = 10
    /// Deliver with regard to the device's power.
    case conserving = 5
    /// Put the device's power first; never wakes the device.
    case low = 1
}

/// Limits that APNs documents.
public enum APNSLimits {
    /// Apple, "Sending notification requests to APNs": at most 64 bytes, not characters.
    public static let collapseIDBytesMax = 64
    /// Apple: the token length is not fixed. Ordinary tokens have 32 bytes, Live Activity tokens 80 (observed). This
    /// library accepts up to 255: the largest length that a batch can hold.
    public static let deviceTokenBytesMax = 255
    /// Apple, "Establishing a token-based connection": APNs refuses a provider token older than this.
    public static let providerTokenAgeMax = Duration.seconds(3600)
    /// Apple, "Viewing the status of push notifications": APNs stores a push for at most 30 days, whatever its
    /// expiration.
    public static let storageSecondsMax: Int64 = 30 * 86_400
    /// Apple, "Sending broadcast push notification requests to APNs": the largest body of a broadcast, in bytes.
    public static let broadcastPayloadBytesMax = 5120
    /// Apple, "Sending channel management requests to APNs": the number of channels per app and environment.
    public static let channelsMax = 10_000
    /// The same page: how long a channel stores its newest message, in seconds.
    public static let channelStorageSecondsMax: Int64 = 8 * 3600
}
