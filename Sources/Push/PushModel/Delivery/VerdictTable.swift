package import APNSWire

/// What an answer means for a push: the one table that outcome goes by.
package enum VerdictTable {
    /// What happens to the push next.
    package enum Meaning: Sendable, Equatable {
        case settle(Verdict, ErrorCode)
        case retry(ErrorCode, RetryClass)
    }

    /// How a retry counts and how long it waits.
    package enum RetryClass: Sendable, Equatable {
        /// Certainly not processed: does not count as an attempt.
        case free
        /// May have been processed: counts.
        case ambiguous
        /// APNs answered and asks for time: counts.
        case later
        /// The app's credential is at fault, not the push: does not count, waits long.
        case credential
    }

    /// How a call went, for the breakers.
    package enum CallHealth: Sendable, Equatable {
        /// APNs answered, whatever it said of the push: 400, 410, 413 and 429 are about the push, not about APNs.
        case fine
        /// APNs answered with an error of its own, did not answer, or could not be reached.
        case failed
        /// It says nothing about APNs: the fault is the credential's or our own.
        case void
    }

    package static func health(of answer: APNSAnswer, meaning: Meaning) -> CallHealth {
        if case .retry(_, .credential) = meaning { return .void }
        switch answer.failure {
        case .clientClosed, .overloaded, .credential, .expired: return .void
        default: break
        }
        // A server that refuses every stream is of no more use than one that is silent.
        return answer.disposition == .answered && answer.status < 500 ? .fine : .failed
    }

    package static func meaning(of answer: APNSAnswer) -> Meaning {
        switch answer.disposition {
        case .answered: answered(answer)
        case .neverWritten, .refused: unprocessed(answer)
        case .ambiguous: .retry(code(of: answer.failure), .ambiguous)
        }
    }

    /// APNs certainly has not got it; what stood in the way.
    private static func unprocessed(_ answer: APNSAnswer) -> Meaning {
        if answer.failure == .expired { return .settle(.expired, .expired) }
        if answer.failure == .credential { return .retry(.credentialRefused, .credential) }
        // APNs ended the connection, or let none be made, because of the credential: as if it had answered so.
        if case .retry(let code, .credential) = answered(answer), answer.reason != .none {
            return .retry(code, .credential)
        }
        // No connection took it in its time: nothing was sent that could have been left unanswered.
        if answer.failure == .deadlineExceeded { return .retry(.connectionTimedOut, .free) }
        return .retry(code(of: answer.failure), .free)
    }

    /// `Forbidden` is the credential's fault: the key or certificate is not allowed to do this, so every push of the app
    /// fares alike until somebody changes it at Apple's, and none should be burnt meanwhile.
    ///
    /// The refusals of a topic are not: a push may name a topic of its own, so one bad topic says nothing about the next
    /// push, and APNs would refuse this one again for ever.
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

    /// An answer without a reason we know is judged by its status class.
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
        case .pingTimeout: .heartbeatLost
        case .protocolError: .protocolViolation
        case .clientClosed: .reconnectFailed
        case .credential: .credentialRefused
        case .overloaded, .proxy: .reconnectFailed
        }
    }
}
