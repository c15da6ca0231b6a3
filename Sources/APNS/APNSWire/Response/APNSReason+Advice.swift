extension APNSReason {
    /// What this reason means and how to react to it; nil for `none` and `unknown`, for which the status decides
    /// (`ReasonAdvice.advice(status:reason:)`).
    public var advice: ReasonAdvice? {
        switch self {
        case .none, .unknown: nil
        case .badCollapseId:
            ReasonAdvice(
                "the collapse ID is longer than 64 bytes", .afterFix, .request,
                "Shorten `apns-collapse-id`; the limit counts bytes, not characters.")
        case .badDeviceToken:
            ReasonAdvice(
                "the device token is malformed or belongs to the other environment", .never, .deviceToken,
                isTokenInvalid: true, "Check that sandbox and production are not mixed up, then remove the token.")
        case .badExpirationDate:
            ReasonAdvice(
                "the expiration is not valid", .afterFix, .request,
                "Send whole UNIX seconds, and 0 to a channel that stores no messages.")
        case .badMessageId:
            ReasonAdvice(
                "the ID of the request is not a UUID", .afterFix, .request,
                "Send a UUID in the form 8-4-4-4-12, or leave the header out.")
        case .badPriority:
            ReasonAdvice(
                "the priority is not valid", .afterFix, .request,
                "Send 10, 5 or 1, and never 10 with a background push.")
        case .badTopic:
            ReasonAdvice(
                "the topic is not valid", .afterFix, .configuration,
                "Send the bundle ID with the suffix of the push type and no other characters.")
        case .deviceTokenNotForTopic:
            ReasonAdvice(
                "the token belongs to another topic", .never, .configuration, isTokenInvalid: true,
                "Check bundle ID, suffix and credential; if they are correct, remove the token from this topic.")
        case .duplicateHeaders:
            ReasonAdvice(
                "a header field occurs twice", .afterFix, .request, "Report it: this is a bug in the client library.")
        case .idleTimeout:
            ReasonAdvice(
                "the connection was idle for too long", .newConnection, .apple, "Reconnect; this is not an error.")
        case .invalidPushType:
            ReasonAdvice(
                "the push type is not valid", .afterFix, .request, "Send one of Apple's push types, in lower case.")
        case .missingDeviceToken:
            ReasonAdvice(
                "the path has no device token", .afterFix, .request, "Send the request to `/3/device/<token>`.")
        case .missingTopic:
            ReasonAdvice(
                "the topic is missing", .afterFix, .configuration,
                "Send `apns-topic`; it can be left out only with a certificate for a single topic.")
        case .payloadEmpty:
            ReasonAdvice("the payload is empty", .afterFix, .request, "Send a JSON object.")
        case .topicDisallowed:
            ReasonAdvice(
                "the credential may not send to this topic", .afterFix, .configuration,
                "Check the topic's spelling and suffix, and that the key or certificate covers it; keep the tokens.")
        case .badCertificate:
            ReasonAdvice(
                "the certificate is not valid", .afterFix, .configuration,
                "Install a certificate that is neither expired nor revoked.")
        case .badCertificateEnvironment:
            ReasonAdvice(
                "the certificate is for the other environment", .afterFix, .configuration,
                "Use the certificate of this environment, or the other host.")
        case .expiredProviderToken:
            ReasonAdvice(
                "the provider token is older than an hour", .newConnectionAndProviderToken, .configuration,
                "Sign a new provider token, replace the connection, and check the clock.")
        case .forbidden:
            ReasonAdvice(
                "the action is not allowed", .never, .configuration,
                "Check the permissions of the key or certificate.")
        case .invalidProviderToken:
            ReasonAdvice(
                "the provider token is not valid", .afterFix, .configuration,
                "Check key, key ID and team ID, and that the key is not revoked.")
        case .missingProviderToken:
            ReasonAdvice(
                "the request has neither a certificate nor a provider token", .afterFix, .configuration,
                "Configure a key or a certificate.")
        case .unrelatedKeyIdInToken:
            ReasonAdvice(
                "the key is not related to the first key of the connection", .newConnection, .configuration,
                "Use separate connections for each key.")
        case .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken:
            ReasonAdvice(
                "the key is for the other environment", .afterFix, .configuration,
                "Use a key of this environment, or the other host.")
        case .badPath:
            ReasonAdvice(
                "the path is not valid", .afterFix, .request, "Report it: this is a bug in the client library.")
        case .methodNotAllowed:
            ReasonAdvice(
                "the method is not allowed", .afterFix, .request, "Report it: this is a bug in the client library.")
        case .expiredToken:
            ReasonAdvice(
                "the device token has expired", .never, .deviceToken, isTokenInvalid: true,
                "Remove the token, unless the app has registered it again since the answer's timestamp.")
        case .unregistered:
            ReasonAdvice(
                "the device token is inactive for the topic", .never, .deviceToken, isTokenInvalid: true,
                "Remove the token, unless the app has registered it again since the answer's timestamp.")
        case .payloadTooLarge:
            ReasonAdvice(
                "the payload is larger than 4,096 bytes, or 5,120 for VoIP and broadcasts", .never, .request,
                "Send a smaller payload, and let the app fetch the rest.")
        case .tooManyProviderTokenUpdates:
            ReasonAdvice(
                "the provider token was changed more than once in 20 minutes", .laterWithSameProviderToken,
                .configuration,
                "Keep the current provider token, and share one token among all senders.")
        case .tooManyRequests:
            ReasonAdvice(
                "too many consecutive pushes to the same token or channel", .later, .apple,
                "Send less to this token or channel, and wait longer after each such answer.")
        case .internalServerError:
            ReasonAdvice(
                "an error at APNs, or a connection that an expired provider token has made unusable", .later, .apple,
                retryDelayMin: .seconds(900), "Wait, longer each time, and use another connection.")
        case .serviceUnavailable:
            ReasonAdvice(
                "APNs is unavailable", .later, .apple, retryDelayMin: .seconds(900), "Wait, longer each time.")
        case .shutdown:
            ReasonAdvice(
                "this APNs server is shutting down", .newConnection, .apple, "Reconnect to another address.")
        // Channel-management and broadcast APIs only.
        case .featureNotEnabled:
            ReasonAdvice(
                "broadcasting is not enabled for the app", .afterFix, .configuration,
                "Enable the broadcast capability of the App ID in the developer portal.")
        case .missingChannelId:
            ReasonAdvice("the channel ID is missing", .afterFix, .request, "Send the header field `apns-channel-id`.")
        case .badChannelId:
            ReasonAdvice(
                "the channel ID is malformed or too long", .afterFix, .request,
                "Send the ID exactly as APNs returned it when the channel was created.")
        case .channelNotRegistered:
            ReasonAdvice(
                "the channel does not exist", .never, .request,
                "Check the environment; if it is correct, the channel was deleted, so remove its ID.")
        case .badRequestParams:
            ReasonAdvice(
                "the body has an unknown attribute", .afterFix, .request,
                "Send `message-storage-policy` and `push-type` only.")
        case .badRequestPayload:
            ReasonAdvice("the body cannot be parsed", .afterFix, .request, "Send well-formed JSON.")
        case .missingPushType:
            ReasonAdvice("the push type is missing", .afterFix, .request, "Send `apns-push-type: liveactivity`.")
        case .cannotCreateChannelConfig:
            ReasonAdvice(
                "the app has reached its limit of channels", .afterFix, .configuration,
                "Delete unused channels; an app may have 10,000 in each environment.")
        case .topicMismatch:
            ReasonAdvice(
                "the credential does not cover the bundle ID of the path", .afterFix, .configuration,
                "Use a key or certificate of that app.")
        }
    }

    /// The APNs services that give a reason.
    public enum Service: Sendable, CaseIterable, Hashable {
        /// Pushes to devices, `/3/device`.
        case devices
        /// Channels: `/1/apps` and `/4/broadcasts`.
        case channels
        case both
    }

    /// The services that are documented to give this reason.
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
