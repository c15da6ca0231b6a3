/// Why APNs refused a push or a channel request: the `reason` of its JSON answer or of a GOAWAY.
///
/// Source: Apple, "Handling notification responses from APNs" and "Handling error responses from APNs", and
/// observations named in the comments; read 2026-11-23. New reasons appear on the wire before they are documented:
/// they become `.unknown`, and their text is reported with the answer.
///
/// Raw values are stable, because callers store them: a value is never changed or reused.
public enum APNSReason: UInt8, Sendable, CaseIterable, Hashable {
    /// No reason: the push was accepted or not answered, or the error had no readable body.
    case none = 0
    /// A reason that this table does not list.
    case unknown = 1

    case badCollapseId = 10
    case badDeviceToken = 11
    case badExpirationDate = 12
    case badMessageId = 13
    case badPriority = 14
    case badTopic = 15
    case deviceTokenNotForTopic = 16
    case duplicateHeaders = 17
    case idleTimeout = 18
    case invalidPushType = 19
    case missingDeviceToken = 20
    case missingTopic = 21
    case payloadEmpty = 22
    case topicDisallowed = 23

    case badCertificate = 30
    case badCertificateEnvironment = 31
    case expiredProviderToken = 32
    case forbidden = 33
    case invalidProviderToken = 34
    case missingProviderToken = 35
    case unrelatedKeyIdInToken = 36
    case badEnvironmentKeyIdInToken = 37
    /// A spelling of the previous reason seen in live traffic in 2025 (APNSwift issue 229).
    case badEnvironmentKeyInToken = 38

    case badPath = 40
    case methodNotAllowed = 41
    case expiredToken = 42
    case unregistered = 43
    case payloadTooLarge = 44
    case tooManyProviderTokenUpdates = 45
    case tooManyRequests = 46
    case internalServerError = 47
    case serviceUnavailable = 48
    case shutdown = 49

    // Channel-management and broadcast APIs only.
    case featureNotEnabled = 50
    case missingChannelId = 51
    case badChannelId = 52
    case channelNotRegistered = 53
    case badRequestParams = 54
    case badRequestPayload = 55
    case missingPushType = 56
    case cannotCreateChannelConfig = 57
    case topicMismatch = 58

    /// The text on the wire; empty for `none` and `unknown`.
    public var label: StaticString {
        switch self {
        case .none, .unknown: ""
        case .badCollapseId: "BadCollapseId"
        case .badDeviceToken: "BadDeviceToken"
        case .badExpirationDate: "BadExpirationDate"
        case .badMessageId: "BadMessageId"
        case .badPriority: "BadPriority"
        case .badTopic: "BadTopic"
        case .deviceTokenNotForTopic: "DeviceTokenNotForTopic"
        case .duplicateHeaders: "DuplicateHeaders"
        case .idleTimeout: "IdleTimeout"
        case .invalidPushType: "InvalidPushType"
        case .missingDeviceToken: "MissingDeviceToken"
        case .missingTopic: "MissingTopic"
        case .payloadEmpty: "PayloadEmpty"
        case .topicDisallowed: "TopicDisallowed"
        case .badCertificate: "BadCertificate"
        case .badCertificateEnvironment: "BadCertificateEnvironment"
        case .expiredProviderToken: "ExpiredProviderToken"
        case .forbidden: "Forbidden"
        case .invalidProviderToken: "InvalidProviderToken"
        case .missingProviderToken: "MissingProviderToken"
        case .unrelatedKeyIdInToken: "UnrelatedKeyIdInToken"
        case .badEnvironmentKeyIdInToken: "BadEnvironmentKeyIdInToken"
        case .badEnvironmentKeyInToken: "BadEnvironmentKeyInToken"
        case .badPath: "BadPath"
        case .methodNotAllowed: "MethodNotAllowed"
        case .expiredToken: "ExpiredToken"
        case .unregistered: "Unregistered"
        case .payloadTooLarge: "PayloadTooLarge"
        case .tooManyProviderTokenUpdates: "TooManyProviderTokenUpdates"
        case .tooManyRequests: "TooManyRequests"
        case .internalServerError: "InternalServerError"
        case .serviceUnavailable: "ServiceUnavailable"
        case .shutdown: "Shutdown"
        case .featureNotEnabled: "FeatureNotEnabled"
        case .missingChannelId: "MissingChannelId"
        case .badChannelId: "BadChannelId"
        case .channelNotRegistered: "ChannelNotRegistered"
        case .badRequestParams: "BadRequestParams"
        case .badRequestPayload: "BadRequestPayload"
        case .missingPushType: "MissingPushType"
        case .cannotCreateChannelConfig: "CannotCreateChannelConfig"
        case .topicMismatch: "TopicMismatch"
        }
    }

    /// The HTTP status that APNs sends with this reason; nil for `none` and `unknown`.
    public var status: UInt16? {
        switch self {
        case .none, .unknown: nil
        case .badCollapseId, .badDeviceToken, .badExpirationDate, .badMessageId, .badPriority, .badTopic,
            .deviceTokenNotForTopic, .duplicateHeaders, .idleTimeout, .invalidPushType, .missingDeviceToken,
            .missingTopic, .payloadEmpty, .topicDisallowed, .featureNotEnabled, .missingChannelId, .badChannelId,
            .channelNotRegistered, .badRequestParams, .badRequestPayload, .missingPushType,
            .cannotCreateChannelConfig:
            400
        case .badCertificate, .badCertificateEnvironment, .expiredProviderToken, .forbidden, .invalidProviderToken,
            .missingProviderToken, .unrelatedKeyIdInToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken,
            .topicMismatch:
            403
        case .badPath: 404
        case .methodNotAllowed: 405
        case .expiredToken, .unregistered: 410
        case .payloadTooLarge: 413
        case .tooManyProviderTokenUpdates, .tooManyRequests: 429
        case .internalServerError: 500
        case .serviceUnavailable, .shutdown: 503
        }
    }

    private static let byLabel: [String: APNSReason] = Dictionary(
        uniqueKeysWithValues: allCases.compactMap { reason in
            reason.label.utf8CodeUnitCount == 0 ? nil : ("\(reason.label)", reason)
        }
    )

    /// The reason with this text; `.unknown` if no case has it, `.none` if it is empty.
    public init(label: String) {
        switch label {
        case "": self = .none
        // The spelling in Apple's table for the broadcast APIs.
        case "Service Unavailable": self = .serviceUnavailable
        default: self = Self.byLabel[label] ?? .unknown
        }
    }
}

extension APNSReason: CustomStringConvertible {
    public var description: String {
        switch self {
        case .none: "none"
        case .unknown: "unknown"
        default: "\(label)"
        }
    }
}
