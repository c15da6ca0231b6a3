extension PushType {
    /// The `apns-topic` of an app: its bundle ID with this type's suffix.
    ///
    /// For `mdm`, pass the topic itself, `com.apple.mgmt.External.…`: the UID in the subject of the push certificate.
    public func topic(for bundleID: some StringProtocol) -> String { bundleID + topicSuffix }

    /// The priorities that make sense for this type; never empty.
    ///
    /// APNs refuses few combinations (see `refuses(_:)`); a priority that is not listed has no benefit. Sources: Apple,
    /// "Sending notification requests to APNs" for `alert` and `background`, "Starting and updating Live Activities
    /// with ActivityKit push notifications", "Creating a location push service extension"; for `voip` and `pushtotalk`
    /// practice, because a late call is useless. Types without documented priorities list all three.
    public var priorities: [Priority] {
        switch self {
        case .background: [.conserving, .low]
        case .voip, .pushtotalk: [.immediate]
        case .location, .liveactivity: [.immediate, .conserving]
        case .alert, .complication, .fileprovider, .mdm, .controls, .widgets: [.immediate, .conserving, .low]
        }
    }

    /// The priority to use if the sender sets none: 5 for `background`; otherwise 10, which is also APNs' default.
    ///
    /// Use 5 for frequent updates of a Live Activity: 10 counts against an hourly budget of the device.
    public var defaultPriority: Priority { self == .background ? .conserving : .immediate }

    /// Whether APNs refuses this priority: 10 for `background` (Apple, "Sending notification requests to APNs").
    public func refuses(_ priority: Priority) -> Bool { self == .background && priority == .immediate }

    /// The credentials that can authenticate a push type.
    public enum AuthenticationRule: Sendable, CaseIterable, Hashable {
        /// A provider token, or a certificate that lists the full topic.
        case any
        case providerToken
        case certificate
    }

    /// The credentials that can send this type to a device.
    ///
    /// Sources: Apple, "Creating a location push service extension" (token only) and "Using push notifications to
    /// signal changes" (file provider: a provider token). APNs answers a Live Activity over a certificate with
    /// TopicDisallowed (observed), although Apple documents a broadcast with one. MDM topics exist in certificates
    /// only.
    public var authenticationRule: AuthenticationRule {
        switch self {
        case .location, .liveactivity, .fileprovider: .providerToken
        case .mdm: .certificate
        case .alert, .background, .voip, .complication, .pushtotalk, .controls, .widgets: .any
        }
    }

    /// The required shape of the payload.
    public enum PayloadShape: Sendable, CaseIterable, Hashable {
        /// `aps` with at least one of `alert`, `badge` and `sound`.
        case visible
        /// `aps` with `content-available` 1 and without `alert`, `badge` and `sound`.
        case silent
        /// `aps` with `event`, `timestamp` and the keys that the event needs.
        case liveActivity
        /// `aps` with `content-changed` true.
        case contentChanged
        /// `mdm` with the device's PushMagic, no `aps`.
        case mdm
        /// `container-identifier`, and `domain` for added domains; no `aps`.
        case fileProvider
        /// Any object; the app defines its content.
        case free
    }

    /// The shape that a payload of this type must have.
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
