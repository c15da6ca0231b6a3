package import APNSWire

/// What each APNs answer means for a push. The only place that maps answers to verdicts.
package enum VerdictTable {
    /// The next step for the push.
    package enum Meaning: Sendable, Equatable {
        case settle(Verdict, ErrorCode)
        case retry(ErrorCode, RetryClass)
        /// The push or its app is at fault; other answers of the app show which (`RefusalWindow`).
        case refused(RefusalKind)

        package var code: ErrorCode {
            switch self {
            case .settle(_, let code), .retry(let code, _): code
            case .refused(let kind): kind.waitingCode
            }
        }
    }

    /// Whether an attempt counts, and how long the retry waits.
    package enum RetryClass: Sendable, Equatable {
        /// APNs has certainly not processed the push: the attempt does not count.
        case free
        /// APNs may have processed the push: the attempt counts, unless the upstream is failing.
        case ambiguous
        /// APNs asks for a delay of this push: the attempt counts.
        case later
        /// The endpoint is at fault: a server error, or the server is not APNs. The attempt counts, unless the upstream
        /// is failing.
        case serverError
    }

    /// The result of a call, for the breakers.
    package enum CallHealth: Sendable, Equatable {
        /// APNs answered. A refusal also counts: it shows that APNs works.
        case fine
        /// APNs answered with a server error, did not answer this push, or is not APNs.
        case failed
        /// There was no connection, or it was lost: one failure for all of its pushes.
        case lost
        /// The attempt says nothing about APNs: the cause is in the gateway, or the credential.
        case void
    }

    package static func health(of answer: APNSAnswer, meaning: Meaning) -> CallHealth {
        switch answer.failure {
        case .notAPNs: return .failed
        case .clientClosed, .overloaded, .credential, .expired, .cancelled: return .void
        default: break
        }
        if answer.disposition == .answered {
            if case .retry(_, .serverError) = meaning { return .failed }
            return .fine
        }
        if case .refused = meaning { return .void }
        switch answer.failure {
        // Refused streams count as failures: a server that refuses every stream is not usable.
        case .streamRefused, .streamReset, .none: return .failed
        case .deadlineExceeded: return answer.disposition == .neverWritten ? .lost : .failed
        default: return .lost
        }
    }

    /// Whether the topic of the push is refused. Then `meaning` depends on who chose it.
    package static func concernsTopic(_ answer: APNSAnswer) -> Bool {
        switch answer.reason {
        case .badTopic, .missingTopic, .topicDisallowed: answer.disposition == .answered
        default: false
        }
    }

    /// - Parameter isOwnTopic: whether the gateway derived the topic from the app's bundle ID. Otherwise the caller
    ///   named it, and the next push may name another one.
    package static func meaning(of answer: APNSAnswer, isOwnTopic: Bool = false) -> Meaning {
        if isOwnTopic, concernsTopic(answer) { return .refused(.ownTopic) }
        // A success that is not one of APNs may come from a proxy that changed APNs' answer.
        if isOfOtherServer(answer) {
            return .retry(.notAPNs, (200..<300).contains(answer.status) ? .ambiguous : .serverError)
        }
        return switch answer.disposition {
        case .answered: answered(answer)
        case .neverWritten, .refused: unprocessed(answer)
        case .ambiguous: .retry(code(of: answer.failure), .ambiguous)
        }
    }

    /// Whether the answer is not one of APNs, for example of a proxy or a captive portal: APNs gives a reason with
    /// every status but 200, and none of these statuses. A server error without a reason is treated like one with.
    private static func isOfOtherServer(_ answer: APNSAnswer) -> Bool {
        if answer.failure == .notAPNs { return true }
        guard answer.disposition == .answered, answer.status != 200 else { return false }
        switch answer.reason {
        case .none: return !(500..<600).contains(answer.status)
        case .unknown: return !(400..<600).contains(answer.status) || [407, 408, 421, 425].contains(answer.status)
        default: return false
        }
    }

    /// The meaning of an answer to a push that APNs has certainly not processed.
    private static func unprocessed(_ answer: APNSAnswer) -> Meaning {
        if answer.failure == .expired { return .settle(.expired, .expired) }
        if answer.failure == .credential { return .refused(.credential) }
        // APNs refused or closed the connection because of the credential.
        if answer.reason != .none, case .refused(let kind) = answered(answer) {
            return .refused(kind == .permission ? .credential : kind)
        }
        // No connection was available before the deadline, so the push was not sent.
        if answer.failure == .deadlineExceeded { return .retry(.connectionTimedOut, .free) }
        return .retry(code(of: answer.failure), .free)
    }

    /// The meaning of a complete answer.
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
        case .badCertificate, .badCertificateEnvironment, .invalidProviderToken, .missingProviderToken,
            .unrelatedKeyIdInToken, .badEnvironmentKeyIdInToken, .badEnvironmentKeyInToken, .topicMismatch:
            return .refused(.credential)
        case .expiredProviderToken: return .refused(.expiredToken)
        case .tooManyProviderTokenUpdates: return .refused(.tokenUpdates)
        case .forbidden: return .refused(.permission)
        case .tooManyRequests: return .retry(.frequencyExceeded, .later)
        case .internalServerError: return .retry(.apnsInternalError, .serverError)
        case .serviceUnavailable: return .retry(.apnsUnavailable, .serverError)
        case .shutdown: return .retry(.apnsShutdown, .serverError)
        case .idleTimeout: return .retry(.goAway, .free)
        case .none, .unknown: return byStatus(answer.status)
        }
    }

    /// The meaning of an answer without a known reason, by its status.
    private static func byStatus(_ status: UInt16) -> Meaning {
        switch status {
        case 403: .refused(.permission)
        case 410: .settle(.rejected, .notSubscribed)
        case 413: .settle(.rejected, .payloadTooLarge)
        case 429: .retry(.frequencyExceeded, .later)
        case 503: .retry(.apnsUnavailable, .serverError)
        case 400..<500: .settle(.rejected, .requestRefused)
        default: .retry(.apnsInternalError, .serverError)
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
        case .clientClosed, .cancelled: .reconnectFailed
        case .credential: .credentialRefused
        case .overloaded, .proxy: .reconnectFailed
        }
    }
}
