import APNSWire
import PushModel
import Testing

@Suite struct `The verdict table` {
    /// Every HTTP status.
    private static let statuses: [UInt16] = Array(100...599)
    private static let unanswered: [APNSAnswer.Disposition] = [.neverWritten, .refused, .ambiguous]

    private func meaning(_ status: UInt16, _ reason: APNSReason, isOwnTopic: Bool = false) -> VerdictTable.Meaning {
        VerdictTable.meaning(
            of: APNSAnswer(disposition: .answered, status: status, reason: reason), isOwnTopic: isOwnTopic)
    }

    private func health(_ answer: APNSAnswer) -> VerdictTable.CallHealth {
        VerdictTable.health(of: answer, meaning: VerdictTable.meaning(of: answer))
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
                case .refused(let kind):
                    #expect(kind.waitingCode.entry.isRetried && !kind.rejectedCode.entry.isRetried, "\(kind)")
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

    @Test func `a server error is retried, and so is a limit of one token`() {
        for reason in [APNSReason.internalServerError, .serviceUnavailable, .shutdown] {
            guard case .retry(_, .serverError) = meaning(reason.status!, reason) else {
                Issue.record("\(reason)")
                continue
            }
        }
        #expect(meaning(429, .tooManyRequests) == .retry(.frequencyExceeded, .later))
    }

    @Test func `a 403 is the fault of the credential or, for Forbidden and unknown reasons, of the push`() {
        for reason in APNSReason.allCases where reason.status == 403 {
            let expected: RefusalKind =
                switch reason {
                case .forbidden: .permission
                case .expiredProviderToken: .expiredToken
                default: .credential
                }
            #expect(meaning(403, reason) == .refused(expected), "\(reason)")
        }
        #expect(meaning(403, .unknown) == .refused(.permission))
        #expect(meaning(429, .tooManyProviderTokenUpdates) == .refused(.tokenUpdates))
    }

    @Test(arguments: [APNSReason.badTopic, .missingTopic, .topicDisallowed])
    func `a refused topic is the fault of the push if the caller named it`(_ reason: APNSReason) {
        #expect(meaning(400, reason) == .settle(.rejected, .topicRefused))
        #expect(meaning(400, reason, isOwnTopic: true) == .refused(.ownTopic))
        for other in APNSReason.allCases
        where ![.badTopic, .missingTopic, .topicDisallowed].contains(other) {
            #expect(meaning(400, other, isOwnTopic: true) == meaning(400, other), "\(other)")
        }
        #expect(meaning(200, .none, isOwnTopic: true) == .settle(.delivered, .none))
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

    @Test func `an unknown reason is rejected by status`() {
        let others: [UInt16] = [407, 408, 421, 425]
        for status in Self.statuses where status != 200 {
            switch (status, meaning(status, .unknown)) {
            case (403, .refused(.permission)): break
            case (429, .retry(.frequencyExceeded, .later)): break
            case (500...599, .retry(_, .serverError)): break
            case (400...499, .settle(.rejected, _)) where ![403, 429].contains(status) && !others.contains(status):
                break
            case (200...299, .retry(.notAPNs, .ambiguous)): break
            case (_, .retry(.notAPNs, .serverError)) where status < 400 || others.contains(status):
                break
            default: Issue.record("\(status)")
            }
        }
    }

    @Test func `an answer without a reason is not one of APNs, and its push waits`() {
        for status in Self.statuses where status != 200 {
            let expected: VerdictTable.Meaning =
                switch status {
                case 503: .retry(.apnsUnavailable, .serverError)
                case 500...: .retry(.apnsInternalError, .serverError)
                case 200..<300: .retry(.notAPNs, .ambiguous)
                default: .retry(.notAPNs, .serverError)
                }
            #expect(meaning(status, .none) == expected, "\(status)")
        }
        // What only the client can see: no apns-id, or a body that is not JSON.
        for status in [UInt16(200), 400, 404, 410] {
            for disposition in APNSAnswer.Disposition.allCases {
                let answer = APNSAnswer(disposition: disposition, status: status, failure: .notAPNs)
                let retryClass: VerdictTable.RetryClass = status == 200 ? .ambiguous : .serverError
                #expect(VerdictTable.meaning(of: answer) == .retry(.notAPNs, retryClass))
                #expect(health(answer) == .failed)
            }
        }
    }

    @Test func `an unanswered push is retried, and the attempt counts only if APNs may have received it`() {
        for failure in APNSAnswer.Failure.allCases where failure != .expired && failure != .notAPNs {
            for disposition in Self.unanswered {
                switch VerdictTable.meaning(of: .failed(failure, disposition)) {
                case .retry(let code, let retryClass):
                    #expect(code != .none && code.entry.isRetried)
                    #expect(retryClass == (disposition == .ambiguous ? .ambiguous : .free))
                case .refused(.credential): #expect(failure == .credential && disposition != .ambiguous)
                default: Issue.record("\(failure) \(disposition)")
                }
            }
        }
    }

    @Test func `a push that expired before it was sent is settled as expired without an attempt`() {
        let meaning = VerdictTable.meaning(of: .failed(.expired, .neverWritten))
        #expect(meaning == .settle(.expired, .expired))
        let now = WallTime(seconds: 1_790_000_000)
        let action = DeliveryPolicy().action(
            for: meaning, attempts: 2, due: now, deadline: now + .seconds(60), now: now, jitter: 0.5)
        #expect(action == .settle(.expired, .expired, attempts: 2))
    }

    @Test func `any answer of APNs but a server error shows that APNs works`() {
        for status in Self.statuses {
            for reason in APNSReason.allCases where reason.status == status {
                #expect(
                    health(APNSAnswer(disposition: .answered, status: status, reason: reason))
                        == (status >= 500 ? .failed : .fine), "\(status) \(reason)")
            }
        }
        #expect(health(.accepted) == .fine)
        #expect(health(APNSAnswer(disposition: .answered, status: 302)) == .failed)
    }

    @Test func `a lost or missing connection is one failure for all of its pushes`() {
        let streams: [APNSAnswer.Failure] = [.streamRefused, .streamReset, .none]
        let ours: [APNSAnswer.Failure] = [.clientClosed, .overloaded, .credential, .expired, .cancelled]
        for failure in APNSAnswer.Failure.allCases {
            for disposition in Self.unanswered {
                let expected: VerdictTable.CallHealth =
                    if ours.contains(failure) {
                        .void
                    } else if streams.contains(failure) || failure == .notAPNs
                        || failure == .deadlineExceeded && disposition != .neverWritten
                    {
                        .failed
                    } else {
                        .lost
                    }
                #expect(health(.failed(failure, disposition)) == expected, "\(failure) \(disposition)")
            }
        }
        let refused = APNSAnswer(disposition: .neverWritten, reason: .badCertificate, failure: .goAway)
        #expect(health(refused) == .void, "APNs answered, by GOAWAY")
    }

    @Test func `an unsent push gets the reason that prevented the attempt`() {
        let refused = APNSAnswer(disposition: .neverWritten, reason: .badCertificate, failure: .goAway)
        #expect(VerdictTable.meaning(of: refused) == .refused(.credential))
        let shut = APNSAnswer(disposition: .refused, reason: .shutdown, failure: .goAway)
        #expect(VerdictTable.meaning(of: shut) == .retry(.goAway, .free))
        // The push was not sent, so it cannot be unanswered.
        let late = APNSAnswer.failed(.deadlineExceeded, .neverWritten)
        #expect(VerdictTable.meaning(of: late) == .retry(.connectionTimedOut, .free))
    }
}
