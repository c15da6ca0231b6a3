extension PushType {
    /// `apns-topic` for an app: its bundle ID and this type's suffix.
    ///
    /// For `mdm` give the topic itself, `com.apple.mgmt.External.…`: the UID in the subject of the push certificate.
    public func topic(for bundleID: some StringProtocol) -> String { bundleID + topicSuffix }

    /// The priorities that make sense for this type; never empty.
    ///
    /// APNs refuses little here, see `refuses(_:)`; others than these are at best without effect. Sources: Apple,
    /// "Sending notification requests to APNs" for `alert` and `background`, "Starting and updating Live Activities with
    /// ActivityKit push notifications", "Creating a location push service extension"; for `voip` and `pushtotalk`
    /// practice, for a late call is none. Where nothing is documented all three are listed.
    public var priorities: [Priority] {
        switch self {
        case .background: [.conserving, .low]
        case .voip, .pushtotalk: [.immediate]
        case .location, .liveactivity: [.immediate, .conserving]
        case .alert, .complication, .fileprovider, .mdm, .controls, .widgets: [.immediate, .conserving, .low]
        }
    }

    /// What to send when the sender has no wish: 5 for `background`, else 10, which APNs takes without the header too.
    ///
    /// A Live Activity that is updated often should choose 5: 10 counts against an hourly budget of the device.
    public var defaultPriority: Priority { self == .background ? .conserving : .immediate }

    /// Whether APNs takes it for an error: priority 10 for `background` (Apple, "Sending notification requests to APNs").
    public func refuses(_ priority: Priority) -> Bool { self == .background && priority == .immediate }

    /// How a connection may prove who it is.
    public enum AuthenticationRule: Sendable, CaseIterable, Hashable {
        /// A provider token, or a certificate that lists the full topic.
        case any
        case providerToken
        case certificate
    }

    /// Which credential can send this type to a device.
    ///
    /// Sources: Apple, "Creating a location push service extension" (token only) and "Using push notifications to signal
    /// changes" (file provider: a provider token); Live Activities over a certificate get TopicDisallowed (observed), though
    /// Apple shows a broadcast with one; MDM topics exist in certificates only.
    public var authenticationRule: AuthenticationRule {
        switch self {
        case .location, .liveactivity, .fileprovider: .providerToken
        case .mdm: .certificate
        case .alert, .background, .voip, .complication, .pushtotalk, .controls, .widgets: .any
        }
    }

    /// What the body of this type must look like.
    public enum PayloadShape: Sendable, CaseIterable, Hashable {
        /// `aps` with at least one of `alert`, `badge` and `sound`.
        case visible
        /// `aps` with `content-available` 1 and nothing that the user would notice.
        case silent
        /// `aps` with `event`, `timestamp` and what the event needs.
        case liveActivity
        /// `aps` with `content-changed` true.
        case contentChanged
        /// `mdm` with the device's PushMagic, no `aps`.
        case mdm
        /// `container-identifier`, and `domain` for added domains; no `aps`.
        case fileProvider
        /// Any object; the app makes of it what it wants.
        case free
    }

    public var payloadShape: PayloadShape {
        switch self {
        case .alert: .visible
        case .background: .silent
        case .liveactivity: .liveActivity
        case .controls, .widgets: .contentChanged
        case .mdm: .mdm
        case .fileprovider: .fileProvider
        case .voip, .complication, .location, .pushtotalk: .free
        }
    }
}
