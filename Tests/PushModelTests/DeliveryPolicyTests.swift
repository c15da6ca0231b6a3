import APNSWire
import PushModel
import Testing

@Suite struct `The delivery policy` {
    private let policy = DeliveryPolicy()
    private let now = WallTime(seconds: 1_790_000_000)
    private let jitters = [0, 0.001, 0.25, 0.5, 0.75, 0.999_999]

    /// One answer of each kind that leads to a retry.
    private let retried: [APNSAnswer] = [
        APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable),
        APNSAnswer(disposition: .answered, status: 429, reason: .tooManyRequests),
        APNSAnswer(disposition: .answered, status: 403, reason: .invalidProviderToken),
        .failed(.connectionReset, .ambiguous), .failed(.goAway, .refused), .failed(.dns, .neverWritten),
        .failed(.credential, .neverWritten),
    ]

    @Test func `a delivery counts the attempt`() {
        let action = policy.action(after: .accepted, attempts: 2, deadline: now + .seconds(1), now: now, jitter: 0.5)
        #expect(action == .settle(.delivered, .none, attempts: 3))
    }

    @Test func `a retry waits at most the cap, after any number of attempts`() {
        for answer in retried {
            for attempts in UInt16(0)..<policy.attemptsMax {
                for jitter in jitters {
                    let action = policy.action(
                        after: answer, attempts: attempts, deadline: .distantFuture, now: now, jitter: jitter
                    )
                    guard case .retry(_, _, let due) = action else { continue }
                    #expect(due >= now && due <= now + policy.retryCap)
                }
            }
        }
    }

    @Test func `the longest wait doubles up to the cap`() {
        let answer = APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable)
        var waits: [Int64] = []
        for attempts in UInt16(0)..<10 {
            let action = policy.action(
                after: answer, attempts: attempts, deadline: .distantFuture, now: now, jitter: 0.999_999_999
            )
            guard case .retry(_, _, let due) = action else { continue }
            waits.append((due.milliseconds - now.milliseconds + 1) / 500)
        }
        #expect(waits == [1, 2, 4, 8, 16, 32, 64, 120, 120, 120])
    }

    @Test func `no retry is due at or after the deadline`() {
        for answer in retried {
            for lead in [-1000, 0, 1, 100, 5000, 29_000] as [Int64] {
                for jitter in jitters {
                    let deadline = now + .milliseconds(lead)
                    let action = policy.action(after: answer, attempts: 5, deadline: deadline, now: now, jitter: jitter)
                    switch action {
                    case .retry(_, _, let due): #expect(due < deadline)
                    case .settle(let verdict, let code, _): #expect(verdict == .expired && code != .none)
                    }
                }
            }
        }
    }

    @Test func `a retry waits for Retry-After, even beyond the cap`() {
        var answer = APNSAnswer(disposition: .answered, status: 429, reason: .tooManyRequests)
        answer.retryAfterSeconds = 120
        let action = policy.action(after: answer, attempts: 0, deadline: .distantFuture, now: now, jitter: 0)
        #expect(action == .retry(.frequencyExceeded, attempts: 1, due: now + .seconds(120)))
    }

    @Test(arguments: [UInt32(15 * 60 + 1), 86_400, .max])
    func `a Retry-After over 15 minutes counts as 15 minutes`(_ seconds: UInt32) {
        let answer = APNSAnswer(
            disposition: .answered, status: 503, reason: .serviceUnavailable, retryAfterSeconds: seconds)
        let action = policy.action(after: answer, attempts: 0, deadline: now + .seconds(3600), now: now, jitter: 0)
        #expect(action == .retry(.apnsUnavailable, attempts: 1, due: now + .seconds(900)))
    }

    @Test func `only attempts that may have reached APNs count`() {
        for answer in retried {
            let action = policy.action(after: answer, attempts: 3, deadline: .distantFuture, now: now, jitter: 0.5)
            guard case .retry(_, let attempts, _) = action else {
                Issue.record("\(answer)")
                continue
            }
            let reached = answer.disposition == .ambiguous || (answer.status != 0 && answer.status != 403)
            #expect(attempts == (reached ? 4 : 3), "\(answer)")
        }
    }

    @Test func `a push is given up after the maximum number of attempts`() {
        let answer = APNSAnswer(disposition: .answered, status: 500, reason: .internalServerError)
        let last = policy.attemptsMax - 1
        let action = policy.action(after: answer, attempts: last, deadline: .distantFuture, now: now, jitter: 0)
        #expect(action == .settle(.givenUp, .apnsInternalError, attempts: policy.attemptsMax))
    }

    @Test func `a retry after a refused credential waits at least half of the pause`() {
        let answer = APNSAnswer(disposition: .answered, status: 403, reason: .invalidProviderToken)
        let action = policy.action(after: answer, attempts: 0, deadline: .distantFuture, now: now, jitter: 0)
        #expect(action == .retry(.credentialRefused, attempts: 0, due: now + .seconds(15)))
    }

    @Test func `the deadline is the expiration or, without one, the lifetime of the lane`() {
        func deadline(_ expiration: Int64, _ notBefore: WallTime?, _ lane: Lane) -> WallTime {
            policy.deadline(expiration: expiration, acceptedAt: now, notBefore: notBefore, lane: lane)
        }
        #expect(deadline(1_800_000_000, nil, .bulk) == WallTime(seconds: 1_800_000_000))
        #expect(deadline(NotificationBatch.noExpiration, nil, .normal) == now + policy.lifetime)
        #expect(deadline(0, nil, .urgent) == now + policy.urgentLifetime)
        #expect(deadline(0, now + .seconds(60), .bulk) == now + .seconds(60) + policy.lifetime)
        // A `notBefore` in the past: sent immediately, with the full lifetime.
        #expect(deadline(0, now + .seconds(-7200), .urgent) == now + policy.urgentLifetime)
    }

    @Test func `an unanswered push with the policy drop is given up`() {
        for failure in APNSAnswer.Failure.allCases {
            for (disposition, isDropped) in [
                (APNSAnswer.Disposition.ambiguous, true), (.neverWritten, false), (.refused, false),
            ] {
                let action = policy.action(
                    after: .failed(failure, disposition), attempts: 0, ambiguity: .drop, deadline: .distantFuture,
                    now: now,
                    jitter: 0.5
                )
                #expect(
                    (action == .settle(.givenUp, .droppedUnanswered, attempts: 1)) == isDropped,
                    "\(failure) \(disposition)"
                )
            }
        }
        let answered = APNSAnswer(disposition: .answered, status: 503, reason: .serviceUnavailable)
        let action = policy.action(
            after: answered, attempts: 0, ambiguity: .drop, deadline: .distantFuture, now: now, jitter: 0
        )
        #expect(
            action == .retry(.apnsUnavailable, attempts: 1, due: now), "APNs answered that it did not accept the push")
    }
}
