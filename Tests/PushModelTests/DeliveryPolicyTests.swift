import APNSWire
import PushModel
import Testing

@Suite struct `The delivery policy` {
    private let policy = DeliveryPolicy()
    private let now = WallTime(seconds: 1_790_000_000)
    private let jitters = [0, 0.001, 0.25, 0.5, 0.75, 0.999_999]
    private let healths: [UpstreamHealth] = [.unknown, .succeeding, .failing]

    private let unavailable = VerdictTable.Meaning.retry(.apnsUnavailable, .serverError)
    private let unanswered = VerdictTable.Meaning.retry(.unanswered, .ambiguous)
    private let tooMany = VerdictTable.Meaning.retry(.frequencyExceeded, .later)
    private let unsent = VerdictTable.Meaning.retry(.goAway, .free)

    private func action(
        _ meaning: VerdictTable.Meaning, health: UpstreamHealth = .unknown,
        blame: RefusalWindow.Blame = .undecided(refusals: 1), retryAfter: UInt32 = 0, attempts: UInt16 = 0,
        due: WallTime? = nil, deadline: WallTime = .distantFuture, jitter: Double = 0.5
    ) -> DeliveryPolicy.Action {
        policy.action(
            for: meaning, context: DeliveryPolicy.Context(health: health, blame: blame), retryAfter: retryAfter,
            attempts: attempts, due: due ?? now, deadline: deadline, now: now, jitter: jitter)
    }

    /// How long a retry waits.
    private func wait(_ action: DeliveryPolicy.Action) -> Duration? {
        guard case .retry(_, _, let due) = action else { return nil }
        return .milliseconds(due.milliseconds - now.milliseconds)
    }

    @Test func `a push that servers refuse again and again unprocessed waits twice as long each time`() {
        var context = DeliveryPolicy.Context(health: .succeeding)
        for (unprocessed, longest) in [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (1_000, 60)] as [(Int, Double)] {
            context.unprocessed = unprocessed
            for jitter in jitters {
                let action = policy.action(
                    for: unsent, context: context, attempts: 0, due: now, deadline: .distantFuture, now: now,
                    jitter: jitter)
                let wait = wait(action) ?? .zero
                #expect(wait >= .seconds(longest / 2) && wait <= .seconds(longest), "\(unprocessed): \(wait)")
            }
        }
        context.health = .failing
        let action = policy.action(
            for: unsent, context: context, attempts: 0, due: now, deadline: .distantFuture, now: now, jitter: 0.5)
        #expect(wait(action) == .zero, "in an outage it is not the cause")
    }

    @Test func `a delivery counts the attempt`() {
        #expect(action(.settle(.delivered, .none), attempts: 2) == .settle(.delivered, .none, attempts: 3))
    }

    @Test func `a retry waits at most the cap, after any number of attempts`() {
        for meaning in [unavailable, unanswered, tooMany, unsent] {
            for health in healths {
                let cap = meaning == unavailable && health == .succeeding ? policy.serverErrorCap : policy.retryCap
                for attempts in UInt16(0)..<policy.attemptsMax - 1 {
                    for jitter in jitters {
                        let wait = wait(action(meaning, health: health, attempts: attempts, jitter: jitter))
                        #expect(wait! >= .zero && wait! <= cap)
                    }
                }
            }
        }
    }

    @Test func `the longest wait doubles up to the cap, which is 15 minutes if others succeed`() {
        func waits(_ health: UpstreamHealth) -> [Int64] {
            (UInt16(0)..<13).map {
                (wait(action(unavailable, health: health, attempts: $0, jitter: 0.999_999_999))!.milliseconds + 1) / 500
            }
        }
        #expect(waits(.unknown) == [1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120, 120, 120])
        #expect(waits(.succeeding) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1800, 1800])
        #expect(waits(.failing).allSatisfy { $0 == 0 })
    }

    @Test func `an outage costs no attempts and gives no push a later due time`() {
        for meaning in [unavailable, unanswered, unsent] {
            for attempts in [UInt16(0), 7, policy.attemptsMax - 1] {
                let action = action(meaning, health: .failing, retryAfter: 600, attempts: attempts)
                guard case .retry(_, attempts, now) = action else {
                    Issue.record("\(meaning) \(action)")
                    continue
                }
            }
        }
        // A limit of this token is not the outage.
        #expect(
            action(tooMany, health: .failing, retryAfter: 600)
                == .retry(.frequencyExceeded, attempts: 1, due: now + .seconds(600)))
    }

    @Test func `a push that fails while others succeed is given up after the maximum number of attempts`() {
        for meaning in [unavailable, unanswered, tooMany] {
            for health in [UpstreamHealth.unknown, .succeeding] {
                guard
                    case .settle(.givenUp, _, policy.attemptsMax) =
                        action(meaning, health: health, attempts: policy.attemptsMax - 1)
                else {
                    Issue.record("\(meaning) \(health)")
                    continue
                }
            }
        }
        #expect(wait(action(unsent, attempts: policy.attemptsMax - 1)) != nil)
    }

    @Test func `a push whose next attempt would be too late is due at its deadline`() {
        let refused = VerdictTable.Meaning.refused(.credential)
        for meaning in [unavailable, unanswered, tooMany, unsent, refused] {
            for lead in [-1000, 0, 1, 100, 5000, 29_000] as [Int64] {
                for jitter in jitters {
                    let deadline = now + .milliseconds(lead)
                    switch action(meaning, retryAfter: 10, attempts: 5, deadline: deadline, jitter: jitter) {
                    case .retry(_, _, let due): #expect(lead > 0 && due <= deadline)
                    case .settle(let verdict, let code, _):
                        #expect(verdict == .expired && code != .none && code != .expired && lead <= 0)
                    }
                }
            }
        }
        #expect(
            action(unavailable, retryAfter: 60, deadline: now + .seconds(2))
                == .retry(.apnsUnavailable, attempts: 1, due: now + .seconds(2)))
    }

    @Test func `a retry waits for Retry-After, even beyond the cap`() {
        #expect(
            action(tooMany, retryAfter: 120, jitter: 0)
                == .retry(.frequencyExceeded, attempts: 1, due: now + .seconds(120)))
    }

    @Test(arguments: [UInt32(15 * 60 + 1), 86_400, .max])
    func `a Retry-After over 15 minutes counts as 15 minutes`(_ seconds: UInt32) {
        #expect(
            action(unavailable, retryAfter: seconds, jitter: 0)
                == .retry(.apnsUnavailable, attempts: 1, due: now + .seconds(900)))
    }

    @Test func `only attempts that may have reached APNs count`() {
        for (meaning, attempts) in [(unavailable, UInt16(4)), (tooMany, 4), (unanswered, 4), (unsent, 3)] {
            guard case .retry(_, attempts, _) = action(meaning, attempts: 3) else {
                Issue.record("\(meaning)")
                continue
            }
        }
    }

    @Test(arguments: RefusalKind.allCases)
    func `a refused push is rejected, or waits without an attempt`(_ kind: RefusalKind) {
        let refused = VerdictTable.Meaning.refused(kind)
        #expect(action(refused, blame: .push, attempts: 3) == .settle(.rejected, kind.rejectedCode, attempts: 4))
        #expect(action(refused, blame: .app, attempts: 60) == .retry(kind.waitingCode, attempts: 60, due: now))
        for refusals in 1...100 {
            let wait = wait(action(refused, blame: .undecided(refusals: refusals), jitter: 0))!
            #expect(wait == min(.milliseconds(500 << min(refusals - 1, 10)), policy.retryCap / 2))
        }
    }

    @Test func `the deadline is the expiration or, without one, the lifetime`() {
        func deadline(_ expiration: Int64, _ lane: Lane) -> WallTime {
            policy.deadline(expiration: expiration, due: now, lane: lane)
        }
        #expect(deadline(1_800_000_000, .bulk) == WallTime(seconds: 1_800_000_000))
        #expect(deadline(NotificationBatch.noExpiration, .normal) == now + .seconds(24 * 3600))
        #expect(deadline(NotificationBatch.noExpiration, .urgent) == now + .seconds(3600))
        for lane in Lane.allCases { #expect(deadline(0, lane) == now + .seconds(30)) }
    }

    @Test func `a push that waits for the end of an outage keeps its place`() {
        for meaning in [unavailable, unanswered, unsent] {
            #expect(wait(action(meaning, health: .failing, due: now + .seconds(-100))) == .seconds(-100))
            #expect(wait(action(meaning, health: .failing, due: now + .seconds(100))) == .zero, "the clock moved")
        }
        // The first time without an answer, the connection is at fault. A push that is unanswered again waits.
        #expect(wait(action(unanswered, due: now + .seconds(-100))) == .seconds(-100))
        #expect(wait(action(unanswered, attempts: 1, due: now + .seconds(-100)))! > .zero)
        let refused = VerdictTable.Meaning.refused(.credential)
        for (meaning, health) in [(tooMany, .failing), (refused, .failing), (unsent, .unknown)] as [(_, UpstreamHealth)]
        {
            #expect(wait(action(meaning, health: health, blame: .app, due: now + .seconds(-100)))! >= .zero)
        }
    }

    @Test func `an unanswered push with the policy drop is given up`() {
        for health in healths {
            let context = DeliveryPolicy.Context(health: health)
            func drop(_ meaning: VerdictTable.Meaning) -> DeliveryPolicy.Action {
                policy.action(
                    for: meaning, context: context, attempts: 0, ambiguity: .drop, due: now, deadline: .distantFuture,
                    now: now, jitter: 0)
            }
            #expect(drop(unanswered) == .settle(.givenUp, .droppedUnanswered, attempts: 1))
            for meaning in [unavailable, tooMany, unsent] {
                #expect(wait(drop(meaning)) != nil, "APNs answered that it did not accept the push, or did not get it")
            }
        }
    }
}
