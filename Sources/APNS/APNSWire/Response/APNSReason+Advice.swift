extension APNSReason {
    /// What this reason means and what to do; nil for `none` and `unknown`, where the status decides
    /// (`ReasonAdvice.advice(status:reason:)`).
    public var advice: ReasonAdvice? {
        switch self {
        case .none, .unknown: nil
        case .badCollapseId:
            ReasonAdvice(
                "the collapse id is longer than 64 bytes", .afterFix, .request,
                "Shorten `apns-collapse-id`; bytes count, not characters.")
        case .badDeviceToken:
            ReasonAdvice(
                "not a token, or a token of the other environment", .never, .deviceToken, isTokenDead: true,
                "Exclude that sandbox and production are mixed up, then remove the token.")
        case .badExpirationDate:
            ReasonAdvice(
                "the expiration is not valid", .afterFix, .request,
                "Send whole UNIX seconds, and 0 to a channel that stores nothing.")
        case .badMessageId:
            ReasonAdvice(
                "the id of the request is not a UUID", .afterFix, .request,
                "Send a UUID in its form 8-4-4-4-12, or none.")
        case .badPriority:
            ReasonAdvice(
                "the priority is not valid", .afterFix, .request,
                "Send 10, 5 or 1, and never 10 with a background push.")
        case .badTopic:
            ReasonAdvice(
                "the topic is not valid", .afterFix, .configuration,
                "Send the bundle ID with the suffix of the push type, without other characters.")
        case .deviceTokenNotForTopic:
            ReasonAdvice(
                "the token belongs to another topic", .never, .configuration, isTokenDead: true,
                "Check bundle ID, suffix and credential; if they are right, remove the token from this topic.")
        case .duplicateHeaders:
            ReasonAdvice(
                "a header field stands twice", .afterFix, .request, "This is a fault of the client library: report it.")
        case .idleTimeout:
            ReasonAdvice(
                "the connection was idle for too long", .newConnection, .apple, "Connect again; this is no error.")
        case .invalidPushType:
            ReasonAdvice(
                "the push type is not valid", .afterFix, .request, "Send one of Apple's push types, in lower case.")
        case .missingDeviceToken:
            ReasonAdvice("the path has no token", .afterFix, .request, "Send a token.")
        case .missingTopic:
            ReasonAdvice(
                "the topic is missing", .afterFix, .configuration,
                "Send `apns-topic`; it can be left out only with a certificate for a single topic.")
        case .payloadEmpty:
            ReasonAdvice("there is no body", .afterFix, .request, "Send a JSON object.")
        case .topicDisallowed:
            ReasonAdvice(
                "pushing to this topic is not allowed", .afterFix, .configuration,
                "Check the topic's spelling and suffix and that key or certificate covers it; keep the tokens.")
        case .badCertificate:
            ReasonAdvice(
                "the certificate is not valid", .afterFix, .configuration,
                "Install a certificate that has not expired or been revoked.")
        case .badCertificateEnvironment:
            ReasonAdvice(
                "the certificate is for the other environment", .afterFix, .configuration,
                "Use the certificate of this environment, or the other host.")
        case .expiredProviderToken:
            ReasonAdvice(
                "the provider token is older than an hour", .newConnectionAndProviderToken, .configuration,
                "Make a new provider token, replace the connection, and check the clock.")
        case .forbidden:
            ReasonAdvice(
                "the action is not allowed", .never, .configuration,
                "Check what the key or certificate is allowed to do.")
        case .invalidProviderToken:
            ReasonAdvice(
                "the provider token is not valid", .afterFix, .configuration,
                "Check key, key id and team id, and that the key has not been revoked.")
        case .missingProviderToken:
            ReasonAdvice(
                "neither certificate nor provider token", .afterFix, .configuration,
                "Configure a key or a certificate.")
        case .unrelatedKeyIdInToken:
            ReasonAdvice(
                "the key is not related to the one that the connection began with", .newConnection, .configuration,
                "Give every key its own connections.")
        case .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken:
            ReasonAdvice(
                "the key is for the other environment", .afterFix, .configuration,
                "Use a key of this environment, or the other host.")
        case .badPath:
            ReasonAdvice(
                "the path is not valid", .afterFix, .request, "This is a fault of the client library: report it.")
        case .methodNotAllowed:
            ReasonAdvice(
                "the method is not allowed", .afterFix, .request, "This is a fault of the client library: report it.")
        case .expiredToken:
            ReasonAdvice(
                "the device token has run out", .never, .deviceToken, isTokenDead: true,
                "Remove the token, unless the app has registered it again since the answer's timestamp.")
        case .unregistered:
            ReasonAdvice(
                "the device token is inactive for the topic", .never, .deviceToken, isTokenDead: true,
                "Remove the token, unless the app has registered it again since the answer's timestamp.")
        case .payloadTooLarge:
            ReasonAdvice(
                "the body is larger than 4,096 bytes, or 5,120 for VoIP and broadcasts", .never, .request,
                "Send a smaller payload, and let the app fetch the rest.")
        case .tooManyProviderTokenUpdates:
            ReasonAdvice(
                "the provider token was changed more than once in 20 minutes", .laterWithSameProviderToken,
                .configuration,
                "Keep the provider token, make no new one, and share one among all senders.")
        case .tooManyRequests:
            ReasonAdvice(
                "too many pushes in a row to the same token or channel", .later, .apple,
                "Send less to it, and wait longer after each such answer.")
        case .internalServerError:
            ReasonAdvice(
                "a fault at APNs, or a connection that an expired provider token has spoilt", .later, .apple,
                retryDelayMin: .seconds(900), "Wait, longer each time, and use another connection.")
        case .serviceUnavailable:
            ReasonAdvice(
                "APNs is not available", .later, .apple, retryDelayMin: .seconds(900), "Wait, longer each time.")
        case .shutdown:
            ReasonAdvice(
                "this server of APNs is shutting down", .newConnection, .apple, "Connect again, to another address.")
        // Of the APIs for channels only.
        case .featureNotEnabled:
            ReasonAdvice(
                "broadcasting is not enabled for the app", .afterFix, .configuration,
                "Enable the broadcast capability of the App ID in the developer portal.")
        case .missingChannelId:
            ReasonAdvice("the channel id is missing", .afterFix, .request, "Send `apns-channel-id` as a header field.")
        case .badChannelId:
            ReasonAdvice(
                "the channel id is malformed or too long", .afterFix, .request,
                "Send the id as APNs gave it when the channel was created.")
        case .channelNotRegistered:
            ReasonAdvice(
                "there is no such channel", .never, .request,
                "Check the environment; if it is right, the channel was deleted: forget it.")
        case .badRequestParams:
            ReasonAdvice(
                "the body has an attribute that APNs does not know", .afterFix, .request,
                "Send `message-storage-policy` and `push-type` alone.")
        case .badRequestPayload:
            ReasonAdvice("the body cannot be read", .afterFix, .request, "Send well-formed JSON.")
        case .missingPushType:
            ReasonAdvice("the push type is missing", .afterFix, .request, "Send `apns-push-type: liveactivity`.")
        case .cannotCreateChannelConfig:
            ReasonAdvice(
                "the app has as many channels as it may have", .afterFix, .configuration,
                "Delete channels that nobody needs; an app may have 10,000 in each environment.")
        case .topicMismatch:
            ReasonAdvice(
                "the credential does not cover the bundle ID of the path", .afterFix, .configuration,
                "Use the key or certificate of that app.")
        }
    }

    /// Which of APNs' services give a reason.
    public enum Service: Sendable, CaseIterable, Hashable {
        /// Pushes to devices, `/3/device`.
        case devices
        /// Channels: `/1/apps` and `/4/broadcasts`.
        case channels
        case both
    }

    /// Which services are documented to give this reason.
    public var service: Service {
        switch self {
        case .none, .unknown, .payloadEmpty, .badMessageId, .invalidPushType, .badExpirationDate, .badPriority,
            .topicDisallowed, .badCertificate, .badCertificateEnvironment, .missingProviderToken,
            .expiredProviderToken, .invalidProviderToken, .badPath, .methodNotAllowed, .payloadTooLarge,
            .tooManyRequests, .tooManyProviderTokenUpdates, .internalServerError, .serviceUnavailable, .shutdown:
            .both
        case .featureNotEnabled, .missingChannelId, .badChannelId, .channelNotRegistered, .badRequestParams,
            .badRequestPayload, .missingPushType, .cannotCreateChannelConfig, .topicMismatch:
            .channels
        case .badCollapseId, .badDeviceToken, .badTopic, .deviceTokenNotForTopic, .duplicateHeaders, .idleTimeout,
            .missingDeviceToken, .missingTopic, .forbidden, .unrelatedKeyIdInToken, .badEnvironmentKeyIdInToken,
            .badEnvironmentKeyInToken, .expiredToken, .unregistered:
            .devices
        }
    }
}
