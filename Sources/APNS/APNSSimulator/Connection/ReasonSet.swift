package import APNSWire

/// What is wrong with one request, as a set in one word.
package struct ReasonSet: Equatable {
    private var bits: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { bits == 0 }

    @inline(__always)
    package mutating func insert(_ reason: APNSReason) { bits |= Self.bit(reason) }

    package func contains(_ reason: APNSReason) -> Bool { bits & Self.bit(reason) != 0 }

    /// The one that is told: the first in the order of the checks.
    package func first(in order: [APNSReason] = Self.order) -> APNSReason? { order.first(where: contains) }

    // Raw values are below 64, which a test checks.
    @inline(__always)
    private static func bit(_ reason: APNSReason) -> UInt64 { 1 << UInt64(reason.rawValue) }

    /// Apple documents no order. This one looks at who asks before at what is asked, and at the token's fate and the
    /// body last.
    package static let order: [APNSReason] = [
        .methodNotAllowed, .badPath, .duplicateHeaders,
        .missingProviderToken, .invalidProviderToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken,
        .unrelatedKeyIdInToken, .expiredProviderToken, .tooManyProviderTokenUpdates,
        .badMessageId, .invalidPushType, .badExpirationDate, .badPriority, .badCollapseId,
        .missingTopic, .topicDisallowed, .missingDeviceToken, .badDeviceToken, .payloadEmpty, .payloadTooLarge,
        .unregistered, .expiredToken, .deviceTokenNotForTopic,
    ]

    /// Pushy's mock server: apns-id, method, topic, collapse id, priority, push type, path and token with its fate,
    /// authentication, body.
    package static let tokenFirstOrder: [APNSReason] = [
        .badMessageId, .methodNotAllowed, .duplicateHeaders, .missingTopic, .badCollapseId, .badPriority,
        .badExpirationDate, .invalidPushType, .badPath, .missingDeviceToken, .badDeviceToken, .unregistered,
        .expiredToken, .deviceTokenNotForTopic,
        .missingProviderToken, .invalidProviderToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken,
        .unrelatedKeyIdInToken, .expiredProviderToken, .tooManyProviderTokenUpdates, .topicDisallowed,
        .payloadEmpty, .payloadTooLarge,
    ]
}
