/// Decides whether a push is settled or retried after an attempt. Pure: the caller passes the time and the random
/// sample.
package struct DeliveryPolicy: Sendable, Equatable {
    /// Full jitter: a retry waits a random time between zero and `retryBase` × 2^(attempt - 1), at most `retryCap`.
    package var retryBase: Duration = .milliseconds(500)
    package var retryCap: Duration = .seconds(60)
    /// The same limit for a push that gets server errors while others succeed. Apple: 5xx may be retried after 15
    /// minutes.
    package var serverErrorCap: Duration = .seconds(15 * 60)
    /// The longest `Retry-After` that is obeyed; a longer one counts as this.
    package var retryAfterMax: Duration = .seconds(15 * 60)
    /// The longest wait of a push that was refused once, if it is undecided whether it or its app is at fault; it
    /// doubles with each refusal, up to `retryCap`. The shortest is half of it.
    package var refusalPause: Duration = .seconds(1)
    /// How long a push without an expiration is retried.
    package var lifetime: Duration = .seconds(24 * 3600)
    /// How long an urgent push without an expiration is retried.
    package var urgentLifetime: Duration = .seconds(3600)
    /// How long a push with the expiration 0 is retried: APNs does not store it, so it is useless later.
    package var immediateLifetime: Duration = .seconds(30)
    /// A safety limit for pushes that fail while others succeed. Retries normally end by time.
    package var attemptsMax: UInt16 = 50

    package init() {}

    package enum Action: Sendable, Equatable {
        case settle(Verdict, ErrorCode, attempts: UInt16)
        /// Due immediately if the app's pushes wait: then nothing is claimed before. If the upstream is failing, or
        /// has not answered once, due when the push was due at first: it keeps its place before the pushes that were
        /// accepted later.
        case retry(ErrorCode, attempts: UInt16, due: WallTime)
    }

    /// What other answers show about the cause of a failure.
    package struct Context: Sendable, Equatable {
        package var health: UpstreamHealth
        /// Used for refusals only.
        package var blame: RefusalWindow.Blame
        /// How often servers have refused the push unprocessed, after all resends of the client, this time included.
        package var unprocessed = 0

        package init(health: UpstreamHealth = .unknown, blame: RefusalWindow.Blame = .undecided(refusals: 1)) {
            self.health = health
            self.blame = blame
        }
    }

    /// The time from which a push may no longer be sent.
    ///
    /// `apns-expiration: 0` limits APNs to one attempt. It does not limit the number of the gateway's retries, but
    /// their time.
    ///
    /// - Parameter due: the earliest time at which the push could be sent, from which a lifetime counts.
    package func deadline(expiration: Int64, due: WallTime, lane: Lane) -> WallTime {
        if expiration > 0 { return WallTime(seconds: expiration) }
        if expiration == 0 { return due + immediateLifetime }
        return due + (lane == .urgent ? urgentLifetime : lifetime)
    }

    /// The action after an answer whose meaning is known.
    ///
    /// - Parameters:
    ///   - retryAfter: `Retry-After` of the answer, in seconds; 0 without one.
    ///   - attempts: attempts before this one that count.
    ///   - due: when the push was due at first.
    ///   - deadline: the result of `deadline(expiration:due:lane:)`.
    ///   - jitter: a uniform random sample in 0..<1. Pushes of one batch share it, so that they stay together.
    package func action(
        for meaning: VerdictTable.Meaning, context: Context = Context(), retryAfter: UInt32 = 0, attempts: UInt16,
        ambiguity: AmbiguityPolicy = .resend, due: WallTime, deadline: WallTime, now: WallTime, jitter: Double
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
            let isCounted =
                switch retryClass {
                case .free: false
                case .later: true
                case .ambiguous, .serverError: context.health != .failing
                }
            let attempts = isCounted ? attempts + 1 : attempts
            guard attempts < attemptsMax else { return .settle(.givenUp, code, attempts: attempts) }
            let isWaiting = context.health == .failing && retryClass != .later
            // A connection that is lost, or does not answer, is at fault for all of its pushes. A push that causes that
            // itself waits from the second time on.
            let isOfConnection = retryClass == .ambiguous && attempts <= 1
            if isWaiting || isOfConnection {
                return retry(code, attempts: attempts, due: min(due, now), deadline: deadline, now: now)
            }
            let requested = min(.seconds(Int64(retryAfter)), retryAfterMax)
            let pause = max(delay(retryClass, attempts: attempts, context: context, jitter: jitter), requested)
            return retry(code, attempts: attempts, due: now + pause, deadline: deadline, now: now)
        case .refused(let kind):
            let pause: Duration
            switch context.blame {
            case .push: return .settle(.rejected, kind.rejectedCode, attempts: attempts + 1)
            case .app: pause = .zero
            case .undecided(let refusals):
                pause = Self.doubled(refusalPause, refusals, cap: retryCap) * (0.5 + jitter / 2)
            }
            return retry(kind.waitingCode, attempts: attempts, due: now + pause, deadline: deadline, now: now)
        }
    }

    /// A push whose next attempt would be too late is due at its deadline: then it is settled as expired.
    private func retry(
        _ code: ErrorCode, attempts: UInt16, due: WallTime, deadline: WallTime, now: WallTime
    ) -> Action {
        guard now < deadline else { return .settle(.expired, code, attempts: attempts) }
        return .retry(code, attempts: attempts, due: min(due, deadline))
    }

    private func delay(
        _ retryClass: VerdictTable.RetryClass, attempts: UInt16, context: Context, jitter: Double
    ) -> Duration {
        switch retryClass {
        // The push itself may be the cause, and each of its sends may end connections that others use.
        case .free where context.unprocessed > 0:
            return Self.doubled(retryBase, context.unprocessed, cap: retryCap) * (0.5 + jitter / 2)
        case .free: return retryBase * jitter
        case .ambiguous, .later: return Self.doubled(retryBase, Int(attempts), cap: retryCap) * jitter
        case .serverError:
            let cap = context.health == .succeeding ? max(retryCap, serverErrorCap) : retryCap
            return Self.doubled(retryBase, Int(attempts), cap: cap) * jitter
        }
    }

    /// `base` × 2^(count - 1), at most `cap`.
    private static func doubled(_ base: Duration, _ count: Int, cap: Duration) -> Duration {
        min(cap, base * Double(1 << min(max(count - 1, 0), 20)))
    }
}
