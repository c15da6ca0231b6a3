package import APNSWire
package import PushModel
import PushStore

/// The meaning of answers to pushes of one send: an outcome or a retry for each, and what they show about the app and
/// its endpoint. Pure.
///
/// Deliveries are classified without a lock. What any other answer means for its push may depend on further answers:
/// the push, its app or its endpoint may be at fault. `resolve` decides that under the lock of the app, after the app has
/// recorded what the answers show.
package struct AnswerClassification: Sendable {
    /// An answer other than a delivery.
    private struct Failure: Sendable {
        var index: UInt16
        var attempts: UInt16
        var isResend: Bool
        var token: UInt64
        var answer: APNSAnswer
        var meaning: VerdictTable.Meaning
        var reason: ReasonText
        var uniqueID: String?

        /// What the answer shows about the app; nil: nothing.
        var entry: RefusalWindow.Entry? {
            switch meaning {
            case .settle(.expired, _), .retry(_, .free), .retry(_, .ambiguous), .retry(_, .serverError): nil
            case .settle, .retry(_, .later): .other
            case .refused(let kind): .refused(kind, token: token)
            }
        }
    }

    package let ticket: UInt64
    /// The number of answers.
    package let count: Int
    /// Deliveries; all after `resolve`.
    package private(set) var outcomes: [Outcome] = []
    /// Empty before `resolve`.
    package private(set) var retries: [Retry] = []
    private var failures: [Failure] = []

    package let delivered: Int
    /// Attempts that were written and not answered.
    package private(set) var ambiguous = 0
    /// Answers that settle their push, whatever other answers show.
    package private(set) var finalAnswers: Int
    /// Final answers to retries.
    package private(set) var recovered = 0
    /// Attempts that may have reached APNs and did not settle their push.
    package private(set) var failedAttempts = 0
    /// Answers that show that APNs accepts the credential.
    let decided: Int
    /// What the answers show about APNs, for the breakers.
    private(set) var report: CallReport
    /// Some of the tokens of refused pushes, by kind.
    private(set) var refusals: [RefusalKind: DistinctTokens] = [:]
    /// The reason of the last refusal.
    private(set) var refusalReason = APNSReason.none
    /// The last answers in their order, for `RefusalWindow`; empty if APNs accepted every push.
    let lastAnswers: [RefusalWindow.Entry]

    /// - Parameters:
    ///   - work: the batch of the answers.
    ///   - bundleID: of the app; empty: the app derives no topics.
    package init(_ answers: APNSAnswers, for work: BatchWork, bundleID: String) {
        ticket = answers.ticket
        count = answers.answers.count
        let attemptsBefore = AttemptTable(work.claimed)
        let pushes = work.claimed.batch.notifications
        outcomes.reserveCapacity(count)
        for (position, answer) in answers.answers.enumerated() {
            let index = answers.indexes[position]
            let attempts = attemptsBefore[index]
            guard !answer.isAccepted else {
                if attemptsBefore.isResend(index) { recovered += 1 }
                outcomes.append(
                    Outcome(
                        index: index, verdict: .delivered, code: .none, status: 200, attempts: attempts + 1,
                        uniqueID: answers.uniqueID(of: index)))
                continue
            }
            let isOwnTopic = VerdictTable.concernsTopic(answer) && pushes.derivesTopic(from: bundleID, at: Int(index))
            failures.append(
                Failure(
                    index: index, attempts: attempts, isResend: attemptsBefore.isResend(index),
                    token: pushes.tokenHash(at: Int(index)), answer: answer,
                    meaning: VerdictTable.meaning(of: answer, isOwnTopic: isOwnTopic),
                    reason: ReasonText(answer, at: index, in: answers), uniqueID: answers.uniqueID(of: index)))
        }
        delivered = outcomes.count
        finalAnswers = delivered
        report = .good(delivered)
        var decided = delivered
        var last: [RefusalWindow.Entry] = []
        if !failures.isEmpty {
            var newest = failures.reversed().makeIterator()
            last = answers.answers.reversed().prefix(RefusalWindow.answersMax)
                .compactMap { $0.isAccepted ? .accepted : newest.next()?.entry }.reversed()
            decided += failures.count { $0.entry == .other }
        }
        self.decided = decided
        lastAnswers = last
        for failure in failures { add(failure) }
    }

    private mutating func add(_ failure: Failure) {
        if failure.answer.disposition == .ambiguous { ambiguous += 1 }
        switch failure.meaning {
        case .settle(.expired, _), .retry(_, .free): break
        case .settle:
            finalAnswers += 1
            if failure.isResend { recovered += 1 }
        case .retry: failedAttempts += 1
        case .refused(let kind):
            refusals[kind, default: DistinctTokens()].insert(failure.token)
            refusalReason = failure.answer.reason
        }
        switch VerdictTable.health(of: failure.answer, meaning: failure.meaning) {
        case .void: break
        case .fine: report.good += 1
        case .failed: report.addFailure(failure.meaning.code, token: failure.token, isConnectionLost: false)
        case .lost: report.addFailure(failure.meaning.code, token: failure.token, isConnectionLost: true)
        }
    }

    // MARK: Probes

    /// The result of a probe of a breaker. A probe is a send of one push.
    var probeResult: ProbeResult {
        if report.good > 0 { return .good }
        return report.failed + report.lost > 0 ? .failed(report.cause) : .void
    }

    /// The result of a probe of the credential.
    var credentialResult: ProbeResult {
        if !refusals.isEmpty { return .failed(.credentialRefused) }
        return decided > 0 ? .good : .void
    }

    // MARK: Failures

    /// Decides what the failures mean for their pushes.
    ///
    /// - Parameters:
    ///   - health: of the app and its endpoint, these answers included.
    ///   - window: assigns the blame for refusals; has recorded `lastAnswers`.
    ///   - unprocessed: how often servers have refused a push unprocessed.
    ///   - isAppRefused: whether the app's pushes wait because of refusals.
    mutating func resolve(
        for work: BatchWork, policy: DeliveryPolicy, health: UpstreamHealth, window: inout RefusalWindow,
        unprocessed: inout PushCounts, isAppRefused: Bool, now: Moment
    ) {
        guard !failures.isEmpty else { return }
        let batch = work.claimed.batch
        let deadlines = Deadlines(of: batch, policy: policy)
        for failure in failures {
            var context = DeliveryPolicy.Context(health: health)
            if case .refused(let kind) = failure.meaning {
                context.blame = window.assignBlame(
                    for: kind, of: batch.id.push(Int(failure.index)), isAppRefused: isAppRefused, now: now.monotonic)
            }
            let (answer, index) = (failure.answer, failure.index)
            if answer.disposition == .refused { context.unprocessed = unprocessed.count(batch.id.push(Int(index))) }
            let action = policy.action(
                for: failure.meaning, context: context, retryAfter: answer.retryAfterSeconds,
                attempts: failure.attempts, ambiguity: batch.ambiguity, due: batch.due(of: index),
                deadline: deadlines[index], now: now.wall, jitter: work.jitter)
            switch action {
            case .settle(let verdict, let code, let attempts):
                outcomes.append(
                    Outcome(
                        index: index, verdict: verdict, code: code, status: answer.status, attempts: attempts,
                        reason: failure.reason, tokenDeadAt: answer.tokenInvalidAtMilliseconds,
                        uniqueID: failure.uniqueID))
            case .retry(let code, let attempts, let due):
                retries.append(
                    Retry(
                        index: index, code: code, status: answer.status, attempts: attempts, reason: failure.reason,
                        due: due))
            }
        }
        failures = []
    }
}

extension NotificationBatch {
    /// Whether the topic of a push is the one that the gateway derives from the bundle ID of its app.
    fileprivate func derivesTopic(from bundleID: String, at index: Int) -> Bool {
        let headers = headers[Int(entries[index].headersIndex)]
        return !bundleID.isEmpty && headers.topic == headers.pushType.topic(for: bundleID)
    }
}

/// Earlier attempts by push index. Empty for a fresh batch.
struct AttemptTable {
    private var attempts: [UInt16] = []
    private var resends: [Bool] = []

    init(_ claimed: ClaimedBatch) {
        guard let pending = claimed.pending else { return }
        attempts = Array(repeating: 0, count: claimed.batch.count)
        resends = Array(repeating: false, count: claimed.batch.count)
        for push in pending {
            attempts[Int(push.index)] = push.attempts
            resends[Int(push.index)] = push.isResend
        }
    }

    subscript(index: UInt16) -> UInt16 { attempts.isEmpty ? 0 : attempts[Int(index)] }

    func isResend(_ index: UInt16) -> Bool { !resends.isEmpty && resends[Int(index)] }
}

extension APNSAnswers {
    fileprivate func uniqueID(of index: UInt16) -> String? { uniqueIDs.isEmpty ? nil : uniqueIDs[index] }
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
