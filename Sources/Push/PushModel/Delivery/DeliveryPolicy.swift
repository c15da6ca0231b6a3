package import APNSWire

/// Decides whether a push is settled or retried after an attempt. Pure: the caller passes the time and the random
/// sample.
package struct DeliveryPolicy: Sendable, Equatable {
    /// Full jitter: a retry waits a random time between zero and `retryBase` × 2^(attempt - 1), at most `retryCap`.
    package var retryBase: Duration = .milliseconds(500)
    package var retryCap: Duration = .seconds(60)
    /// The longest `Retry-After` that is obeyed; a longer one counts as this.
    package var retryAfterMax: Duration = .seconds(15 * 60)
    /// The longest wait for a retry after APNs refused the credential; the shortest is half of it.
    package var credentialPause: Duration = .seconds(30)
    /// How long a push without an expiration is retried.
    package var lifetime: Duration = .seconds(24 * 3600)
    /// How long an urgent push without an expiration is retried.
    package var urgentLifetime: Duration = .seconds(3600)
    /// A safety limit. Retries normally end by time.
    package var attemptsMax: UInt16 = 50

    package init() {}

    package enum Action: Sendable, Equatable {
        case settle(Verdict, ErrorCode, attempts: UInt16)
        case retry(ErrorCode, attempts: UInt16, due: WallTime)
    }

    /// The time from which a push may no longer be sent.
    ///
    /// `apns-expiration: 0` limits APNs to one attempt. It does not limit the gateway's retries, so the lifetime of the
    /// lane applies.
    package func deadline(expiration: Int64, acceptedAt: WallTime, notBefore: WallTime?, lane: Lane) -> WallTime {
        if expiration > 0 { return WallTime(seconds: expiration) }
        // A `notBefore` in the past means "now" and does not shorten the lifetime.
        return max(notBefore ?? acceptedAt, acceptedAt) + (lane == .urgent ? urgentLifetime : lifetime)
    }

    /// The action after `answer`.
    ///
    /// - Parameters:
    ///   - attempts: attempts before this one that may have reached APNs.
    ///   - deadline: the result of `deadline(expiration:acceptedAt:notBefore:lane:)`.
    ///   - jitter: a uniform random sample in 0..<1. Pushes of one batch share it, so that they stay together.
    package func action(
        after answer: APNSAnswer, attempts: UInt16, ambiguity: AmbiguityPolicy = .resend, deadline: WallTime,
        now: WallTime, jitter: Double
    ) -> Action {
        action(
            for: VerdictTable.meaning(of: answer), retryAfter: answer.retryAfterSeconds, attempts: attempts,
            ambiguity: ambiguity, deadline: deadline, now: now, jitter: jitter
        )
    }

    /// The action after an answer whose meaning is known.
    ///
    /// - Parameter retryAfter: `Retry-After` of the answer, in seconds; 0 without one.
    package func action(
        for meaning: VerdictTable.Meaning, retryAfter: UInt32, attempts: UInt16, ambiguity: AmbiguityPolicy,
        deadline: WallTime, now: WallTime, jitter: Double
    ) -> Action {
        switch meaning {
        case .settle(.expired, let code):
            // The push was not sent, so the attempt does not count.
            return .settle(.expired, code, attempts: attempts)
        case .settle(let verdict, let code):
            return .settle(verdict, code, attempts: attempts + 1)
        case .retry(_, .ambiguous) where ambiguity == .drop:
            return .settle(.givenUp, .droppedUnanswered, attempts: attempts + 1)
        case .retry(let code, let retryClass):
            let counts = retryClass == .ambiguous || retryClass == .later
            let attempts = counts ? attempts + 1 : attempts
            guard attempts < attemptsMax else { return .settle(.givenUp, code, attempts: attempts) }
            let requested = min(.seconds(Int64(retryAfter)), retryAfterMax)
            let due = now + max(delay(retryClass, attempts: attempts, jitter: jitter), requested)
            guard due < deadline else { return .settle(.expired, code, attempts: attempts) }
            return .retry(code, attempts: attempts, due: due)
        }
    }

    private func delay(_ retryClass: VerdictTable.RetryClass, attempts: UInt16, jitter: Double) -> Duration {
        switch retryClass {
        case .credential: return credentialPause * (0.5 + jitter / 2)
        case .free: return retryBase * jitter
        case .ambiguous, .later:
            let doublings = min(Int(attempts) - 1, 20)
            return min(retryCap, retryBase * Double(1 << max(doublings, 0))) * jitter
        }
    }
}
