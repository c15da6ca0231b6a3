package import APNSWire

/// Decides what becomes of a push after an attempt. Pure: the moment and the random draw come in, an action goes out.
package struct DeliveryPolicy: Sendable, Equatable {
    /// Full jitter: a retry waits a random time between zero and `base` × 2^(attempt - 1), at most `cap`.
    package var retryBase: Duration = .milliseconds(500)
    package var retryCap: Duration = .seconds(60)
    /// How long a push whose credential is refused waits before it is tried again.
    package var credentialPause: Duration = .seconds(30)
    /// How long a push without an expiration of its own is tried.
    package var lifetime: Duration = .seconds(24 * 3600)
    /// The lifetime of urgent pushes without an expiration of their own.
    package var urgentLifetime: Duration = .seconds(3600)
    /// A fuse against endless repetition; time is what bounds retries.
    package var attemptsMax: UInt16 = 50

    package init() {}

    package enum Action: Sendable, Equatable {
        case settle(Verdict, ErrorCode, attempts: UInt16)
        case retry(ErrorCode, attempts: UInt16, due: WallTime)
    }

    /// When a push may no longer be sent.
    ///
    /// `apns-expiration: 0` means "one attempt by APNs"; for us it is no deadline of its own, so the lifetime of the
    /// lane applies.
    package func deadline(expiration: Int64, acceptedAt: WallTime, notBefore: WallTime?, lane: Lane) -> WallTime {
        if expiration > 0 { return WallTime(seconds: expiration) }
        // A `notBefore` that was over when the push came is "at once", and takes nothing from its lifetime.
        return max(notBefore ?? acceptedAt, acceptedAt) + (lane == .urgent ? urgentLifetime : lifetime)
    }

    /// What follows from `answer`.
    ///
    /// - Parameters:
    ///   - attempts: attempts before this one that may have reached APNs.
    ///   - deadline: from `deadline(expiration:…)`.
    ///   - draw: 0..<1, uniformly random; pushes of one batch share it so that they stay together.
    package func action(
        after answer: APNSAnswer, attempts: UInt16, ambiguity: AmbiguityPolicy = .resend, deadline: WallTime,
        now: WallTime, draw: Double
    ) -> Action {
        action(
            for: VerdictTable.meaning(of: answer), retryAfter: answer.retryAfterSeconds, attempts: attempts,
            ambiguity: ambiguity, deadline: deadline, now: now, draw: draw
        )
    }

    /// The same, for an answer whose meaning is known.
    ///
    /// - Parameter retryAfter: what the answer asks for, in seconds.
    package func action(
        for meaning: VerdictTable.Meaning, retryAfter: UInt32, attempts: UInt16, ambiguity: AmbiguityPolicy,
        deadline: WallTime, now: WallTime, draw: Double
    ) -> Action {
        switch meaning {
        case .settle(.expired, let code):
            // It was not sent.
            return .settle(.expired, code, attempts: attempts)
        case .settle(let verdict, let code):
            return .settle(verdict, code, attempts: attempts + 1)
        case .retry(_, .ambiguous) where ambiguity == .drop:
            return .settle(.givenUp, .droppedUnanswered, attempts: attempts + 1)
        case .retry(let code, let retryClass):
            let counts = retryClass == .ambiguous || retryClass == .later
            let attempts = counts ? attempts + 1 : attempts
            guard attempts < attemptsMax else { return .settle(.givenUp, code, attempts: attempts) }
            let due = now + max(wait(retryClass, attempts: attempts, draw: draw), .seconds(Int64(retryAfter)))
            guard due < deadline else { return .settle(.expired, code, attempts: attempts) }
            return .retry(code, attempts: attempts, due: due)
        }
    }

    private func wait(_ retryClass: VerdictTable.RetryClass, attempts: UInt16, draw: Double) -> Duration {
        switch retryClass {
        case .credential: return credentialPause * (0.5 + draw / 2)
        case .free: return retryBase * draw
        case .ambiguous, .later:
            let doublings = min(Int(attempts) - 1, 20)
            return min(retryCap, retryBase * Double(1 << max(doublings, 0))) * draw
        }
    }
}
