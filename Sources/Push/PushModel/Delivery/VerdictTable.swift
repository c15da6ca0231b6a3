package import APNSWire

/// What each APNs answer means for a push. The only place that maps answers to verdicts.
package enum VerdictTable {
    /// The next step for the push.
    package enum Meaning: Sendable, Equatable {
        case settle(Verdict, ErrorCode)
        case retry(ErrorCode, RetryClass)
    }

    /// Whether an attempt counts, and how long the retry waits.
    package enum RetryClass: Sendable, Equatable {
        /// APNs has certainly not processed the push: the attempt does not count.
        case free
        /// APNs may have processed the push: the attempt counts.
        case ambiguous
        /// APNs answered and asks for a delay: the attempt counts.
        case later
        /// The app's credential is at fault, not the push: the attempt does not count, and the delay is long.
        case credential
    }

    /// The result of a call, for the breakers.
    package enum CallHealth: Sendable, Equatable {
        /// APNs answered. 400, 410, 413 and 429 also count: they concern the push, not the health of APNs.
        case fine
        /// APNs answered with a server error, did not answer, or was unreachable.
        case failed
        /// The answer says nothing about APNs: the cause is the credential or the gateway.
        case void
    }

    package static func health(of answer: APNSAnswer, meaning: Meaning) -> CallHealth {
        if case .retry(_, .credential) = meaning { return .void }
        switch answer.failure {
        case .clientClosed, .overloaded, .credential, .expired: return .void
        default: break
        }
        // Refused streams count as failures: a server that refuses every stream is not usable.
        return answer.disposition == .answered && answer.status < 500 && answer.failure == .none ? .fine : .failed
    }

    package static func meaning(of answer: APNSAnswer) -> Meaning {
        // Whatever the status: the push has not reached APNs.
        if answer.failure == .notAPNs { return .retry(.notAPNs, .free) }
        return switch answer.disposition {
        case .answered: answered(answer)
        case .neverWritten, .refused: unprocessed(answer)
        case .ambiguous: .retry(code(of: answer.failure), .ambiguous)
        }
    }

    /// The meaning of an answer to a push that APNs has certainly not processed.
    private static func unprocessed(_ answer: APNSAnswer) -> Meaning {
        if answer.failure == .expired { return .settle(.expired, .expired) }
        if answer.failure == .credential { return .retry(.credentialRefused, .credential) }
        // APNs refused or closed the connection because of the credential: same meaning as that answer to the push.
        if case .retry(let code, .credential) = answered(answer), answer.reason != .none {
            return .retry(code, .credential)
        }
        // No connection was available before the deadline, so the push was not sent.
        if answer.failure == .deadlineExceeded { return .retry(.connectionTimedOut, .free) }
        return .retry(code(of: answer.failure), .free)
    }

    /// The meaning of a complete answer.
    ///
    /// `Forbidden` concerns the credential: every push of the app will be rejected until the permissions of the key or
    /// certificate change, so attempts are not counted.
    ///
    /// A refused topic concerns the push: a push may name its own topic, so the next push may succeed, and APNs would
    /// refuse this one indefinitely.
    private static func answered(_ answer: APNSAnswer) -> Meaning {
        if answer.status == 200 { return .settle(.delivered, .none) }
        switch answer.reason {
        case .badDeviceToken: return .settle(.rejected, .badDeviceToken)
        case .deviceTokenNotForTopic: return .settle(.rejected, .tokenNotForTopic)
        case .unregistered: return .settle(.rejected, .notSubscribed)
        case .expiredToken: return .settle(.rejected, .tokenExpired)
        case .payloadTooLarge: return .settle(.rejected, .payloadTooLarge)
        case .payloadEmpty: return .settle(.rejected, .payloadInvalid)
        case .badTopic, .missingTopic, .topicDisallowed: return .settle(.rejected, .topicRefused)
        case .badCollapseId, .badExpirationDate, .badMessageId, .badPriority, .duplicateHeaders, .invalidPushType,
            .missingDeviceToken, .badPath, .methodNotAllowed, .featureNotEnabled, .missingChannelId, .badChannelId,
            .channelNotRegistered, .badRequestParams, .badRequestPayload, .missingPushType,
            .cannotCreateChannelConfig:
            return .settle(.rejected, .requestRefused)
        case .badCertificate, .badCertificateEnvironment, .forbidden, .invalidProviderToken, .missingProviderToken,
            .unrelatedKeyIdInToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken, .topicMismatch:
            return .retry(.credentialRefused, .credential)
        case .expiredProviderToken: return .retry(.credentialExpired, .credential)
        case .tooManyProviderTokenUpdates: return .retry(.credentialRefused, .credential)
        case .tooManyRequests: return .retry(.frequencyExceeded, .later)
        case .internalServerError: return .retry(.apnsInternalError, .later)
        case .serviceUnavailable: return .retry(.apnsUnavailable, .later)
        case .shutdown: return .retry(.apnsShutdown, .later)
        case .idleTimeout: return .retry(.goAway, .free)
        case .none, .unknown: return byStatus(answer.status)
        }
    }

    /// The meaning of an answer without a known reason, by its status.
    private static func byStatus(_ status: UInt16) -> Meaning {
        switch status {
        case 403: .retry(.credentialRefused, .credential)
        case 410: .settle(.rejected, .notSubscribed)
        case 413: .settle(.rejected, .payloadTooLarge)
        case 429: .retry(.frequencyExceeded, .later)
        case 500, 502, 504: .retry(.apnsInternalError, .later)
        case 503: .retry(.apnsUnavailable, .later)
        case 400..<500: .settle(.rejected, .requestRefused)
        case 500..<600: .retry(.apnsInternalError, .later)
        default: .settle(.rejected, .unknownAnswer)
        }
    }

    private static func code(of failure: APNSAnswer.Failure) -> ErrorCode {
        switch failure {
        case .none, .deadlineExceeded, .expired: .unanswered
        case .connectTimeout: .connectionTimedOut
        case .connectRefused: .connectionRefused
        case .dns: .nameNotResolved
        case .tls: .tlsFailed
        case .connectionClosed, .connectionReset: .connectionLost
        case .goAway: .goAway
        case .streamRefused: .streamRefused
        case .streamReset: .streamReset
        case .notAPNs: .notAPNs
        case .pingTimeout: .heartbeatLost
        case .protocolError: .protocolViolation
        case .clientClosed: .reconnectFailed
        case .credential: .credentialRefused
        case .overloaded, .proxy: .reconnectFailed
        }
    }
}
