public import APNSWire
import Synchronization

extension APNSClient {
    /// Sends a batch and waits for all answers.
    ///
    /// Cancelling the task does not cancel the pushes; the timeout limits the wait.
    ///
    /// - Parameter requestTimeout: how long each push may wait for a connection, and then as long for its answer.
    /// - Returns: one answer per push, in the order of the batch.
    public func send(_ batch: NotificationBatch, requestTimeout: Duration = .seconds(30)) async -> [APNSAnswer] {
        await collect(batch, requestTimeout).answers
    }

    /// Sends one notification and waits for the answer.
    ///
    /// Cancelling the task does not cancel the push; the timeout limits the wait.
    ///
    /// - Parameter requestTimeout: how long the push may wait for a connection, and then as long for its answer.
    /// - Returns: the answer of APNs, which may be a rejection: see `isAccepted`.
    /// - Throws: `APNSSendError` if there is no answer. Its disposition is `ambiguous` if APNs may have accepted the
    ///   push.
    public func send(
        _ notification: APNSNotification, requestTimeout: Duration = .seconds(30)
    ) async throws(APNSSendError) -> APNSResponse {
        let collected = await collect(try notification.batch(), requestTimeout)
        let answer = collected.answers[0]
        guard answer.disposition == .answered, answer.failure == .none else { throw APNSSendError(answer) }
        return APNSResponse(id: notification.id, answer: answer, unknownReason: collected.unknownReasons[0])
    }

    private func collect(_ batch: NotificationBatch, _ timeout: Duration) async -> AnswerCollector.Collected {
        await withCheckedContinuation { continuation in
            send(
                batch, indexes: nil, ticket: 0, timeouts: APNSSendTimeouts(wait: timeout, answer: timeout),
                to: AnswerCollector(count: batch.count, continuation)
            )
        }
    }
}

/// Collects the answers to one batch.
private final class AnswerCollector: APNSAnswerReceiver {
    struct Collected: Sendable {
        var answers: [APNSAnswer]
        var unknownReasons: [UInt16: String] = [:]
    }

    private let collected: Mutex<Collected>
    private let continuation: CheckedContinuation<Collected, Never>

    init(count: Int, _ continuation: CheckedContinuation<Collected, Never>) {
        // Every element is overwritten before the continuation resumes.
        collected = Mutex(Collected(answers: [APNSAnswer](repeating: .accepted, count: count)))
        self.continuation = continuation
    }

    func receive(_ answers: APNSAnswers) {
        let complete = collected.withLock { collected -> Collected? in
            for (index, answer) in zip(answers.indexes, answers.answers) { collected.answers[Int(index)] = answer }
            collected.unknownReasons.merge(answers.unknownReasons) { _, new in new }
            return answers.isLast ? collected : nil
        }
        if let complete { continuation.resume(returning: complete) }
    }
}
