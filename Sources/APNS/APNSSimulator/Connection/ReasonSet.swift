package import APNSWire

/// The reasons to refuse one request, as a bit set.
package struct ReasonSet: Equatable {
    private var bits: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { bits == 0 }

    @inline(__always)
    package mutating func insert(_ reason: APNSReason) { bits |= Self.bit(reason) }

    package func contains(_ reason: APNSReason) -> Bool { bits & Self.bit(reason) != 0 }

    /// The reason to report: the first one in the order of checks.
    package func first(in order: [APNSReason] = Self.order) -> APNSReason? { order.first(where: contains) }

    // A test checks that all raw values are below 64.
    @inline(__always)
    private static func bit(_ reason: APNSReason) -> UInt64 { 1 << UInt64(reason.rawValue) }

    /// The default order. Apple documents none. This one checks authentication before header fields, and the body and
    /// the token's state last.
    package static let order: [APNSReason] = [
        .methodNotAllowed, .badPath, .duplicateHeaders,
        .missingProviderToken, .invalidProviderToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken,
        .unrelatedKeyIdInToken, .expiredProviderToken, .tooManyProviderTokenUpdates,
        .badMessageId, .invalidPushType, .badExpirationDate, .badPriority, .badCollapseId,
        .missingTopic, .topicDisallowed, .missingDeviceToken, .badDeviceToken, .payloadEmpty, .payloadTooLarge,
        .unregistered, .expiredToken, .deviceTokenNotForTopic,
    ]

    /// The order of Pushy's mock server: apns-id, method, topic, collapse ID, priority, push type, path, token and its
    /// state, authentication, body.
    package static let tokenFirstOrder: [APNSReason] = [
        .badMessageId, .methodNotAllowed, .duplicateHeaders, .missingTopic, .badCollapseId, .badPriority,
        .badExpirationDate, .invalidPushType, .badPath, .missingDeviceToken, .badDeviceToken, .unregistered,
        .expiredToken, .deviceTokenNotForTopic,
        .missingProviderToken, .invalidProviderToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken,
        .unrelatedKeyIdInToken, .expiredProviderToken, .tooManyProviderTokenUpdates, .topicDisallowed,
        .payloadEmpty, .payloadTooLarge,
    ]
}
