package import APNSWire
package import PushModel
import PushStore

/// The meaning of answers for pushes of one batch: an outcome or a retry for each, and counts for the breakers. Pure
/// and independent of all other batches, so it is computed without a lock.
package struct AnswerClassification: Sendable {
    package let ticket: UInt64
    package private(set) var outcomes: [Outcome] = []
    package private(set) var retries: [Retry] = []
    /// Attempts that were written and not answered.
    package private(set) var ambiguous = 0
    /// Calls for the breakers, without those that prove nothing about APNs.
    package private(set) var tally = CallTally()
    package private(set) var delivered = 0
    /// Answers that settle their push. They show that APNs accepted the credential.
    package private(set) var finalAnswers = 0
    /// Pushes that APNs refused because of the credential.
    package private(set) var credentialRefused = 0
    /// Final answers to retries.
    package private(set) var recovered = 0
    /// Attempts that may have reached APNs and did not settle their push.
    package private(set) var failedAttempts = 0

    /// - Parameters:
    ///   - work: the batch of the answers.
    ///   - slowAfter: an answer with a latency of at least this is slow.
    package init(
        _ answers: APNSAnswers, for work: BatchWork, policy: DeliveryPolicy, slowAfter: Duration,
        now: WallTime
    ) {
        ticket = answers.ticket
        let batch = work.claimed.batch
        let deadlines = Deadlines(of: batch, policy: policy)
        let attemptsBefore = AttemptTable(work.claimed)
        let slowMilliseconds = UInt32(clamping: slowAfter.milliseconds)
        outcomes.reserveCapacity(answers.answers.count)
        for (position, answer) in answers.answers.enumerated() {
            let index = answers.indexes[position]
            let meaning = VerdictTable.meaning(of: answer)
            let before = attemptsBefore[index]
            let action = policy.action(
                for: meaning, retryAfter: answer.retryAfterSeconds, attempts: before, ambiguity: batch.ambiguity,
                deadline: deadlines[index], now: now, jitter: work.jitter
            )
            count(answer, meaning, isSlow: answers.latencies[position] >= slowMilliseconds, isRetry: before > 0)
            let reason = ReasonText(answer, at: index, in: answers)
            switch action {
            case .settle(let verdict, let code, let attempts):
                outcomes.append(
                    Outcome(
                        index: index, verdict: verdict, code: code, status: answer.status, attempts: attempts,
                        reason: reason, tokenDeadAt: answer.tokenInvalidAtMilliseconds
                    )
                )
            case .retry(let code, let attempts, let due):
                retries.append(
                    Retry(index: index, code: code, status: answer.status, attempts: attempts, reason: reason, due: due)
                )
            }
        }
    }

    private mutating func count(
        _ answer: APNSAnswer, _ meaning: VerdictTable.Meaning, isSlow: Bool, isRetry: Bool
    ) {
        if answer.disposition == .ambiguous { ambiguous += 1 }
        if answer.isAccepted { delivered += 1 }
        switch meaning {
        case .settle(.expired, _): break
        case .settle:
            finalAnswers += 1
            if isRetry { recovered += 1 }
        case .retry(_, .credential): credentialRefused += 1
        case .retry(_, .ambiguous), .retry(_, .later): failedAttempts += 1
        case .retry(_, .free): break
        }
        switch VerdictTable.health(of: answer, meaning: meaning) {
        case .void: break
        case .failed: tally += CallTally(calls: 1, failed: 1)
        case .fine: tally += CallTally(calls: 1, slow: isSlow ? 1 : 0)
        }
    }

    /// The number of answers.
    package var count: Int { outcomes.count + retries.count }
}

/// The times after which the pushes of a batch must not be sent.
package struct Deadlines {
    private let batch: Batch
    private let policy: DeliveryPolicy

    package init(of batch: Batch, policy: DeliveryPolicy) {
        self.batch = batch
        self.policy = policy
    }

    package subscript(index: UInt16) -> WallTime {
        policy.deadline(
            expiration: batch.notifications.entries[Int(index)].expiration, acceptedAt: batch.due(of: index),
            notBefore: nil, lane: batch.lane
        )
    }
}

/// Earlier attempts by push index. Empty for a fresh batch.
struct AttemptTable {
    private var attempts: [UInt16] = []

    init(_ claimed: ClaimedBatch) {
        guard let pending = claimed.pending else { return }
        attempts = Array(repeating: 0, count: claimed.batch.count)
        for push in pending { attempts[Int(push.index)] = push.attempts }
    }

    subscript(index: UInt16) -> UInt16 { attempts.isEmpty ? 0 : attempts[Int(index)] }
}

extension ReasonText {
    fileprivate init(_ answer: APNSAnswer, at index: UInt16, in answers: APNSAnswers) {
        if answer.reason == .unknown, let text = answers.unknownReasons[index] {
            self = .verbatim(text)
        } else {
            self = .known(answer.reason)
        }
    }
}
