/// The rules of `NotificationLint`. Raw values are stable: callers may store, count and search for them.
public enum LintCode: String, Sendable, CaseIterable, Hashable {
    case topicEmpty = "topic-empty"
    case topicCharacters = "topic-characters"
    case topicSuffixMissing = "topic-suffix-missing"
    case topicSuffixWrong = "topic-suffix-wrong"
    case topicSuffixDoubled = "topic-suffix-doubled"
    case topicBundle = "topic-bundle"
    case topicMDM = "topic-mdm"
    case priorityRefused = "priority-refused"
    case priorityUnusual = "priority-unusual"
    case priorityMissing = "priority-missing"
    case expirationNegative = "expiration-negative"
    case expirationPast = "expiration-past"
    case expirationMilliseconds = "expiration-milliseconds"
    case expirationFar = "expiration-far"
    case voipExpiration = "voip-expiration"
    case pushToTalkExpiration = "pushtotalk-expiration"
    case channelExpiration = "channel-expiration"
    case channelExpirationFar = "channel-expiration-far"
    case credential
    case collapseIDLong = "collapse-id-long"
    case collapseIDEmpty = "collapse-id-empty"
    case collapseIDCharacters = "collapse-id-characters"
    case tokenLength = "token-length"
    case broadcastPushType = "broadcast-push-type"
    case broadcastEvent = "broadcast-event"
    case payloadEmpty = "payload-empty"
    case payloadTooLarge = "payload-too-large"
    case payloadNotJSON = "payload-not-json"
    case payloadNotObject = "payload-not-object"
    case apsMissing = "aps-missing"
    case apsNotObject = "aps-not-object"
    case apsKeyOutside = "aps-key-outside"
    case apsKeyTwice = "aps-key-twice"
    case keyMisspelt = "key-misspelt"
    case valueType = "value-type"
    case alertWithoutContent = "alert-without-content"
    case backgroundVisible = "background-visible"
    case backgroundContentAvailable = "background-content-available"
    case liveActivityEvent = "live-activity-event"
    case liveActivityTimestamp = "live-activity-timestamp"
    case liveActivityContentState = "live-activity-content-state"
    case liveActivityAttributesType = "live-activity-attributes-type"
    case liveActivityAttributes = "live-activity-attributes"
    case liveActivityAlert = "live-activity-alert"
    case liveActivitySound = "live-activity-sound"
    case liveActivityStartOnly = "live-activity-start-only"
    case liveActivityInput = "live-activity-input"
    case dismissalWithoutEnd = "dismissal-without-end"
    case timeMilliseconds = "time-milliseconds"
    case timeFraction = "time-fraction"
    case contentChanged = "content-changed"
    case interruptionLevel = "interruption-level"
    case relevanceScore = "relevance-score"
    case badge
    case contentAvailable = "content-available"
    case mutableContent = "mutable-content"
    case criticalSound = "critical-sound"
    case criticalVolume = "critical-volume"
    case pttPushType = "ptt-push-type"
    case mdmPayload = "mdm-payload"
    case fileProviderPayload = "fileprovider-payload"

    /// The usual severity. A single finding can be less severe, see `LintFinding.severity`.
    public var severity: LintFinding.Severity {
        switch self {
        case .topicEmpty, .topicCharacters, .topicSuffixMissing, .topicSuffixWrong, .topicSuffixDoubled, .topicBundle,
            .priorityRefused, .expirationNegative, .channelExpiration, .credential, .collapseIDLong,
            .collapseIDCharacters, .tokenLength, .broadcastPushType, .broadcastEvent, .payloadEmpty, .payloadTooLarge,
            .payloadNotJSON, .payloadNotObject, .apsMissing, .apsNotObject, .backgroundVisible, .liveActivityEvent,
            .liveActivityTimestamp, .liveActivityContentState, .liveActivityAttributesType, .liveActivityAttributes,
            .liveActivityAlert, .mdmPayload:
            .error
        case .topicMDM, .priorityUnusual, .priorityMissing, .expirationPast, .expirationMilliseconds, .expirationFar,
            .voipExpiration, .pushToTalkExpiration, .channelExpirationFar, .collapseIDEmpty, .apsKeyOutside,
            .apsKeyTwice, .keyMisspelt, .valueType, .alertWithoutContent, .backgroundContentAvailable,
            .liveActivitySound, .liveActivityStartOnly, .liveActivityInput, .dismissalWithoutEnd, .timeMilliseconds,
            .timeFraction, .contentChanged, .interruptionLevel, .relevanceScore, .badge, .contentAvailable,
            .mutableContent, .criticalSound, .criticalVolume, .pttPushType, .fileProviderPayload:
            .warning
        }
    }

    /// Whether APNs answers a push that violates the rule with an error, documented or observed. It accepts other pushes,
    /// and the device ignores them or shows something else than the sender intends.
    package var isRefusedByAPNs: Bool {
        switch self {
        case .topicEmpty, .topicCharacters, .topicSuffixMissing, .topicSuffixDoubled, .priorityRefused,
            .expirationNegative, .channelExpiration, .credential, .collapseIDLong, .collapseIDCharacters, .tokenLength,
            .broadcastPushType, .payloadEmpty, .payloadTooLarge:
            true
        default: false
        }
    }

    /// How to correct the push: one imperative clause in lower case, without a full stop.
    public var advice: String {
        switch self {
        case .topicEmpty: "send the bundle ID with the suffix of the push type"
        case .topicCharacters:
            "use letters, digits, dots, dashes and underscores only, and check for stray spaces and line breaks"
        case .topicSuffixMissing, .topicSuffixWrong: "use the bundle ID followed by the suffix of the push type"
        case .topicSuffixDoubled: "pass the bundle ID without a suffix to the code that appends it"
        case .topicBundle: "send the topic of the app that the credential and the token belong to"
        case .topicMDM: "use the UID in the subject of the push certificate, which begins with com.apple.mgmt"
        case .priorityRefused: "send background pushes with priority 5"
        case .priorityUnusual:
            "use 10 for calls and push-to-talk, 10 or 5 for Live Activities and location, 5 or 1 for background pushes"
        case .priorityMissing: "always send the priority"
        case .expirationNegative: "send UNIX seconds, 0 for a single attempt, or no expiration"
        case .expirationPast: "send 0 for a single attempt, otherwise a time in the future"
        case .expirationMilliseconds: "divide by 1,000, because `apns-expiration` is in seconds"
        case .expirationFar: "do not rely on more than 30 days"
        case .voipExpiration: "send 0 or at most a minute from now, so that no device rings after the call ended"
        case .pushToTalkExpiration: "send 0, because late speech is useless"
        case .channelExpiration: "send 0, or create a channel that stores its newest message"
        case .channelExpirationFar: "do not rely on more than 8 hours"
        case .credential: "use the kind of credential that the push type needs"
        case .collapseIDLong: "use at most 64 bytes of UTF-8, such as a hash"
        case .collapseIDEmpty: "leave the header out if the push does not replace another one"
        case .collapseIDCharacters: "use visible ASCII characters only"
        case .tokenLength: "send the token that the app received, 1 to 255 bytes in hexadecimal"
        case .broadcastPushType: "publish Live Activities only, and send other pushes to devices"
        case .broadcastEvent: "start the activity on each device, with its push-to-start token or in the app"
        case .payloadEmpty: "send a JSON object"
        case .payloadTooLarge: "send less, and let the app fetch the rest"
        case .payloadNotJSON: "send well-formed JSON in UTF-8, uncompressed"
        case .payloadNotObject: "wrap the content in an object"
        case .apsMissing: "add the `aps` dictionary"
        case .apsNotObject: "make `aps` an object"
        case .apsKeyOutside: "move the key into `aps`"
        case .apsKeyTwice: "write each key once"
        case .keyMisspelt: "correct the spelling, because unknown keys are silently ignored"
        case .valueType: "use the JSON type that the system expects"
        case .alertWithoutContent: "add `alert`, `badge` or `sound`, or send the push as `background`"
        case .backgroundVisible: "remove these keys, or send the push as `alert`"
        case .backgroundContentAvailable: "set `content-available` to 1"
        case .liveActivityEvent: "set `event` to `start`, `update` or `end`"
        case .liveActivityTimestamp: "set `timestamp` to the time of the update in UNIX seconds"
        case .liveActivityContentState: "set `content-state` to an object that decodes to the app's `ContentState`"
        case .liveActivityAttributesType: "set `attributes-type` to the name of the app's `ActivityAttributes` type"
        case .liveActivityAttributes: "set `attributes` to an object that decodes to the app's `ActivityAttributes`"
        case .liveActivityAlert: "add an `alert` with title and body"
        case .liveActivitySound: "move `sound` into `alert`"
        case .liveActivityStartOnly: "send the key with the event `start` only"
        case .liveActivityInput: "set `input-push-token` to 1, or `input-push-channel` to a channel ID, but not both"
        case .dismissalWithoutEnd: "send `dismissal-date` with the event `end`"
        case .timeMilliseconds: "divide by 1,000, because times in `aps` are in seconds"
        case .timeFraction: "write whole seconds, without fraction and exponent"
        case .contentChanged: "set `content-changed` to `true`"
        case .interruptionLevel: "use `passive`, `active`, `time-sensitive` or `critical`"
        case .relevanceScore, .criticalVolume: "use a number from 0 to 1"
        case .badge: "use a whole number of at least 0, where 0 removes the badge"
        case .contentAvailable, .mutableContent: "use the number 1, or leave the key out"
        case .criticalSound: "use a string for an ordinary sound, or an object with `critical` 1 and `name`"
        case .pttPushType: "use `service-update`, or leave the key out"
        case .mdmPayload: "send `mdm` with the device's PushMagic and no other key"
        case .fileProviderPayload: "send `container-identifier`, and `domain` for domains that the app added"
        }
    }
}
