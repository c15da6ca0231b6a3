/// What `NotificationLint` can find. The texts are stable: they may be stored, counted and looked for.
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

    /// How bad it is as a rule; a finding can be milder, see `LintFinding.severity`.
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

    /// What to do about it, in one sentence.
    public var advice: String {
        switch self {
        case .topicEmpty: "Send the bundle ID with the suffix of the push type."
        case .topicCharacters:
            "Use letters, digits, dots, dashes and underscores only, and look for stray spaces and line ends."
        case .topicSuffixMissing, .topicSuffixWrong: "Make the topic with `PushType.topic(for:)`."
        case .topicSuffixDoubled: "Give the bundle ID alone to whatever adds the suffix."
        case .topicBundle: "Send the topic of the app that the credential and the token belong to."
        case .topicMDM: "Use the UID in the subject of the push certificate; it begins with com.apple.mgmt."
        case .priorityRefused: "Send background pushes with priority 5."
        case .priorityUnusual: "Use one of `PushType.priorities`."
        case .priorityMissing: "Always send the priority."
        case .expirationNegative: "Send UNIX seconds, 0 for a single attempt, or no expiration."
        case .expirationPast: "Send 0 if a single attempt is meant, else a time to come."
        case .expirationMilliseconds: "Divide by 1,000: `apns-expiration` is in seconds."
        case .expirationFar: "Do not count on more than 30 days."
        case .voipExpiration: "Send 0 or a few seconds, so that no call rings when it is over."
        case .pushToTalkExpiration: "Send 0: nobody wants to hear it later."
        case .channelExpiration: "Send 0, or make a channel that stores its newest message."
        case .channelExpirationFar: "Do not count on more than 8 hours."
        case .credential: "Send it with a credential of the kind that the push type needs."
        case .collapseIDLong: "Use at most 64 bytes in UTF-8, such as a hash."
        case .collapseIDEmpty: "Leave the header out when nothing is to be collapsed."
        case .collapseIDCharacters: "Use visible ASCII characters only."
        case .tokenLength: "Send the token as the app got it, 1 to 100 bytes in hexadecimal."
        case .broadcastPushType: "Publish Live Activities only, and send other pushes to devices."
        case .broadcastEvent: "Start an activity on each device, by its push-to-start token or in the app."
        case .payloadEmpty: "Send a JSON object."
        case .payloadTooLarge: "Send less, and let the app fetch the rest."
        case .payloadNotJSON: "Send well-formed JSON in UTF-8, uncompressed."
        case .payloadNotObject: "Put the content into an object."
        case .apsMissing: "Add the `aps` dictionary."
        case .apsNotObject: "Make `aps` an object."
        case .apsKeyOutside: "Move the key into `aps`."
        case .apsKeyTwice: "Write each key once."
        case .keyMisspelt: "Correct the key: unknown ones are ignored without a word."
        case .valueType: "Write the value with the type that the system expects."
        case .alertWithoutContent: "Add `alert`, `badge` or `sound`, or send it as `background`."
        case .backgroundVisible: "Send what the user shall notice as `alert`."
        case .backgroundContentAvailable: "Set `content-available` to 1."
        case .liveActivityEvent: "Set `event` to `start`, `update` or `end`."
        case .liveActivityTimestamp: "Set `timestamp` to the UNIX seconds of the news."
        case .liveActivityContentState:
            "Set `content-state` to an object that the app's `ContentState` can be decoded from."
        case .liveActivityAttributesType: "Set `attributes-type` to the name of the app's `ActivityAttributes` type."
        case .liveActivityAttributes:
            "Set `attributes` to an object that the app's `ActivityAttributes` can be decoded from."
        case .liveActivityAlert: "Add an `alert` with title and body."
        case .liveActivitySound: "Move `sound` into `alert`."
        case .liveActivityStartOnly: "Send it with the event `start` only."
        case .liveActivityInput: "Ask for a token, with `input-push-token` 1, or name a channel, not both."
        case .dismissalWithoutEnd: "Send `dismissal-date` with the event `end`."
        case .timeMilliseconds: "Divide by 1,000: times in `aps` are in seconds."
        case .timeFraction: "Write whole seconds, without fraction and exponent."
        case .contentChanged: "Set `content-changed` to `true`."
        case .interruptionLevel: "Use `passive`, `active`, `time-sensitive` or `critical`."
        case .relevanceScore, .criticalVolume: "Use a number from 0 to 1."
        case .badge: "Use a whole number from 0 up; 0 removes the badge."
        case .contentAvailable, .mutableContent: "Use the number 1, or leave the key out."
        case .criticalSound: "Write a string for a common sound; in the object set `critical` to 1 and `name`."
        case .pttPushType: "Use `service-update`, or leave the key out."
        case .mdmPayload: "Send `mdm` with the device's PushMagic and nothing else."
        case .fileProviderPayload: "Send `container-identifier`, and `domain` for added domains."
        }
    }
}
