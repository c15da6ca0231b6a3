import APNSWire
import PushModel
import Testing

@Suite struct `The verdict table` {
    /// Every HTTP status.
    private static let statuses: [UInt16] = Array(100...599)

    private func meaning(_ status: UInt16, _ reason: APNSReason) -> VerdictTable.Meaning {
        VerdictTable.meaning(of: APNSAnswer(disposition: .answered, status: status, reason: reason))
    }

    @Test func `200 and only 200 is a delivery`() {
        for status in Self.statuses {
            for reason in APNSReason.allCases {
                let isDelivery = meaning(status, reason) == .settle(.delivered, .none)
                #expect(isDelivery == (status == 200), "\(status) \(reason)")
            }
        }
    }

    @Test func `every other answer has an error code whose isRetried matches its meaning`() {
        for status in Self.statuses where status != 200 {
            for reason in APNSReason.allCases {
                switch meaning(status, reason) {
                case .settle(let verdict, let code):
                    #expect(verdict == .rejected, "\(status) \(reason)")
                    #expect(code != .none && !code.entry.isRetried, "\(status) \(reason)")
                case .retry(let code, _):
                    #expect(code != .none && code.entry.isRetried, "\(status) \(reason)")
                }
            }
        }
    }

    @Test func `a documented reason has the same meaning with any status`() {
        for reason in APNSReason.allCases {
            guard let status = reason.status else { continue }
            let expected = meaning(status, reason)
            for other in Self.statuses where other != 200 { #expect(meaning(other, reason) == expected) }
        }
    }

    @Test func `a temporary error at APNs is retried later, and the attempt counts`() {
        let temporary: [APNSReason] = [.tooManyRequests, .internalServerError, .serviceUnavailable, .shutdown]
        for reason in temporary {
            guard case .retry(_, .later) = meaning(reason.status!, reason) else {
                Issue.record("\(reason)")
                continue
            }
        }
    }

    @Test func `a refused credential settles no push`() {
        for reason in APNSReason.allCases where reason.status == 403 {
            guard case .retry(_, .credential) = meaning(403, reason) else {
                Issue.record("\(reason)")
                continue
            }
        }
        #expect(meaning(429, .tooManyProviderTokenUpdates) == .retry(.credentialRefused, .credential))
        #expect(meaning(403, .unknown) == .retry(.credentialRefused, .credential))
    }

    @Test func `a refusal of the push itself is final`() {
        for reason in APNSReason.allCases
        where [400, 404, 405, 410, 413].contains(reason.status) && reason != .idleTimeout {
            guard case .settle(.rejected, _) = meaning(reason.status!, reason) else {
                Issue.record("\(reason)")
                continue
            }
        }
        #expect(meaning(410, .unregistered) == .settle(.rejected, .notSubscribed))
        #expect(meaning(410, .expiredToken) == .settle(.rejected, .tokenExpired))
    }

    @Test(arguments: [APNSReason.none, .unknown])
    func `without a known reason the status decides`(reason: APNSReason) {
        for status in Self.statuses where status != 200 {
            switch (status, meaning(status, reason)) {
            case (403, .retry(.credentialRefused, .credential)): break
            case (429, .retry(.frequencyExceeded, .later)): break
            case (500...599, .retry(_, .later)): break
            case (400...499, .settle(.rejected, _)) where status != 403 && status != 429: break
            case (100..<400, .settle(.rejected, .unknownAnswer)): break
            default: Issue.record("\(status)")
            }
        }
    }

    @Test func `an unanswered push is retried, and the attempt counts only if APNs may have received it`() {
        for failure in APNSAnswer.Failure.allCases where failure != .expired {
            for disposition in [APNSAnswer.Disposition.neverWritten, .refused, .ambiguous] {
                guard case .retry(let code, let retryClass) = VerdictTable.meaning(of: .failed(failure, disposition))
                else {
                    Issue.record("\(failure) \(disposition)")
                    continue
                }
                #expect(code != .none && code.entry.isRetried)
                switch disposition {
                case .ambiguous: #expect(retryClass == .ambiguous)
                default: #expect(retryClass == (failure == .credential ? .credential : .free))
                }
            }
        }
    }

    @Test func `a push that expired before it was sent is settled as expired without an attempt`() {
        let answer = APNSAnswer.failed(.expired, .neverWritten)
        #expect(VerdictTable.meaning(of: answer) == .settle(.expired, .expired))
        let now = WallTime(seconds: 1_790_000_000)
        let action = DeliveryPolicy().action(
            after: answer, attempts: 2, deadline: now + .seconds(60), now: now, jitter: 0.5
        )
        #expect(action == .settle(.expired, .expired, attempts: 2))
    }

    @Test func `a refusal of the push does not count as a failure of APNs`() {
        func health(_ answer: APNSAnswer) -> VerdictTable.CallHealth {
            VerdictTable.health(of: answer, meaning: VerdictTable.meaning(of: answer))
        }
        for status in Self.statuses {
            for reason in APNSReason.allCases where reason.status == status || reason == .unknown {
                let isCredentials = status == 403 || reason == .tooManyProviderTokenUpdates
                let expected: VerdictTable.CallHealth = isCredentials ? .void : status >= 500 ? .failed : .fine
                #expect(
                    health(APNSAnswer(disposition: .answered, status: status, reason: reason)) == expected,
                    "\(status) \(reason)"
                )
            }
        }
        for failure in APNSAnswer.Failure.allCases {
            for disposition in [APNSAnswer.Disposition.neverWritten, .refused, .ambiguous] {
                let isOurs = [.clientClosed, .overloaded, .credential, .expired].contains(failure)
                #expect(
                    health(.failed(failure, disposition)) == (isOurs ? .void : .failed), "\(failure) \(disposition)")
            }
        }
    }

    @Test func `an unsent push gets the reason that prevented the attempt`() {
        let refused = APNSAnswer(disposition: .neverWritten, reason: .badCertificate, failure: .goAway)
        #expect(VerdictTable.meaning(of: refused) == .retry(.credentialRefused, .credential))
        let shut = APNSAnswer(disposition: .refused, reason: .shutdown, failure: .goAway)
        #expect(VerdictTable.meaning(of: shut) == .retry(.goAway, .free))
        // The push was not sent, so it cannot be unanswered.
        let late = APNSAnswer.failed(.deadlineExceeded, .neverWritten)
        #expect(VerdictTable.meaning(of: late) == .retry(.connectionTimedOut, .free))
    }
}
